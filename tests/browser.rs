//! The page of `examples/browser`, built and opened in headless Chromium: it trains on WebGPU and on the CPU as
//! WebAssembly, and its losses follow those of the native CPU.
//!
//! Tolerance: a loss differs by at most 0.1 % at any of the 50 steps. Rounding differs in the last place from the first step on.
//!
//! Building takes minutes, so the test runs when it is asked for: `cargo test --test browser -- --ignored --nocapture`.

mod chromium;
#[path = "../examples/browser/src/training.rs"]
#[allow(dead_code, reason = "the page uses what the test does not need")]
mod training;

use chromium::{Browser, Content};
use gradus::Device;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use training::Training;

const STEPS: usize = 50;
const TOLERANCE: f32 = 1e-3;

/// How long the browser may take on one device.
const PATIENCE: Duration = Duration::from_secs(300);

/// Posts `DEVICE MILLISECONDS LOSS…` for each device, `page LOSS` of the page itself, and `failed …` when something does.
const SCRIPT: &str = "<iframe id=page></iframe><script type=module>
import init, { Trainer } from './browser.js';
const post = text => fetch('/report', {method: 'POST', body: text});
try {
  await init({module_or_path: new URL('browser_bg.wasm', location.href)});
  for (const gpu of [true, false]) {
    const trainer = await Trainer.open(gpu);
    if (trainer.gpu != gpu) throw trainer.remark;
    const losses = [...await trainer.steps(1)];
    const begin = performance.now();
    for (let i = 1; i < STEPS; i++) losses.push(...await trainer.steps(1));
    await post(`${gpu ? 'gpu' : 'cpu'} ${(performance.now() - begin) / (STEPS - 1)} ${losses.join(' ')}`);
  }
  const page = document.getElementById('page');
  page.src = 'index.html?device=cpu';
  await new Promise(then => page.onload = then);
  const text = id => page.contentDocument.getElementById(id).textContent;
  while (!parseFloat(text('loss'))) {
    if (text('error')) throw text('error');
    await new Promise(then => setTimeout(then, 50));
  }
  await post(`page ${text('loss')}`);
} catch (e) { await post('failed ' + e); }
</script>";

#[test]
#[ignore = "builds for WebAssembly, which takes minutes"]
fn a_page_trains_as_a_program_does() {
    let Some(name) = chromium::find() else {
        println!("skipped: no chromium");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/browser");
    match Command::new(folder.join("build.sh")).status().expect("a shell").code() {
        Some(0) => {}
        // It has said so.
        Some(3) => return println!("skipped: no standard library for WebAssembly"),
        code => panic!("build.sh ended with {code:?}"),
    }
    let page = folder.join("target/page");
    let bytes = std::fs::metadata(page.join("browser_bg.wasm")).expect("the module").len();
    println!("the module has {bytes} bytes");
    let browser = Browser::open(name, move |path| answer(&page, path));
    let next = || browser.reports.recv_timeout(PATIENCE).expect("a browser that answers in time");

    let expected = losses(Device::cpu());
    for device in ["gpu", "cpu"] {
        let line = next();
        if device == "gpu" && line.contains("no WebGPU adapter") {
            return println!("skipped: {name}: {line}");
        }
        let numbers = line.strip_prefix(device).unwrap_or_else(|| panic!("{line}"));
        let numbers: Vec<f32> = numbers.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        println!("{device}: {} ms a step", numbers[0]);
        assert_eq!(numbers.len(), 1 + STEPS);
        let far = |(a, b): &(f32, f32)| (a - b).abs() / b.abs();
        let pairs: Vec<(f32, f32)> = numbers[1..].iter().copied().zip(expected.iter().copied()).collect();
        println!("{device}: losses differ by {:e}", pairs.iter().map(far).fold(0.0, f32::max));
        assert!(pairs.iter().all(|pair| far(pair) <= TOLERANCE), "{device}: {pairs:?}");
    }
    let sum = |losses: &[f32]| losses.iter().sum::<f32>();
    assert!(sum(&expected[40..]) < 0.95 * sum(&expected[..10]), "nothing was learned: {expected:?}");
    let line = next();
    assert!(line.starts_with("page "), "{line}");
}

fn losses(device: Device) -> Vec<f32> {
    let mut training = Training::new(device).expect("a model");
    pollster::block_on(training.steps(STEPS)).expect("steps")
}

/// The page's files, and the script in place of a start page.
fn answer(folder: &Path, path: &str) -> Content {
    let path = path.split('?').next().unwrap_or(path);
    let kind = match path.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => "text/html; charset=utf-8",
    };
    match path {
        "/" => Content::text(SCRIPT.replace("STEPS", &STEPS.to_string())),
        _ => Content(kind, std::fs::read(folder.join(&path[1..])).unwrap_or_default()),
    }
}
