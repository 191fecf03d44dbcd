//! Tables as CSV, Markdown and LaTeX, for files next to the page.

use std::borrow::Cow;

/// A table as CSV. A cell that a spreadsheet would run as a formula begins with `'`.
pub(super) fn csv(head: &[&str], rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail, and all records have as many fields as the head.
    let _ = writer.write_record(head);
    for row in rows {
        let _ = writer.write_record(row.iter().map(|cell| escaped(cell).into_owned()));
    }
    writer.into_inner().unwrap_or_default()
}

fn escaped(cell: &str) -> Cow<'_, str> {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) && cell.parse::<f64>().is_err();
    if is_formula { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// A table as Markdown.
pub(super) fn markdown(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cell = |text: &str| text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;");
    let mut out = format!("{}\n\n", cell(caption));
    out += &line(head.iter().map(|text| cell(text)).collect());
    out += &format!("|{}\n", " --- |".repeat(head.len()));
    out + &rows.iter().map(|row| line(row.iter().map(|text| cell(text)).collect())).collect::<String>()
}

/// A table as LaTeX with the rules of the package booktabs; the first column is aligned left, the others right.
pub(super) fn latex(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let mut out = String::from("% Needs \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n");
    out += &format!(
        "  \\caption{{{}}}\n  \\begin{{tabular}}{{l{}}}\n",
        tex(caption),
        "r".repeat(head.len().saturating_sub(1))
    );
    out += "    \\toprule\n";
    out += &line(head.iter().map(|text| tex(text)).collect());
    out += "    \\midrule\n";
    out += &rows.iter().map(|row| line(row.iter().map(|text| tex(text)).collect())).collect::<String>();
    out + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
}

/// The text with LaTeX's special characters as commands.
fn tex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\\' => out.push_str("\\textbackslash{}"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '²' => out.push_str("$^2$"),
            '°' => out.push_str("$^\\circ$"),
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
    fn special_characters_are_escaped() {
        let rows = vec![vec!["=1+1".into(), "a|b & 50 % ± 2_x\\".into()]];
        assert_eq!(String::from_utf8(csv(&["a", "b"], &rows)).unwrap(), "a,b\n'=1+1,a|b & 50 % ± 2_x\\\n");
        assert!(markdown("t", &["a", "b"], &rows).ends_with("| =1+1 | a\\|b & 50 % ± 2_x\\ |\n"));
        let text = latex("50 %", &["a", "b"], &rows);
        assert!(text.contains("\\caption{50 \\%}") && text.contains("{tabular}{lr}"), "{text}");
        assert!(text.contains("=1+1 & a|b \\& 50 \\% $\\pm$ 2\\_x\\textbackslash{} \\\\"), "{text}");
    }
}
