use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;

use super::corrections::{may_write, output, user_name};
use super::data::{corrected_tables, warn};
use super::eda::read_findings;
use super::{Status, Ui};
use crate::dataset::{Corrections, Dataset};
use crate::review::{Review, ReviewInputs, ServerOptions, serve};
use crate::scan::scanned_decisions;
use crate::wording::counted;

/// Judge findings and correct annotations on a page in the browser.
///
/// Prints a link and serves the page until it is interrupted with Ctrl+C. Every decision is appended to the corrections
/// file at once; unfinished edits are kept in a file next to it and survive an interruption.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus review work/tables --data data --audit work/audit \\
      --corrections corrections.jsonl
  carpus review work/tables --data data --audit work/audit \\
      --corrections corrections.jsonl --port 8123 --no-browser

The link contains a token; who has the link can read the images and decide. Over ssh, forward the \
port: ssh -L 8123:localhost:8123 HOST.")]
pub struct ReviewArgs {
    /// Folder of tables that `carpus scan` wrote
    tables: PathBuf,
    /// Data folder that was scanned
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Findings that `carpus audit` wrote: the folder, or the CSV or Parquet file in it
    #[arg(long, value_name = "AUDIT")]
    audit: PathBuf,
    /// Corrections file to append to; it need not exist yet
    #[arg(long, value_name = "FILE")]
    corrections: PathBuf,
    /// Port to listen on; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Address to listen on; another than a loopback address lets other computers connect, without encryption
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Further host name by which browsers may reach the page; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Name of the curator that the page proposes [default: the user name of git, else of the system]
    #[arg(long)]
    author: Option<String>,
    /// Do not open the page in the browser
    #[arg(long)]
    no_browser: bool,
}

/// Serves the page.
pub fn run(args: ReviewArgs, ui: &Ui) -> anyhow::Result<Status> {
    let path = &args.corrections;
    may_write(path, None, ui)?;
    let data = Dataset::open(&args.data)?;
    may_write(path, Some(&data), ui)?;
    ensure!(!data.is_copy(), "{} is a copy with corrections applied; use the original data", args.data.display());
    let corrections =
        if path.exists() { Corrections::read_any(path)? } else { Corrections::parse(&path.display().to_string(), b"") };
    let mut status = warn(corrections.problems(), ui);
    let (tables, fit) = corrected_tables(&args.tables, &corrections, ui)?;
    status = status.worse(fit);
    let (findings, _) = read_findings(&args.audit)?;
    let author = args.author.or_else(|| Some(user_name(|name| std::env::var(name).ok(), output)?.0));
    let inputs = ReviewInputs {
        tables,
        scanned: scanned_decisions(&args.tables),
        findings,
        data,
        corrections: path.clone(),
        author: author.unwrap_or_default(),
    };
    let review = Review::new(inputs)?;
    ui.note(format_args!("{}; Ctrl+C ends", counted(review.len(), "finding", "findings")));
    if !args.host.is_loopback() {
        ui.note(format_args!("other computers can connect to {}; the connection is not encrypted", args.host));
    }
    let options = ServerOptions { address: args.host, port: args.port, host_names: args.allow_host };
    serve(review, &options, |started| {
        match ui.wants_json() {
            true => {
                // A value of two texts cannot fail.
                let _ = ui.json(&json!({ "url": started.url, "port": started.port }));
            }
            false => ui.output(format_args!("{}\n", started.url)),
        }
        if !args.no_browser {
            open_browser(&started.url, ui);
        }
    })
    .with_context(|| format!("cannot serve on {} port {}", args.host, args.port))?;
    Ok(status)
}

/// Opens a link in the browser, if the system knows one.
fn open_browser(url: &str, ui: &Ui) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        ui.note("no browser was found; open the link in one");
    }
}
