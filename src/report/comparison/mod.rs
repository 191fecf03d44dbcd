//! The report of `carpus compare`: two sets of tables, such as two data sets, or one before and after corrections.

mod changes;
mod content;
mod findings;

use crate::audit::FindingRow;
use crate::figures::style::{TEST, TRAIN};
use crate::tables::{ImageRow, PatientRow, TableRow, Tables, with_patients};

use super::per_patient::per_patient;
use super::sections::all_tests;
use super::sections::train_test::{GroupNames, present};
use super::shift::{Groups, Shift};
use super::{PERMUTATIONS, ReportError, Section};
use changes::Common;

/// One of the two sets of a comparison.
#[derive(Clone, Copy)]
pub struct ComparedTables<'a> {
    /// Name in texts and figures: `A`.
    pub name: &'a str,
    /// Where it comes from, for the page.
    pub origin: &'a str,
    /// The tables of a scan.
    pub tables: &'a Tables,
    /// Findings of an audit, if given.
    pub findings: Option<&'a [FindingRow]>,
}

/// The sections of a comparison: content, shift of every quantity, changes of the images and patients that are in both, and
/// findings that are gone or new. Findings are compared if both sets have them.
///
/// # Errors
/// polars cannot evaluate the tables.
pub fn comparison(base: ComparedTables<'_>, other: ComparedTables<'_>) -> Result<Vec<Section>, ReportError> {
    let common = Common::of(base.tables, other.tables);
    let mut sections = vec![content::section(base, other, &common)?];
    let patients = |tables: &Tables| {
        per_patient(&with_patients(ImageRow::to_frame(&tables.images)?, PatientRow::to_frame(&tables.patients)?)?)
    };
    let (of_base, of_other) = (patients(base.tables)?, patients(other.tables)?);
    let mut shift = Section::new("shift", "Shift");
    if of_base.height() == 0 || of_other.height() == 0 {
        shift.absent("One set has no patients with images, so there is nothing to compare.");
    } else {
        if common.patients > 0 {
            shift.absent(format!(
                "{} of {} are in both sets. The tests of this section treat the sets as independent, so with common patients their p \
                 values are too large; the next section compares the same patients with themselves.",
                common.patients,
                of_base.height()
            ));
        }
        let groups = Groups {
            base: (base.name, of_base.clone()),
            other: (other.name, of_other.clone()),
            common: common.patients,
        };
        let names = GroupNames { base: base.name, other: other.name, colours: [TRAIN, TEST] };
        present(&mut shift, &Shift::of(&groups, PERMUTATIONS)?, names);
    }
    sections.push(shift);
    sections.push(changes::section(base, other, &common, [&of_base, &of_other])?);
    sections.push(findings::section(base, other));
    let tests = all_tests::section(&sections);
    sections.push(tests);
    Ok(sections)
}

/// The findings that only the second set has, worst first; `None` unless both sets have findings.
pub fn new_findings(base: ComparedTables<'_>, other: ComparedTables<'_>) -> Option<Vec<FindingRow>> {
    let changes = findings::FindingChanges::of(base.findings?, other.findings?);
    Some(changes.new.into_iter().cloned().collect())
}
