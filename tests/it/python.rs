//! Runs the project's own Python environment with the reference libraries of the parity tests.

use std::path::{Path, PathBuf};
use std::process::Command;

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
/// output.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let out = Command::new(interpreter())
        .arg(root().join("tests/parity").join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{script} failed:\n{text}\n{}", String::from_utf8_lossy(&out.stderr));
    text
}
