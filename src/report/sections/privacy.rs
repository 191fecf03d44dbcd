use polars::prelude::PolarsResult;

use crate::report::{Privacy, Section, Study};

/// What of the patients the report contains.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("privacy", "What this report contains of the patients");
    let is_anonymised = study.settings.privacy == Privacy::Anonymised;
    let has = |contained: bool| if contained { "yes" } else { "no" }.to_owned();
    let with_pictures = !is_anonymised && (!study.evidence.pictures.is_empty() || study.examples.is_some());
    let rows: Vec<(&str, String)> = vec![
        ("ids of patients and images", has(!is_anonymised)),
        ("names of files and folders", has(!is_anonymised)),
        ("pictures of hands", has(with_pictures)),
        ("values as typed, of single patients, and notes", has(!is_anonymised)),
        ("forms in which sexes and units were typed, with their counts", has(true)),
        ("points of single hands in scatter plots, without ids", has(true)),
        ("extreme values of single patients (age, height, weight)", has(true)),
        ("counts, means and other statistics", has(true)),
    ];
    let rows = rows.into_iter().map(|(what, contained)| vec![what.to_owned(), contained]).collect();
    section.table("The page and all files next to it", &["content", "contained"], rows);
    section.text(if is_anonymised {
        "Patients and images have numbers instead of ids; the order of the numbers is random, and the same in each report of the same \
         data. Extreme values can still identify a person to somebody who knows them: do not publish the report without reading it."
    } else {
        "This report names patients, files and values as typed: keep it where the data are kept. `carpus eda --anonymise` writes one \
         without them."
    });
    section.number("anonymised", is_anonymised);
    section.number("pictures", with_pictures);
    Ok(section)
}
