use serde_json::json;

use crate::report::Section;
use crate::report::wording::{count, counted, p_text};
use crate::stats::{benjamini_hochberg, holm};

/// Every test of the page with p values adjusted within its family: the tests of one section.
pub(in crate::report) fn section(sections: &[Section]) -> Section {
    let mut section = Section::new("tests", "All tests");
    let total: usize = sections.iter().map(|s| s.tests.len()).sum();
    if total == 0 {
        section.absent("This page states no tests.");
        return section;
    }
    let (mut rows, mut numbers) = (Vec::new(), Vec::new());
    let [mut plain, mut kept] = [0; 2];
    for of in sections {
        let p: Vec<f64> = of.tests.iter().map(|t| t.p).collect();
        for ((test, holm), bh) in of.tests.iter().zip(holm(&p)).zip(benjamini_hochberg(&p)) {
            plain += usize::from(test.p < 0.05);
            kept += usize::from(holm < 0.05);
            rows.push(vec![
                of.title.to_owned(),
                test.comparison.clone(),
                test.test.to_owned(),
                count(test.n),
                p_text(test.p),
                p_text(holm),
                p_text(bh),
            ]);
            numbers.push(json!({
                "section": of.id, "comparison": test.comparison, "test": test.test, "n": test.n, "p": test.p,
                "p_holm": holm, "p_benjamini_hochberg": bh,
            }));
        }
    }
    section.text(format!(
        "The page states {}. Without any real difference, 5 % of them would have p < 0.05. {} {} p < 0.05 before adjustment, {} after \
         Holm's correction within {} section.",
        counted(total, "test", "tests"),
        count(plain),
        if plain == 1 { "has" } else { "have" },
        count(kept),
        if sections.iter().filter(|s| !s.tests.is_empty()).count() == 1 { "the" } else { "each" },
    ));
    section.table(
        "p values as computed, adjusted by Holm (probability of any false positive in the section) and by Benjamini and \
         Hochberg (share of false positives among the significant ones)",
        &["section", "comparison", "test", "n", "p", "Holm", "Benjamini-Hochberg"],
        rows,
    );
    section.number("tests", numbers);
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Content;

    #[test]
    fn a_family_is_a_section() {
        let mut first = Section::new("first", "First");
        first.test("height", "Welch", 10, 0.03);
        first.test("weight", "Welch", 9, 0.04);
        let mut second = Section::new("second", "Second");
        second.test("age", "Welch", 8, 0.04);
        let found = section(&[first, second, Section::new("third", "Third")]);
        let Some(Content::Table(table)) = found.blocks.iter().find(|b| matches!(b, Content::Table(_))) else {
            panic!("no table")
        };
        let adjusted: Vec<&str> = table.rows.iter().map(|row| row[5].as_str()).collect();
        assert_eq!(adjusted, ["p = 0.060", "p = 0.060", "p = 0.040"]);
        assert_eq!(found.numbers["tests"][2]["p_holm"], 0.04);
        assert!(format!("{:?}", found.blocks[0]).contains("3 have p < 0.05 before adjustment, 1 after"));
        assert!(format!("{:?}", section(&[]).blocks[0]).contains("no tests"));
    }
}
