//! Dice scores far below what a class usually gets: where a model and an annotation disagree, one of them is
//! wrong, and labels are the one that can be mended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::context::{Context, bone};
use super::{CheckKind, Finding, robust};
use crate::bones::{Bone, COUNT};
use crate::bounded::Csv;

/// How low is low. Score 1 asks for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Spreads below the class's median.
    pub spreads: f64,
    /// Dice below the class's median.
    pub drop: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { spreads: 6.0, drop: 0.1 }
    }
}

/// From this many classes on, one finding tells of the image.
const MANY: usize = 5;

/// Dice of each image and class; classes that the file leaves out are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    images: BTreeMap<String, [Option<f64>; COUNT]>,
}

/// Scores that cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ScoresError {
    #[error("{path}: {source}")]
    Csv { path: PathBuf, source: csv::Error },
    #[error("{path} line 1: columns {found:?}, expected image_id and the names of bones")]
    Header { path: PathBuf, found: Vec<String> },
    #[error("{path} line {line}, column {column}: {found:?} is no Dice score (0 to 1)")]
    Cell { path: PathBuf, line: u64, column: String, found: String },
    #[error("{path} line {line}: image {image} occurs twice")]
    Twice { path: PathBuf, line: u64, image: String },
}

impl Scores {
    /// Reads a CSV with the column `image_id` and one column a bone; other columns are not looked at, empty
    /// cells (a class that neither annotation nor prediction has) are left out.
    pub fn read(path: &Path) -> Result<Scores, ScoresError> {
        let csv_error = |source| ScoresError::Csv { path: path.into(), source };
        let mut reader = Csv::open(path).map_err(csv_error)?;
        let header: Vec<String> = reader.headers().map_err(csv_error)?.iter().map(|h| h.trim().to_owned()).collect();
        let columns: Vec<(usize, Bone)> =
            header.iter().enumerate().filter_map(|(at, h)| Some((at, Bone::from_name(h)?))).collect();
        let id = header.iter().position(|h| h == "image_id");
        let (Some(id), false) = (id, columns.is_empty()) else {
            return Err(ScoresError::Header { path: path.into(), found: header });
        };
        let mut images = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(csv_error)?;
            let line = record.position().map_or(0, |p| p.line());
            let image = record.get(id).unwrap_or_default().trim().to_owned();
            let mut scores = [None; COUNT];
            for (at, bone) in &columns {
                let text = record.get(*at).unwrap_or_default().trim();
                if text.is_empty() || text.eq_ignore_ascii_case("nan") {
                    continue;
                }
                let value = text.parse::<f64>().ok().filter(|v| (0.0..=1.0).contains(v));
                let cell =
                    || ScoresError::Cell { path: path.into(), line, column: bone.to_string(), found: text.into() };
                scores[bone.index()] = Some(value.ok_or_else(cell)?);
            }
            if images.insert(image.clone(), scores).is_some() {
                return Err(ScoresError::Twice { path: path.into(), line, image });
            }
        }
        Ok(Scores { images })
    }

    /// From scores by image.
    pub fn new(images: impl IntoIterator<Item = (String, [Option<f64>; COUNT])>) -> Scores {
        Scores { images: images.into_iter().collect() }
    }
}

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let Some(scores) = context.scores else { return Vec::new() };
    let thresholds = &context.settings.dice;
    let usual: Vec<Option<(f64, f64)>> = (0..COUNT)
        .map(|c| robust::centre_and_spread(&scores.images.values().filter_map(|s| s[c]).collect::<Vec<_>>()))
        .collect();
    let mut findings = Vec::new();
    for i in context.images() {
        let Some(of_image) = scores.images.get(&context.image(i).image_id) else { continue };
        let low: Vec<(Bone, f64, f64, f64)> = (0..COUNT)
            .filter_map(|c| {
                let (dice, (median, spread)) = (of_image[c]?, usual[c]?);
                let drop = median - dice;
                let score = (drop / (thresholds.spreads * spread.max(1e-6))).min(drop / thresholds.drop);
                (score >= 1.0).then_some((bone(c), dice, median, score))
            })
            .collect();
        if low.len() >= MANY {
            let mean = low.iter().map(|l| l.1).sum::<f64>() / low.len() as f64;
            let score = robust::median(low.iter().map(|l| l.3)).unwrap_or(1.0);
            let message = format!("{} bones have a low Dice, {mean:.3} on average", low.len());
            let finding = Finding::of_image(
                CheckKind::LowDice,
                i,
                score,
                message,
                "compare the whole annotation with the prediction",
            );
            findings.push(finding.with_bones(low.iter().map(|l| l.0)));
            continue;
        }
        for (b, dice, median, score) in low {
            let message = format!("{b} has a Dice of {dice:.3}, usually {median:.3}");
            let finding = Finding::of_image(
                CheckKind::LowDice,
                i,
                score,
                message,
                format!("compare the outline of {b} with the prediction"),
            );
            findings.push(finding.with_bones([b]));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::super::{Settings, audit};
    use super::*;

    #[test]
    fn low_scores_are_found_for_a_bone_and_for_a_whole_image() {
        let population = Population::new(20, 121);
        let mut rows: Vec<(String, [Option<f64>; COUNT])> = population
            .tables
            .images
            .iter()
            .enumerate()
            .map(|(i, r)| (r.image_id.clone(), std::array::from_fn(|c| Some(0.95 + 0.01 * ((i * 7 + c) % 4) as f64))))
            .collect();
        rows[3].1[20] = Some(0.1);
        rows[5].1 = [Some(0.3); COUNT];
        rows[6].1[20] = Some(0.93);
        let scores = Scores::new(rows);
        let found: Vec<_> = audit(&population.tables, Some(&scores), &Settings::default())
            .into_iter()
            .filter(|f| f.kind == CheckKind::LowDice)
            .map(|f| (f.image.unwrap(), f.bones.len()))
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&(3, 1)) && found.contains(&(5, COUNT)));
    }

    #[test]
    fn what_is_no_score_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Scores::read(&path)
        };
        assert!(read("image_id,Ulna,mean\na,0.9,0.9\nb,,\n").is_ok());
        let message = read("image_id,Ulna\na,0.9\nb,1.7\n").unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("Ulna") && message.contains("1.7"), "{message}");
        assert!(matches!(read("name,Ulna\n"), Err(ScoresError::Header { .. })));
        assert!(matches!(read("image_id,Ulna\na,1\na,1\n"), Err(ScoresError::Twice { .. })));
    }
}
