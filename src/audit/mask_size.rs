//! Reports hands whose total bone area differs from the area predicted from height, weight and sex. The prediction
//! is a robust regression of the log of the bones' share of the image on log height, log weight and sex, over all
//! complete hands.
//!
//! Why it matters: such a hand may belong to another patient, have another scale, or have wrong metadata.
//!
//! Example: the bones have 152 % of the predicted area because the metadata belong to a smaller patient.

use std::f64::consts::E;

use polars::prelude::*;

use super::context::{AuditContext, indices};
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;
use crate::dataset::metadata::Sex;
use crate::stats::robust;
use crate::tables::{ColumnValue, is};

/// Differences that are reported. A score of 1 requires both `z` and `factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskSizeThresholds {
    /// Residual, in units of the robust spread of the residuals.
    pub z: f64,
    /// Smallest ratio to the predicted area; bones of equally tall people differ by a factor of about 1.05.
    pub factor: f64,
    /// Smallest number of hands for the regression.
    pub hands: usize,
}

impl Default for MaskSizeThresholds {
    fn default() -> Self {
        MaskSizeThresholds { z: 4.0, factor: 1.12, hands: 24 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "mask_size",
    about: "bones larger or smaller than predicted from height, weight and sex",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Image,
    faults: &[("metadata_size_mismatch", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.mask_size;
    let ln = |value: Expr| value.cast(DataType::Float64).log(lit(E));
    let field = col("width").cast(DataType::Float64) * col("height").cast(DataType::Float64);
    let columns = [
        ln(col("height_cm")).alias("height"),
        ln(col("weight_kg")).alias("weight"),
        is("sex", Sex::M).cast(DataType::Float64).alias("male"),
        ln(col("mask_px").cast(DataType::Float64) / field).alias("size"),
    ];
    let known = all_horizontal(["height", "weight", "male", "size"].map(|name| col(name).is_finite()))?;
    let complete = context.hands.clone().lazy().filter(col("n_bones").eq(lit(COUNT as u32)));
    let hands = complete.select([&[col("image")], &columns[..]].concat()).filter(known).collect()?;
    if hands.height() < thresholds.hands {
        return Ok(Vec::new());
    }
    let column = |name| f64::values(hands.column(name)?);
    let (height, weight, male, y) = (column("height")?, column("weight")?, column("male")?, column("size")?);
    let x: Vec<Vec<f64>> = (0..y.len()).map(|i| vec![1.0, height[i], weight[i], male[i]]).collect();
    // If all patients have the same sex, the columns are linearly dependent: then sex is left out.
    let coefficients = robust::regression(&x, &y)
        .or_else(|| robust::regression(&x.iter().map(|r| r[..3].to_vec()).collect::<Vec<_>>(), &y));
    let Some(coefficients) = coefficients else { return Ok(Vec::new()) };
    let residuals: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - robust::predict(&coefficients, x)).collect();
    let Some((centre, spread)) = robust::centre_and_spread(&residuals) else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    for (i, residual) in indices(hands.column("image")?)?.into_iter().zip(&residuals) {
        let difference = residual - centre;
        let score =
            (difference.abs() / (thresholds.z * spread.max(1e-9))).min(difference.abs() / thresholds.factor.ln());
        if score >= 1.0 && score.is_finite() {
            let message = format!(
                "the bones have {:.0} % of the area predicted from height, weight and sex (regression over {} hands)",
                100.0 * difference.exp(),
                y.len()
            );
            let suggestion = "check the patient's row in the metadata, the scale of the image, and whether the image shows this patient";
            findings.push(Finding::of_image(&CHECK, i, score, message, suggestion));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_hand_too_large_for_its_patient_is_found() {
        let mut population = Population::new(60, 81);
        let px = population.tables.images[17].mask_px.unwrap();
        population.tables.images[17].mask_px = Some(px * 9 / 5);
        assert_eq!(found(&population, &CHECK), vec![(17, String::new())]);
    }

    #[test]
    fn patients_of_one_sex_can_be_checked() {
        let mut population = Population::new(60, 82);
        population.tables.patients.iter_mut().for_each(|p| p.sex = Some(Sex::F));
        let px = population.tables.images[17].mask_px.unwrap();
        population.tables.images[17].mask_px = Some(px / 2);
        assert!(found(&population, &CHECK).contains(&(17, String::new())));
    }
}
