//! The review page: a local web server on which curators judge the findings of an audit and correct annotations.
//!
//! The page is served from files embedded in the program (`assets`). Every decision is appended to the corrections file
//! at once; the page's state is derived from that file, so decisions of other programs and people appear on it too.
//! Unfinished edits are kept in a file next to the corrections file (`drafts`).
//!
//! A request is served only with the right `Host`, `Origin` and token (`guard`). Images are named by their ids, which
//! are looked up in the data set: no path from a request reaches the file system.

mod agreement;
mod assets;
mod correct;
mod decide;
mod detail;
mod drafts;
mod guard;
mod judgement;
mod ledger;
mod picture;
mod reference;
mod refusal;
mod server;
mod summary;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use crate::audit::FindingRow;
use crate::dataset::{Dataset, ImageEntry, image_id};
use crate::digest::sha256;
use crate::tables::Tables;

pub use drafts::DraftError;
use drafts::DraftFile;
use judgement::ListedFinding;
use ledger::{Ledger, Snapshot};
use picture::PictureCache;
use reference::TypicalHands;
use refusal::Refusal;
pub use server::{ServerOptions, Started, serve};

/// What a review page shows and writes.
pub struct ReviewInputs {
    /// The tables of a scan.
    pub tables: Tables,
    /// Ids of the decisions that the tables were scanned with: see [`crate::scan::scanned_decisions`].
    pub scanned: HashSet<String>,
    /// Findings of an audit of the tables, worst first.
    pub findings: Vec<FindingRow>,
    /// The original data, without corrections.
    pub data: Dataset,
    /// The corrections file; it need not exist yet.
    pub corrections: PathBuf,
    /// Name that the page proposes for the curator; may be empty.
    pub author: String,
}

/// The state behind the page.
pub struct Review {
    tables: Tables,
    scanned: HashSet<String>,
    findings: Vec<ListedFinding>,
    by_id: HashMap<String, usize>,
    data: Dataset,
    ledger: Ledger,
    drafts: Mutex<DraftFile>,
    pictures: PictureCache,
    typical: TypicalHands,
    author: String,
    /// What the page loads first, made once.
    queue: OnceLock<axum::body::Bytes>,
    /// Held from reading the decisions until the new ones are appended.
    writing: Mutex<()>,
}

impl Review {
    /// Prepares a review.
    ///
    /// # Errors
    /// The file of drafts next to the corrections file cannot be read.
    pub fn new(inputs: ReviewInputs) -> Result<Review, DraftError> {
        let ReviewInputs { tables, scanned, findings, data, corrections, author } = inputs;
        let mut seen: HashMap<String, usize> = HashMap::new();
        let listed = |row: FindingRow| {
            let key = [&row.image_id, &row.patient_id, row.check.name, &row.label, &row.message].join("\n");
            let id = sha256(key.as_bytes())[..12].to_owned();
            // The same finding twice in the table.
            let count = seen.entry(id.clone()).or_default();
            *count += 1;
            let id = if *count > 1 { format!("{id}-{count}") } else { id };
            ListedFinding { id, image_id: image_id(&row.image_id), row }
        };
        let findings: Vec<ListedFinding> = findings.into_iter().map(listed).collect();
        Ok(Review {
            by_id: findings.iter().enumerate().map(|(n, finding)| (finding.id.clone(), n)).collect(),
            typical: TypicalHands::new(&tables, &findings),
            drafts: Mutex::new(DraftFile::open(&corrections)?),
            ledger: Ledger::new(corrections),
            pictures: PictureCache::default(),
            tables,
            scanned,
            findings,
            data,
            author,
            queue: OnceLock::new(),
            writing: Mutex::new(()),
        })
    }

    /// Number of findings.
    pub fn len(&self) -> usize {
        self.findings.len()
    }

    /// Whether there is no finding.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The decisions now and what they mean for each finding.
    fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.ledger.read(|corrections| judgement::judgements(&self.findings, corrections, &self.scanned))
    }

    fn finding(&self, id: &str) -> Result<&ListedFinding, Refusal> {
        self.by_id.get(id).map(|n| &self.findings[*n]).ok_or_else(|| Refusal::missing(format!("no finding {id:?}")))
    }

    fn entry(&self, id: &str) -> Result<&ImageEntry, Refusal> {
        // Only exact ids: `find` would also take a path.
        let found = self.data.find(id).filter(|entry| entry.image_id == id);
        found.ok_or_else(|| Refusal::missing(format!("the data has no image {id:?}")))
    }
}
