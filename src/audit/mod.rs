//! Suspicious images and annotations: each check takes the scan's tables and gives findings; findings are
//! ranked for a person to judge, with a picture of each.
//!
//! Checks of anatomy rest on [`population`]: a model of the hand learnt from all hands of the data by methods
//! that the faulty ones among them cannot sway.

mod asymmetry;
mod bright;
mod context;
mod dice;
mod duplicate_label;
mod evidence;
mod finding;
mod gaussian;
mod kind;
mod mask_size;
mod matrix;
mod metadata;
mod missing;
mod near_duplicate;
mod orientation;
mod place;
mod polygons;
mod population;
mod prior;
mod relabel;
mod robust;
mod side;
mod similarity;
mod size;
mod strips;
mod swaps;
pub mod truth;
mod unknown_label;
mod unusable;
mod write;

#[cfg(test)]
mod synthetic;

pub use context::Context;
pub use dice::{Scores, ScoresError};
pub use evidence::Unpictured;
pub use finding::Finding;
pub use kind::{CheckKind, Severity};
pub use population::{Hand, Judged, Model, Verdict};
pub use write::{Pictures, WriteError, counts, write};

use crate::tables::Tables;

/// Thresholds of every check; each type says in its file why its defaults are what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Outlines.
    pub polygons: polygons::Thresholds,
    /// Places of bones.
    pub place: place::Thresholds,
    /// Sizes of bones.
    pub size: size::Thresholds,
    /// Leans of bones.
    pub orientation: orientation::Thresholds,
    /// Bright pixels.
    pub bright: bright::Thresholds,
    /// Border strips.
    pub strips: strips::Thresholds,
    /// Size of all masks against metadata.
    pub mask_size: mask_size::Thresholds,
    /// Left against right.
    pub asymmetry: asymmetry::Thresholds,
    /// Metadata.
    pub metadata: metadata::Thresholds,
    /// The same picture twice.
    pub near_duplicate: near_duplicate::Thresholds,
    /// Scores.
    pub dice: dice::Thresholds,
}

/// Runs every check. Findings are ranked: worst severity first, then score, then image, check and label. The
/// order of the tables' rows and the number of threads change nothing.
pub fn audit(tables: &Tables, scores: Option<&Scores>, settings: &Settings) -> Vec<Finding> {
    let context = Context::new(tables, settings, scores);
    let checks: &[fn(&Context) -> Vec<Finding>] = &[
        missing::check,
        duplicate_label::check,
        unknown_label::check,
        polygons::check,
        swaps::check,
        place::check,
        size::check,
        orientation::check,
        side::check,
        bright::check,
        strips::check,
        mask_size::check,
        asymmetry::check,
        metadata::check,
        near_duplicate::check,
        dice::check,
        unusable::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(&context)).collect();
    let id = |f: &Finding| f.image.map_or(f.image_id.as_str(), |i| tables.images[i].image_id.as_str()).to_owned();
    findings.sort_by(|a, b| {
        (b.severity().cmp(&a.severity()))
            .then(b.score.total_cmp(&a.score))
            .then_with(|| id(a).cmp(&id(b)))
            .then_with(|| (a.kind, &a.bones, &a.message).cmp(&(b.kind, &b.bones, &b.message)))
    });
    findings
}
