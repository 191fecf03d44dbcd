use serde_json::Value;

use crate::figures::Figure;

/// A section of the report, listed in its table of contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Anchor in the page, and key in `numbers.json`.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Content from top to bottom.
    pub blocks: Vec<Content>,
    /// Every number of the section, under stable keys.
    pub numbers: Value,
    /// Files that the report writes next to its page.
    pub files: Vec<AttachedFile>,
    /// The tests that the section states, for the table of all tests: one family.
    pub tests: Vec<ReportedTest>,
}

/// A test that a section states.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ReportedTest {
    /// What is compared: `height, test against train`.
    pub comparison: String,
    /// Name of the test.
    pub test: &'static str,
    /// Number of values.
    pub n: usize,
    /// p value, not adjusted.
    pub p: f64,
}

/// A file next to the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedFile {
    /// Path relative to the page's folder.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// One block of a section. Texts are plain: the page's template escapes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A paragraph.
    Text(String),
    /// Interpretation of the numbers.
    Meaning(String),
    /// Missing data or a warning, and how to fix it.
    Absent(String),
    /// Large numbers side by side.
    Tiles(Vec<Tile>),
    /// A table.
    Table(TextTable),
    /// A figure.
    Figure(Box<Figure>),
    /// Pictures with captions.
    Pictures(Vec<CaptionedPicture>),
    /// A link to a file next to the page: file name and link text.
    Link(String, String),
    /// A command or lines of a configuration, to be copied.
    Code(String),
    /// What needs action, strongest first.
    Alerts(Vec<Alert>),
    /// Findings of the audit, one card per image.
    Findings(Vec<FindingCard>),
    /// Content that is hidden until its heading is opened.
    Folded(Folded),
}

/// Something that needs action.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Alert {
    /// `high`, `medium` or `low`, which also sets the colour.
    pub level: &'static str,
    /// What is wrong, with its numbers.
    pub text: String,
    /// The command that corrects or examines it; empty for none.
    pub command: String,
    /// Anchor of the section with the details; empty for none.
    pub section: &'static str,
}

/// The findings of one image, grouped by check.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FindingCard {
    /// JPEG in base64 of the worst finding that has a picture; empty if none has.
    pub jpeg: String,
    /// The same picture in full size: file next to the page; empty if there is none.
    pub file: String,
    /// Id of the image.
    pub image: String,
    /// Id of the patient; empty if it is unknown.
    pub patient: String,
    /// The highest severity.
    pub severity: &'static str,
    /// Groups, worst first.
    pub checks: Vec<CheckFindings>,
}

/// The findings of one check on one image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CheckFindings {
    /// Name of the check.
    pub check: &'static str,
    /// The highest severity.
    pub severity: &'static str,
    /// Number of findings.
    pub n: usize,
    /// A line per finding.
    pub lines: Vec<String>,
}

/// Blocks that are hidden until their heading is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Heading: what is inside, with its number.
    pub title: String,
    /// The blocks.
    pub blocks: Vec<Content>,
}

/// A large number with a label.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Tile {
    /// Name of the quantity.
    pub label: String,
    /// The number.
    pub value: String,
    /// A note below the number.
    pub note: String,
}

/// A table. Columns of numbers are right-aligned.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TextTable {
    /// Caption, with the number of values.
    pub caption: String,
    /// Column names.
    pub head: Vec<String>,
    /// Cells by row.
    pub rows: Vec<Vec<String>>,
}

/// A picture with a heading and lines of text.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CaptionedPicture {
    /// JPEG in base64; empty if there is no picture.
    pub jpeg: String,
    /// Heading.
    pub title: String,
    /// Label before the heading, which also sets its colour: `high`, `medium`, `low`, or empty for none.
    pub severity: String,
    /// Lines below the heading.
    pub lines: Vec<String>,
}

/// A statistic as JSON; one that cannot be computed is `{"undefined": reason}`.
pub(super) fn outcome<T: serde::Serialize, E: std::fmt::Display>(found: &Result<T, E>) -> Value {
    match found {
        Ok(found) => serde_json::to_value(found).unwrap_or(Value::Null),
        Err(reason) => serde_json::json!({"undefined": reason.to_string()}),
    }
}

impl TextTable {
    pub(super) fn new(caption: impl Into<String>, head: &[&str], rows: Vec<Vec<String>>) -> TextTable {
        let head = head.iter().map(|h| (*h).to_owned()).collect();
        TextTable { caption: caption.into(), head, rows }
    }
}

impl Section {
    pub(super) fn new(id: &'static str, title: &'static str) -> Section {
        let numbers = Value::Object(serde_json::Map::new());
        Section { id, title, blocks: Vec::new(), numbers, files: Vec::new(), tests: Vec::new() }
    }

    /// The figures, also those in folded blocks, in page order.
    pub fn figures(&self) -> Vec<&Figure> {
        fn add<'a>(blocks: &'a [Content], found: &mut Vec<&'a Figure>) {
            for block in blocks {
                match block {
                    Content::Figure(figure) => found.push(figure),
                    Content::Folded(folded) => add(&folded.blocks, found),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        add(&self.blocks, &mut found);
        found
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Content::Text(text.into()));
    }

    pub(super) fn meaning(&mut self, text: impl Into<String>) {
        self.blocks.push(Content::Meaning(text.into()));
    }

    pub(super) fn absent(&mut self, text: impl Into<String>) {
        self.blocks.push(Content::Absent(text.into()));
    }

    pub(super) fn table(&mut self, caption: impl Into<String>, head: &[&str], rows: Vec<Vec<String>>) {
        self.blocks.push(Content::Table(TextTable::new(caption, head, rows)));
    }

    pub(super) fn code(&mut self, text: impl Into<String>) {
        self.blocks.push(Content::Code(text.into()));
    }

    pub(super) fn folded(&mut self, title: impl Into<String>, blocks: Vec<Content>) {
        self.blocks.push(Content::Folded(Folded { title: title.into(), blocks }));
    }

    /// Adds a file next to the page, and a link to it.
    pub(super) fn file(&mut self, name: &str, link: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.push(AttachedFile { name: name.to_owned(), bytes: bytes.into() });
        self.blocks.push(Content::Link(name.to_owned(), link.into()));
    }

    pub(super) fn figure(&mut self, figure: Figure) {
        self.blocks.push(Content::Figure(Box::new(figure)));
    }

    /// Adds a test to the table of all tests.
    pub(super) fn test(&mut self, comparison: impl Into<String>, test: &'static str, n: usize, p: f64) {
        self.tests.push(ReportedTest { comparison: comparison.into(), test, n, p });
    }

    pub(super) fn number(&mut self, key: &str, value: impl Into<Value>) {
        self.numbers[key] = value.into();
    }
}
