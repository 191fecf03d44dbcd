use std::path::Path;

use serde::Serialize;

use super::{Status, Ui};
use crate::wording::counted;

/// Check the installation and print how to fix it
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus doctor
  carpus doctor --json")]
pub struct DoctorArgs {}

/// State of a part of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// Installed and working.
    Ok,
    /// Not installed; some commands do not need it.
    Absent,
    /// Needed and not working.
    Broken,
}

#[derive(Serialize)]
struct Finding {
    part: &'static str,
    health: Health,
    found: String,
    /// How to fix it; empty if there is nothing to do.
    #[serde(rename = "mend")] // word-list: allow
    fix: String,
}

impl Finding {
    fn ok(part: &'static str, found: impl Into<String>) -> Finding {
        Finding { part, health: Health::Ok, found: found.into(), fix: String::new() }
    }

    fn absent(part: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { part, health: Health::Absent, found: found.into(), fix: fix.into() }
    }
}

/// Checks each part. A broken part makes the exit code 3.
pub fn run(_args: DoctorArgs, ui: &Ui) -> anyhow::Result<Status> {
    report(torch(), ui)
}

/// The same report if `carpus-torch`, the program linked with libtorch, does not start; `error` is the reason.
///
/// # Errors
/// The report cannot be printed.
#[cfg(feature = "torch")]
pub fn without_libtorch(error: &anyhow::Error, ui: &Ui) -> anyhow::Result<Status> {
    let (part, found) = ("carpus-torch", format!("{error}: {}", error.root_cause()));
    report(vec![Finding { part, health: Health::Broken, found, fix: "make build".into() }], ui)
}

fn report(torch: Vec<Finding>, ui: &Ui) -> anyhow::Result<Status> {
    let mut findings = vec![
        Finding::ok(
            "carpus",
            format!("{} ({} {})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH),
        ),
        threads(),
        memory(),
    ];
    findings.extend(torch);
    findings.push(python());
    findings.push(browser());
    for f in &findings {
        let mark = match f.health {
            Health::Ok => "ok     ",
            Health::Absent => "absent ",
            Health::Broken => "BROKEN ",
        };
        ui.line(format_args!("{mark} {:<12} {}", f.part, f.found));
        if !f.fix.is_empty() {
            ui.line(format_args!("                     -> {}", f.fix));
        }
    }
    ui.json(&findings)?;
    let broken = findings.iter().any(|f| f.health == Health::Broken);
    Ok(if broken { Status::DoneWithProblems } else { Status::Done })
}

fn threads() -> Finding {
    match std::thread::available_parallelism() {
        Ok(n) => Finding::ok("threads", counted(n.into(), "usable core", "usable cores")),
        Err(e) => Finding::absent("threads", format!("number of cores unknown: {e}"), "give --jobs to each command"),
    }
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = |key: &str| {
        let line = text.lines().find(|l| l.starts_with(key))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / (1 << 20) as f64)
    };
    match (gib("MemTotal:"), gib("MemAvailable:")) {
        (Some(total), Some(free)) => Finding::ok("memory", format!("{free:.1} of {total:.1} GiB available")),
        _ => Finding::absent("memory", "size unknown on this system", ""),
    }
}

#[cfg(feature = "torch")]
fn torch() -> Vec<Finding> {
    let folder = env!("CARPUS_LIBTORCH");
    let mut out = vec![Finding::ok("libtorch", format!("linked from {folder}"))];
    if !Path::new(folder).is_dir() {
        // This program runs, so the loader found another copy through LD_LIBRARY_PATH.
        out[0] = Finding::ok("libtorch", "found through LD_LIBRARY_PATH");
    }
    out.push(gpu());
    out
}

#[cfg(not(feature = "torch"))]
fn torch() -> Vec<Finding> {
    vec![Finding::absent(
        "libtorch",
        "built without the feature `torch`: train, predict, models, losses and schedule are missing",
        "make build",
    )]
}

#[cfg(feature = "torch")]
fn gpu() -> Finding {
    let _ = crate::device::cuda();
    if tch::Cuda::is_available() {
        return Finding::ok("CUDA", counted(tch::Cuda::device_count().max(0) as usize, "device", "devices"));
    }
    if Path::new("/dev/nvidiactl").exists() {
        return Finding {
            part: "CUDA",
            health: Health::Broken,
            found: "an NVIDIA driver is installed, but libtorch cannot use it".into(),
            fix: ".venv/bin/python -m pip install torch==2.11.0   # with its CUDA libraries".into(),
        };
    }
    Finding::absent("CUDA", "no NVIDIA driver; training and prediction run on the CPU", "")
}

fn python() -> Finding {
    let path = Path::new(".venv/bin/python");
    if path.exists() {
        Finding::ok("python", format!("{} (only the parity tests need it)", path.display()))
    } else {
        Finding::absent(
            "python",
            "no .venv in this folder; only building and the parity tests need it",
            "make venv-dev",
        )
    }
}

fn browser() -> Finding {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).flat_map(|d| names.map(|n| d.join(n))).find(|p| p.is_file());
    match found {
        Some(path) => Finding::ok("browser", path.display().to_string()),
        None => Finding::absent("browser", "no Chromium; only the report's test needs it", "make browser"),
    }
}
