//! Printing rows of cells in aligned columns.

use super::{Ui, visible};

/// Minimum width of a column that is narrowed to fit the terminal.
const MIN_WIDTH: usize = 12;

/// Prints rows in columns as wide as their widest cell. If a line would be longer than the terminal, the widest
/// columns are narrowed and their cells continue on the next line.
pub fn print(rows: &[Vec<String>], ui: &Ui) {
    lines(rows, ui.width()).iter().for_each(|line| ui.line(line));
}

/// Rows in columns as wide as their widest cell, numbers right-aligned. Lines are not shortened.
pub fn table(rows: &[Vec<String>], are_numbers: &[bool]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell).replace(['\n', '\t'], " ")).collect()).collect();
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..are_numbers.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(are_numbers).map(|((cell, width), is_number)| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn lines(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
    let mut widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let gaps = 2 * columns.saturating_sub(1);
    let most = widths.iter().copied().max().unwrap_or(0);
    let fits = |most: &usize| widths.iter().map(|w| w.min(most)).sum::<usize>() + gaps <= width;
    let most = (MIN_WIDTH..=most).rev().find(fits).unwrap_or(MIN_WIDTH);
    widths.iter_mut().for_each(|w| *w = (*w).min(most));
    let mut lines = Vec::new();
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
        for i in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| {
                let part = cell.get(i).map_or("", String::as_str);
                format!("{part:<width$}")
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        }
    }
    lines
}

/// Splits the text into pieces of at most `width` characters, after a space, comma or slash if there is one.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rest: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    while rest.len() > width {
        let end = rest[..width].iter().rposition(|c| [' ', ',', '/'].contains(c)).map_or(width, |at| at + 1);
        pieces.push(rest.drain(..end).collect::<String>().trim_end().to_owned());
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn short_lines_are_not_wrapped() {
        let shown = lines(&rows(&[&["run", "Dice"], &["a-long-name", "0.9"], &["b"]]), 80);
        assert_eq!(shown, ["run          Dice", "a-long-name  0.9", "b"]);
    }

    #[test]
    fn long_cells_continue_on_the_next_line() {
        let long = "[\"one/two/three\", 4, 5, 6, 7, 8, 9, 10]".repeat(6);
        let shown = lines(&rows(&[&["key", "first", "second"], &["betas", &long, "0.9"]]), 60);
        assert!(shown.len() > 3 && shown.iter().all(|line| line.chars().count() <= 60), "{shown:#?}");
        let value: String = shown[1..].iter().map(|line| line.get(7..53).unwrap_or(&line[7..]).trim()).collect();
        assert_eq!(value.replace([' '], "").replace("0.9", ""), long.replace(' ', ""), "{shown:#?}");
        // No place to break, and more columns than fit into the terminal.
        let narrow = lines(&rows(&[&["x".repeat(30).as_str(), "y", "z"]]), 10);
        assert_eq!(narrow, [format!("{}  y  z", "x".repeat(12)), "x".repeat(12), "x".repeat(6)]);
    }
}
