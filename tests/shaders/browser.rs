//! Every shader compiled by a browser, whose compiler is stricter than ours: it finds barriers that not all invocations
//! reach. Needs `chromium` on the path; without it the test says so and passes.

use crate::chromium::{self, Browser, Content};
use crate::gpu::source::expand;
use crate::variants::{self, Variant};
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
    let Some(name) = chromium::find() else {
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
    let browser = Browser::open(name, move |path| answer(path, &texts));
    let mut errors = Vec::new();
    let end = loop {
        match browser.reports.recv_timeout(PATIENCE) {
            Ok(line) if line == "done" => break Ok(()),
            Ok(line) if line == "next" => {}
            Ok(line) if line.starts_with("failed ") => break Err(line),
            Ok(line) => errors.push(line),
            Err(_) => break Err(String::from("the browser did not answer in time")),
        }
    };
    if end == Err(String::from("failed no adapter")) {
        println!("skipped: {name} has no WebGPU adapter");
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

fn answer(path: &str, texts: &[(String, Variant)]) -> Content {
    let of = |prefix: &str| path.strip_prefix(prefix).and_then(|n| texts.get(n.parse::<usize>().ok()?));
    if path == "/" {
        Content::text(PAGE)
    } else if path == "/count" {
        Content::text(texts.len().to_string())
    } else if let Some((text, _)) = of("/shader/") {
        // Browsers ask for this line, which naga does not know.
        let enable = if text.contains("subgroup_id") { "enable subgroups;\n" } else { "" };
        Content::text(format!("{enable}{text}"))
    } else if let Some((_, variant)) = of("/constants/") {
        let constants = variant.constants.iter().map(|(name, value)| format!("{name}={value}"));
        Content::text(constants.collect::<Vec<_>>().join(" "))
    } else {
        Content::text("")
    }
}
