//! A review page's server for tests: the data behind it, plain HTTP to it, and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

/// Data, tables and findings of a phantom with faults, made once. Tests write elsewhere.
pub fn study() -> &'static Path {
    static STUDY: OnceLock<tempfile::TempDir> = OnceLock::new();
    STUDY
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            for line in [
                "phantom --out data --patients 16 --test-patients 0 --size 256 --seed 7 --defects",
                "scan data --out tables",
                "audit tables --data data --out audit --evidence 0",
            ] {
                let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
                    .args(line.split(' '))
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&out.stderr).into_owned();
                assert!(matches!(out.status.code(), Some(0 | 3)), "carpus {line}\n{text}");
            }
            folder
        })
        .path()
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }
}

/// A running server; it is killed at the end.
pub struct ReviewServer {
    child: Child,
    pub port: u16,
    pub token: String,
    pub url: String,
}

impl ReviewServer {
    /// Starts a server on the study with a corrections file; port 0 takes a free one.
    pub fn start(corrections: &Path, port: u16) -> ReviewServer {
        ReviewServer::with(study(), corrections, port, &[])
    }

    /// As [`ReviewServer::start`], on other data and with more arguments.
    pub fn with(study: &Path, corrections: &Path, port: u16, more: &[&str]) -> ReviewServer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_carpus"))
            .args([
                "review",
                "tables",
                "--data",
                "data",
                "--audit",
                "audit",
                "--no-browser",
                "--author",
                "kim",
                "--corrections",
            ])
            .arg(corrections)
            .args(["--port", &port.to_string()])
            .args(more)
            .current_dir(study)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let (address, token) = url.split_once("/?token=").unwrap_or_else(|| panic!("no link: {url:?}"));
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        ReviewServer { port, token: token.to_owned(), url: url.clone(), child }
    }

    /// Kills the server at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends bytes and reads the answer.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // The server may refuse a large body before it has read it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
        let headers = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = headers.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Answer { status, headers, body: answer[(end + 4).min(answer.len())..].to_vec() }
    }

    /// Sends bytes that are no request, and ends.
    pub fn abuse(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = stream.read_to_end(&mut Vec::new());
    }

    /// A request with these header lines only.
    pub fn bare(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        self.raw(format!("{text}\r\n{body}").as_bytes())
    }

    fn own(&self) -> [String; 3] {
        let origin = format!("127.0.0.1:{}", self.port);
        [format!("Host: {origin}"), format!("Authorization: Bearer {}", self.token), format!("Origin: http://{origin}")]
    }

    /// A request as the page makes it.
    pub fn get(&self, path: &str) -> Answer {
        let own = self.own();
        self.bare("GET", path, &[&own[0], &own[1]], "")
    }

    /// Sends JSON as the page does.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let own = self.own();
        self.bare(method, path, &[&own[0], &own[1], &own[2], "Content-Type: application/json"], body)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &body.to_string())
    }

    /// The findings.
    pub fn findings(&self) -> Vec<Value> {
        self.get("/api/queue").json()["findings"].as_array().unwrap().clone()
    }

    /// The first finding of a check that has an image.
    pub fn finding(&self, check: &str) -> Value {
        let found = self.findings().into_iter().find(|f| f["check"] == check && f["in_data"] == true);
        found.unwrap_or_else(|| panic!("no finding of {check}"))
    }

    /// An image as the page sees it.
    pub fn image(&self, id: &str) -> Value {
        self.get(&format!("/api/image/{id}?author=kim")).json()
    }
}

impl Drop for ReviewServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Relative paths and contents of all files in a folder.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
