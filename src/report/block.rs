use serde_json::Value;

use crate::figures::Figure;

/// A part of the report, reachable from its contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Anchor in the page and key in `numbers.json`.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Content from top to bottom.
    pub blocks: Vec<Content>,
    /// Every number that the section states, under stable keys.
    pub numbers: Value,
}

/// A piece of content. All text is plain: the page escapes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A paragraph.
    Text(String),
    /// What the numbers mean.
    Meaning(String),
    /// What is not there, and how to get it.
    Absent(String),
    /// Large numbers side by side.
    Tiles(Vec<Tile>),
    /// A table.
    Table(TextTable),
    /// A figure.
    Figure(Box<Figure>),
    /// Pictures with captions.
    Pictures(Vec<Shown>),
    /// A link to a file beside the page: its name, and what it says.
    Link(String, String),
}

/// A large number.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Tile {
    /// What it counts.
    pub label: String,
    /// The number.
    pub value: String,
    /// A remark.
    pub note: String,
}

/// A table; cells that look like numbers are set flush right.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TextTable {
    /// What it shows, with n.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
}

/// A picture with what is to be said of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Shown {
    /// JPEG, base64; empty where there is none.
    pub jpeg: String,
    /// Heading.
    pub title: String,
    /// A mark before the heading that also sets its colour: `high`, `medium`, `low`, or empty for none.
    pub severity: String,
    /// Lines below.
    pub lines: Vec<String>,
}

impl Section {
    pub(super) fn new(id: &'static str, title: &'static str) -> Section {
        Section { id, title, blocks: Vec::new(), numbers: Value::Object(serde_json::Map::new()) }
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

    pub(super) fn number(&mut self, key: &str, value: impl Into<Value>) {
        self.numbers[key] = value.into();
    }
}
