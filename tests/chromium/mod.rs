//! Headless Chromium on pages that a test serves from memory. The pages answer by posting lines to `/report`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// The browser's command, if it is installed.
pub fn find() -> Option<&'static str> {
    let runs = |name: &&str| {
        let run = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs)
}

/// What is served: its media type and its content.
pub struct Content(pub &'static str, pub Vec<u8>);

impl Content {
    /// HTML, or whatever a script fetches as text.
    pub fn text(text: impl Into<String>) -> Content {
        Content("text/html; charset=utf-8", text.into().into_bytes())
    }
}

/// A browser that runs until this is dropped.
pub struct Browser {
    child: Child,
    profile: PathBuf,
    /// The lines that its pages post.
    pub reports: Receiver<String>,
}

impl Browser {
    /// Opens `/` of what `answer` serves by path.
    pub fn open(name: &str, answer: impl Fn(&str) -> Content + Send + Sync + 'static) -> Browser {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let port = listener.local_addr().expect("an address").port();
        let reports = serve(listener, answer);
        let profile = std::env::temp_dir().join(format!("gradus-browser-{port}"));
        let child = Command::new(name)
            .args([
                "--headless",
                "--enable-unsafe-webgpu",
                "--no-sandbox",
                "--no-first-run",
                "--disable-gpu-shader-disk-cache",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://127.0.0.1:{port}/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser that starts");
        Browser { child, profile, reports }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended by itself, and a leftover profile in the temporary folder, do no harm.
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

/// Answers the pages' requests; gives the lines they post.
fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Content + Send + Sync + 'static,
) -> Receiver<String> {
    let (sender, reports) = channel();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser opens connections ahead of its requests, so one must not wait for another.
            let (answer, sender) = (Arc::clone(&answer), sender.clone());
            std::thread::spawn(move || match request(&stream) {
                Some((path, line)) if path == "/report" => {
                    // A test that has ended needs no more reports.
                    sender.send(line).ok();
                    respond(&stream, &Content::text(""));
                }
                Some((path, _)) => respond(&stream, &answer(&path)),
                None => {}
            });
        }
    });
    reports
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

fn respond(mut stream: &TcpStream, Content(kind, body): &Content) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    // A browser that has gone away shows in the reports.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok();
}
