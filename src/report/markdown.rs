//! The report as Markdown, for repositories and text editors: the same texts, tables and figures as the page.

use std::fmt::Write;

use super::{Content, FindingCard, ReportOptions, Section, TextTable};

/// The report as GitHub-flavoured Markdown. Figures are the PNG files in `figures/`; pictures of hands are left out.
pub fn markdown(sections: &[Section], settings: &ReportOptions) -> String {
    let mut out = format!("# {}\n", escaped(&settings.title));
    for section in sections {
        let _ = write!(out, "\n## {}\n", section.title);
        blocks(&mut out, &section.blocks);
    }
    let _ = write!(out, "\nMade by carpus {}. Every number is in numbers.json.\n", env!("CARGO_PKG_VERSION"));
    out
}

fn blocks(out: &mut String, blocks: &[Content]) {
    for block in blocks {
        let text = match block {
            Content::Text(text) => escaped(text),
            Content::Meaning(text) => format!("> {}", escaped(text)),
            Content::Absent(text) => format!("> **Note:** {}", escaped(text)),
            Content::Code(text) => code(text),
            Content::Link(file, text) => format!("[{}]({file})", escaped(text)),
            Content::Tiles(tiles) => list(
                tiles
                    .iter()
                    .map(|t| format!("{}: **{}** ({})", escaped(&t.label), escaped(&t.value), escaped(&t.note))),
            ),
            Content::Table(shown) => table(shown),
            Content::Figure(figure) => {
                let note =
                    if figure.note.is_empty() { String::new() } else { format!("\n\n{}", escaped(&figure.note)) };
                format!("![{}](figures/{}.png){note}", escaped(&figure.title), figure.name)
            }
            Content::Pictures(pictures) => list(pictures.iter().map(|picture| {
                let lines: Vec<String> = picture.lines.iter().map(|line| escaped(line)).collect();
                format!("{}: {}", escaped(&picture.title), lines.join("; "))
            })),
            Content::Alerts(alerts) => list(alerts.iter().map(|alert| {
                let command =
                    if alert.command.is_empty() { String::new() } else { format!("\n\n{}", code(&alert.command)) };
                format!("**{}**: {}{}", alert.level, escaped(&alert.text), command.replace('\n', "\n  "))
            })),
            Content::Findings(cards) => list(cards.iter().map(finding)),
            Content::Folded(folded) => {
                let _ = write!(out, "\n### {}\n", escaped(&folded.title));
                self::blocks(out, &folded.blocks);
                continue;
            }
        };
        let _ = write!(out, "\n{text}\n");
    }
}

fn finding(card: &FindingCard) -> String {
    let checks = card.checks.iter().map(|group| {
        let lines: Vec<String> = group.lines.iter().map(|line| escaped(line)).collect();
        format!("\n  - {} ({}): {}", escaped(group.check), group.severity, lines.join(" / "))
    });
    format!("**{}**: {}{}", card.severity, escaped(&card.image), checks.collect::<String>())
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n")
}

fn code(text: &str) -> String {
    let fence = if text.contains("```") { "~~~~" } else { "```" };
    format!("{fence}text\n{text}\n{fence}")
}

fn table(table: &TextTable) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell).replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![format!("{}:\n", escaped(&table.caption)), line(&table.head)];
    lines.push(format!("|{}", " --- |".repeat(table.head.len())));
    lines.extend(table.rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Text in which nothing is markup: no HTML, no links or images, no line breaks. Code between backticks stays code.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '*' | '\\' | ']' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_add_markup_or_rows() {
        let mut section = Section::new("test", "Test");
        let evil = "<script>x</script> ![a](http://b) | *c*\n# d";
        section.text(evil);
        section.table(evil, &["a", "b"], vec![vec![evil.into(), "1".into()]]);
        section.folded(evil, vec![Content::Code("carpus scan data".into())]);
        let text = markdown(&[section], &ReportOptions::default());
        assert!(!text.contains("<script") && !text.contains("![a](") && !text.contains("\n# d"), "{text}");
        assert!(text.contains("## Test") && text.contains("\\|") && text.contains("carpus scan data"), "{text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        assert_eq!(rows.len(), 3, "head, rule and one row: {text}");
    }
}
