//! Runs the project's own Python, which holds the reference libraries that parity tests compare with.

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
    assert!(path.exists(), "{} is missing: `make venv-dev` makes it", path.display());
    path
}

/// Runs `tests/parity/SCRIPT` with arguments; its standard output. Fails the test with its error text.
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
