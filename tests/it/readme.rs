//! The README's commands run as written, in their order, in a folder that holds nothing but the configurations.

use std::path::Path;
use std::process::Command;

use crate::python;

/// The blocks of `text` that are marked as `language`.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_blocks_of_the_readme_run_as_written() {
    let root = python::root();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("configs"), folder.path().join("configs")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_carpus")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let shell = blocks(&readme, "sh");
    assert!(shell.len() >= 5, "the README has {} blocks to run", shell.len());
    let mut ran = 0;
    for line in shell.iter().flat_map(|block| block.lines()) {
        let out = Command::new("bash")
            .args(["-c", line])
            .current_dir(folder.path())
            .env("PATH", &path)
            .output()
            .expect("a shell");
        // 3: done, and faults that the phantom planted are named.
        assert!(
            matches!(out.status.code(), Some(0 | 3)),
            "{line}\n{}\n{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        ran += 1;
    }
    assert!(ran >= 15, "{ran}");
    let at = |name: &str| folder.path().join(name);
    for name in ["work/report/index.html", "rotated.csv", "work/audit/findings.csv", "submission.csv"] {
        assert!(at(name).is_file(), "the README's commands made no {name}");
    }

    // Its Python block too, and what the dataset gives is what the annotations say.
    let code = blocks(&readme, "python").concat();
    std::fs::write(at("block.py"), code).unwrap();
    let report = python::run("readme.py", &[at("").to_str().unwrap(), root.join("assets").to_str().unwrap()]);
    assert!(report.contains("compared"), "{report}");
}
