//! Runs the project's own Python environment with the reference libraries of the parity tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::json;

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A fresh seed for this run, printed so that a failure can be repeated with `CARPUS_SEED`.
pub fn seed() -> u64 {
    let seed = std::env::var("CARPUS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock past 1970").as_nanos() as u64
            % 1_000_000_007
    });
    println!("CARPUS_SEED={seed}");
    seed
}

fn interpreter() -> PathBuf {
    let path = root().join(".venv/bin/python");
    assert!(path.exists(), "{} is missing: create it with `make venv-dev`", path.display());
    path
}

/// Runs `tests/parity/SCRIPT` with arguments and returns its standard output. If it fails, the test fails with its
/// output. The scripts run in forks of one process, so that the libraries are imported once for all tests.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.path().join(name));
    let path = root().join("tests/parity").join(script);
    let request = json!({"script": path, "arguments": arguments, "stdout": stdout, "stderr": stderr});
    let mut connection = UnixStream::connect(server()).expect("the server of scripts runs");
    writeln!(connection, "{request}").unwrap();
    let mut status = String::new();
    connection.read_to_string(&mut status).unwrap();
    let [text, errors] =
        [stdout, stderr].map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned());
    assert!(status == "0\n", "{script} failed (exit status {status:?}):\n{text}\n{errors}");
    text
}

/// The socket of the process that runs the scripts, which ends with this process.
fn server() -> &'static Path {
    static SOCKET: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut server = Command::new(interpreter())
            .arg(root().join("tests/parity/server.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let mut path = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut path).unwrap();
        // Its standard input stays open until this process ends.
        std::mem::forget(server);
        PathBuf::from(path.trim_end())
    });
    &SOCKET
}
