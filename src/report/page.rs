use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Content, ReportError, ReportOptions, Section};
use crate::typeface::{BOLD, FAMILY, REGULAR};

const TEMPLATE: &str = include_str!("../../assets/report/page.html");
const STYLE: &str = include_str!("../../assets/report/style.css");
/// Sorts and filters tables and enlarges figures. The page's policy admits this script by its hash and no other.
const SCRIPT: &str = include_str!("../../assets/report/page.js");
/// A table with more columns becomes a list on narrow screens.
const CARDS_FROM: usize = 4;

/// A block in the form that the template reads. Only `svg` and `narrow_svg` are not escaped by the template: the
/// figure painter escapes its texts itself.
#[derive(Serialize, Default)]
struct Item<'a> {
    kind: &'static str,
    text: &'a str,
    table: Option<TableItem<'a>>,
    tiles: Option<&'a [super::Tile]>,
    pictures: Option<&'a [super::CaptionedPicture]>,
    alerts: Option<&'a [super::Alert]>,
    findings: Option<&'a [super::FindingCard]>,
    /// Blocks of a folded block.
    items: Vec<Item<'a>>,
    svg: String,
    /// The figure laid out for narrow screens.
    narrow_svg: String,
    /// The figure's SVG file in base64; empty if the file is next to the page.
    file: String,
    name: &'a str,
    title: &'a str,
}

#[derive(Serialize)]
struct TableItem<'a> {
    caption: &'a str,
    /// Whether rows become lists on narrow screens.
    cards: bool,
    head: Vec<CellItem<'a>>,
    rows: Vec<Vec<CellItem<'a>>>,
}

#[derive(Serialize)]
struct CellItem<'a> {
    text: &'a str,
    numeric: bool,
}

#[derive(Serialize)]
struct SectionItem<'a> {
    id: &'a str,
    title: &'a str,
    items: Vec<Item<'a>>,
}

/// The HTML page. It is self-contained, except that it links to the figure files and `numbers.json` next to it.
///
/// # Errors
/// A figure cannot be drawn, or the template fails.
pub fn page(sections: &[Section], settings: &ReportOptions) -> Result<String, ReportError> {
    render(sections, &settings.title, "numbers.json", false)
}

/// The HTML page as a single file with its figures embedded for download. It links only to the file `numbers` next
/// to it.
///
/// # Errors
/// A figure cannot be drawn, or the template fails.
pub fn single_page(sections: &[Section], title: &str, numbers: &str) -> Result<String, ReportError> {
    render(sections, title, numbers, true)
}

fn render(sections: &[Section], title: &str, numbers: &str, single: bool) -> Result<String, ReportError> {
    let mut items = Vec::with_capacity(sections.len());
    for section in sections {
        items.push(SectionItem { id: section.id, title: section.title, items: items_of(&section.blocks, single)? });
    }
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("page.html", TEMPLATE)?;
    let page = environment.get_template("page.html")?.render(context! {
        title,
        numbers,
        single,
        version => env!("CARGO_PKG_VERSION"),
        family => FAMILY,
        regular => STANDARD.encode(REGULAR),
        bold => STANDARD.encode(BOLD),
        style => STYLE,
        script => SCRIPT,
        script_hash => STANDARD.encode(Sha256::digest(SCRIPT)),
        sections => Value::from(Serde(&items)),
    })?;
    Ok(without_control_characters(page))
}

/// Replaces control characters, which HTML must not contain, by escapes.
fn without_control_characters(page: String) -> String {
    let forbidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !page.contains(forbidden) {
        return page;
    }
    let mut clean = String::with_capacity(page.len());
    for c in page.chars() {
        if forbidden(c) { clean.extend(c.escape_unicode()) } else { clean.push(c) }
    }
    clean
}

/// Blocks as items; the figures are drawn in parallel.
fn items_of(blocks: &[Content], single: bool) -> Result<Vec<Item<'_>>, ReportError> {
    blocks.par_iter().map(|block| item(block, single)).collect()
}

fn item(block: &Content, single: bool) -> Result<Item<'_>, ReportError> {
    let item = Item::default();
    Ok(match block {
        Content::Text(text) => Item { kind: "text", text, ..item },
        Content::Meaning(text) => Item { kind: "meaning", text, ..item },
        Content::Absent(text) => Item { kind: "absent", text, ..item },
        Content::Tiles(tiles) => Item { kind: "tiles", tiles: Some(tiles), ..item },
        Content::Pictures(pictures) => Item { kind: "pictures", pictures: Some(pictures), ..item },
        Content::Link(file, text) => Item { kind: "link", name: file, text, ..item },
        Content::Code(text) => Item { kind: "code", text, ..item },
        Content::Alerts(alerts) => Item { kind: "alerts", alerts: Some(alerts), ..item },
        Content::Findings(cards) => Item { kind: "findings", findings: Some(cards), ..item },
        Content::Folded(folded) => {
            Item { kind: "folded", text: &folded.title, items: items_of(&folded.blocks, single)?, ..item }
        }
        Content::Figure(figure) => Item {
            kind: "figure",
            svg: figure.picture().inline_svg()?,
            narrow_svg: figure.narrow_picture().inline_svg()?,
            file: if single { STANDARD.encode(figure.picture().svg()?) } else { String::new() },
            name: &figure.name,
            title: &figure.title,
            ..item
        },
        Content::Table(table) => Item { kind: "table", table: Some(table_item(table)), ..item },
    })
}

/// The table without its columns that are empty in all rows.
fn table_item(table: &super::TextTable) -> TableItem<'_> {
    let cells = |column: usize| table.rows.iter().filter_map(move |row| row.get(column)).filter(|c| !c.is_empty());
    let is_shown = |column: &usize| table.rows.is_empty() || cells(*column).next().is_some();
    let shown: Vec<usize> = (0..table.head.len()).filter(is_shown).collect();
    let numeric: Vec<bool> = shown
        .iter()
        .map(|column| cells(*column).next().is_some() && cells(*column).all(|c| looks_numeric(c)))
        .collect();
    TableItem {
        caption: &table.caption,
        cards: shown.len() > CARDS_FROM,
        head: cell_items(&table.head, &shown, &numeric),
        rows: table.rows.iter().map(|row| cell_items(row, &shown, &numeric)).collect(),
    }
}

fn cell_items<'a>(texts: &'a [String], shown: &[usize], numeric: &[bool]) -> Vec<CellItem<'a>> {
    let text = |column: &usize| texts.get(*column).map_or("", String::as_str);
    shown.iter().zip(numeric).map(|(column, numeric)| CellItem { text: text(column), numeric: *numeric }).collect()
}

/// Whether a cell starts like a number and has few letters: `1,234`, `15.7 ± 2.5`, `p < 0.001`, `–`.
fn looks_numeric(text: &str) -> bool {
    let text = text.strip_prefix("p < ").or_else(|| text.strip_prefix("p = ")).unwrap_or(text);
    let start = text.chars().next().is_some_and(|c| c.is_ascii_digit() || "−–[<".contains(c));
    start && text.chars().filter(|c| c.is_alphabetic()).count() <= 3
}
