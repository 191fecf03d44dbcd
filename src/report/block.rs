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

impl Section {
    pub(super) fn new(id: &'static str, title: &'static str) -> Section {
        Section { id, title, blocks: Vec::new(), numbers: Value::Object(serde_json::Map::new()), tests: Vec::new() }
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
        let head = head.iter().map(|h| (*h).to_owned()).collect();
        self.blocks.push(Content::Table(TextTable { caption: caption.into(), head, rows }));
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
