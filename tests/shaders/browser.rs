//! Every shader compiled by a browser, whose compiler is stricter than ours: it finds barriers that not all invocations
//! reach. Needs `chromium` on the path; without it the test says so and passes.

use crate::gpu::source::expand;
use crate::variants::{self, Variant};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Compiles each text served under `/shader/N`, makes a pipeline of it where `/constants/N` is not empty, and posts a line
/// for each error, `next` after each text and `done` at the end.
const PAGE: &str = "<script type=module>
const post = text => fetch('/report', {method: 'POST', body: text});
try {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw 'no adapter';
  const subgroups = adapter.features.has('subgroups');
  const device = await adapter.requestDevice({requiredFeatures: subgroups ? ['subgroups'] : []});
  const count = Number(await (await fetch('/count')).text());
  for (let i = 0; i < count; i++) {
    const code = await (await fetch('/shader/' + i)).text();
    if (code.startsWith('enable subgroups') && !subgroups) { await post('next'); continue; }
    const module = device.createShaderModule({code});
    for (const m of (await module.getCompilationInfo()).messages)
      if (m.type == 'error') await post(`${i} line ${m.lineNum}: ${m.message}`);
    const constants = {};
    for (const pair of (await (await fetch('/constants/' + i)).text()).split(' ').filter(x => x))
      constants[pair.split('=')[0]] = Number(pair.split('=')[1]);
    if (Object.keys(constants).length) {
      try {
        await device.createComputePipelineAsync({layout: 'auto', compute: {module, constants}});
      } catch (e) { await post(`${i}: ${e.message}`); }
    }
    await post('next');
  }
  await post('done');
} catch (e) { await post('failed ' + e); }
</script>";

/// How long the browser may take for one text.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn every_variant_compiles_in_a_browser() {
    let Some(browser) =
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| exists(name))
    else {
        println!("skipped: no chromium");
        return;
    };
    let mut texts: Vec<(String, Variant)> = Vec::new();
    for variant in variants::all() {
        let text = expand(variant.name, &variant.defines).expect("a shader");
        if texts.iter().any(|(known, _)| *known == text) {
            continue;
        }
        // Pipelines take a browser's software device seconds each: one for each file is enough.
        let again = texts.iter().any(|(_, known)| known.name == variant.name);
        let constants = if again { Vec::new() } else { variant.constants };
        texts.push((text, Variant { constants, ..variant }));
    }
    let labels: Vec<String> = texts.iter().map(|(_, v)| format!("{} {:?}", v.name, v.defines)).collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    let reports = serve(listener, texts);
    let profile = std::env::temp_dir().join(format!("gradus-browser-{}", std::process::id()));
    let mut child = launch(browser, &profile, &address);
    let mut errors = Vec::new();
    let end = loop {
        match reports.recv_timeout(PATIENCE) {
            Ok(line) if line == "done" => break Ok(()),
            Ok(line) if line == "next" => {}
            Ok(line) if line.starts_with("failed ") => break Err(line),
            Ok(line) => errors.push(line),
            Err(_) => break Err(String::from("the browser did not answer in time")),
        }
    };
    child.kill().expect("a browser that runs until it is stopped");
    child.wait().expect("its end");
    // A leftover profile in the temporary folder does no harm.
    std::fs::remove_dir_all(profile).ok();
    if end == Err(String::from("failed no adapter")) {
        println!("skipped: {browser} has no WebGPU adapter");
        return;
    }
    end.expect("a browser that compiles");
    let named = errors.iter().map(|line| {
        let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        format!("{}: {line}", labels[line[..digits].parse::<usize>().expect("a number first")])
    });
    let named: Vec<String> = named.collect();
    assert!(named.is_empty(), "{}", named.join("\n"));
}

fn exists(program: &str) -> bool {
    let run = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

fn launch(browser: &str, profile: &std::path::Path, address: &str) -> Child {
    Command::new(browser)
        .args([
            "--headless",
            "--enable-unsafe-webgpu",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu-shader-disk-cache",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a browser that starts")
}

/// Answers the page's requests; gives the lines it posts.
fn serve(listener: TcpListener, texts: Vec<(String, Variant)>) -> Receiver<String> {
    let (sender, reports) = channel();
    let texts = Arc::new(texts);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser opens connections ahead of its requests, so one must not wait for another.
            let (texts, sender) = (Arc::clone(&texts), sender.clone());
            std::thread::spawn(move || {
                if let Some((path, body)) = request(&stream) {
                    respond(&stream, &answer(&path, body, &texts, &sender));
                }
            });
        }
    });
    reports
}

fn answer(path: &str, body: String, texts: &[(String, Variant)], reports: &Sender<String>) -> String {
    let of = |prefix: &str| path.strip_prefix(prefix).and_then(|n| texts.get(n.parse::<usize>().ok()?));
    if path == "/" {
        String::from(PAGE)
    } else if path == "/count" {
        texts.len().to_string()
    } else if let Some((text, _)) = of("/shader/") {
        // Browsers ask for this line, which naga does not know.
        if text.contains("subgroup_id") { format!("enable subgroups;\n{text}") } else { text.clone() }
    } else if let Some((_, variant)) = of("/constants/") {
        let constants = variant.constants.iter().map(|(name, value)| format!("{name}={value}"));
        constants.collect::<Vec<_>>().join(" ")
    } else {
        if path == "/report" {
            // A test that has ended needs no more reports.
            reports.send(body).ok();
        }
        String::new()
    }
}

/// The path and the body of a request.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_string();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8_lossy(&body).into_owned()))
}

fn respond(mut stream: &TcpStream, body: &str) {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\nContent-Length:";
    // A browser that has gone away shows in the reports.
    write!(stream, "{head} {}\r\n\r\n{body}", body.len()).ok();
}
