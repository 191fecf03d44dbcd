//! Reports images that show the same picture, for two patients or as both hands of one patient.
//!
//! Images with similar perceptual hashes (64 bits) are candidates; the centroids of their bones decide. In the model's
//! frame, the centroids of two different hands differ by about ten px, those of a cropped or brightened copy hardly at all.
//! If one of the images has no masks, only an exact copy is found: same hash, mean grey level and number of bright
//! pixels. Predicted masks can be used like annotations: scan with predictions to compare a test set.
//!
//! Why it matters: copies in different folds leak from training to validation.
//!
//! Example: image 21 of patient 011 is a brightened copy of image 8 of patient 005.

use polars::prelude::*;

use super::context::{AuditContext, indices};
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;
use crate::stats::robust;
use crate::tables::ImageRow;

/// Differences up to which two images count as the same picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearDuplicateThresholds {
    /// Differing bits of the hashes (64 bits) up to which the centroids of the bones are compared.
    pub bits: u32,
    /// Difference in mean grey level, for images without masks and with equal hashes.
    pub grey: f64,
    /// Median distance of the centroids in the model's frame, in px of a mean hand at 2048 x 2048.
    pub displacement_px: f64,
    /// Difference in the rotation of the hands, degrees.
    pub turn_deg: f64,
}

impl Default for NearDuplicateThresholds {
    fn default() -> Self {
        NearDuplicateThresholds { bits: 16, grey: 0.02, displacement_px: 3.0, turn_deg: 2.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "near_duplicate",
    about: "the same picture twice",
    ceiling: Severity::High,
    evidence: EvidenceKind::Image,
    faults: &[("near_duplicate", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.near_duplicate;
    let hash = |i: usize| context.image(i).image_hash.as_deref().and_then(|h| u64::from_str_radix(h, 16).ok());
    let hashed: Vec<(usize, u64)> = context.images().filter_map(|i| Some((i, hash(i)?))).collect();
    let mut findings = Vec::new();
    let mut reported = vec![false; context.tables.images.len()];

    let files = context.hands.clone().lazy().filter(col("sha256").is_not_null());
    let files = files.select([col("image"), col("image").first().over([col("sha256")])?.alias("first")]);
    let copies = files.filter(col("image").neq(col("first"))).collect()?;
    for (i, first) in indices(copies.column("image")?)?.into_iter().zip(indices(copies.column("first")?)?) {
        reported[i] = true;
        findings.push(finding(context, i, first, 4.0, "the same file as"));
    }
    // Each image is reported once, with the first image that it resembles.
    for (k, (i, a)) in hashed.iter().enumerate() {
        if reported[*i] {
            continue;
        }
        for (j, b) in &hashed[..k] {
            let bits = (a ^ b).count_ones();
            if bits > thresholds.bits {
                continue;
            }
            let same = match displacement(context, *i, *j) {
                Some(px) => px <= thresholds.displacement_px,
                None => bits == 0 && same_grey(context.image(*i), context.image(*j), thresholds.grey),
            };
            if same {
                reported[*i] = true;
                let masked = !context.bones[*i].is_empty() && !context.bones[*j].is_empty();
                let (score, what) =
                    if masked { (2.5, "almost the same picture as") } else { (1.5, "possibly the same picture as") };
                findings.push(finding(context, *i, *j, score, what));
                break;
            }
        }
    }
    Ok(findings)
}

fn finding(context: &AuditContext, i: usize, other: usize, score: f64, what: &str) -> Finding {
    let (row, original) = (context.image(i), context.image(other));
    let whose = match row.patient_id == original.patient_id {
        true => "of the same patient".to_owned(),
        false => format!("of patient {}", original.patient_id),
    };
    let message = format!("{what} {} {whose}", original.image_id);
    Finding::of_image(
        &CHECK,
        i,
        score,
        message,
        "exclude one of the two: in different folds they leak from training to validation",
    )
    .compared_with(other)
}

/// Whether two images agree in size, mean grey level and number of bright pixels.
fn same_grey(a: &ImageRow, b: &ImageRow, grey: f64) -> bool {
    const BRIGHT_SHARE: f64 = 0.01;
    let close = |x: f64, y: f64, by: f64| (x - y).abs() <= by;
    let (Some(p), Some(q)) = (a.mean_grey, b.mean_grey) else { return false };
    let (m, n) = (a.bright_px.unwrap_or(0) as f64, b.bright_px.unwrap_or(0) as f64);
    // Black images all look the same.
    p > 0.0
        && (a.width, a.height) == (b.width, b.height)
        && close(p, q, grey)
        && close(m, n, BRIGHT_SHARE * m.max(n) + 2.0)
}

/// Median distance of the two hands' centroids in the model's frame; infinite for hands of different sides or
/// rotations, `None` if too few bones are known.
fn displacement(context: &AuditContext, a: usize, b: usize) -> Option<f64> {
    const MIN_BONES: usize = 8;
    let hand =
        |i: usize| context.verdicts[i].as_ref().and_then(|v| Some((&v.hand.centroids, v.assessment.as_ref()?.fit)));
    let ((p, to_p), (q, to_q)) = (hand(a)?, hand(b)?);
    let turn = (to_p.orientation(0.0) - to_q.orientation(0.0) + 180.0).rem_euclid(360.0) - 180.0;
    if to_p.mirrored != to_q.mirrored || turn.abs() > context.settings.near_duplicate.turn_deg {
        return Some(f64::INFINITY);
    }
    let distances: Vec<f64> = (0..COUNT)
        .filter_map(|c| {
            let ([x, y], [u, v]) = (to_p.apply(p[c]?), to_q.apply(q[c]?));
            Some((x - u).hypot(y - v))
        })
        .collect();
    (distances.len() >= MIN_BONES).then(|| robust::median(distances)).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;
    use crate::dataset::MaskSource;

    #[test]
    fn equal_files_and_similar_pictures_are_found_but_not_similar_hashes_alone() {
        let mut population = Population::new(20, 111);
        for image in &mut population.tables.images {
            image.image_hash = Some(format!("{:016x}", 0x0f0f_33cc_5a5a_00ffu64));
        }
        population.copy_bones(8, 21);
        population.tables.images[21].image_hash = Some(format!("{:016x}", 0x0f0f_33cc_5a5a_00f0u64));
        population.tables.images[30].sha256 = population.tables.images[2].sha256.clone();
        assert_eq!(found(&population, &CHECK), vec![(21, String::new()), (30, String::new())]);
    }

    #[test]
    fn images_without_masks_need_equal_hash_and_grey() {
        let mut population = Population::new(4, 112);
        population.tables.bones.clear();
        for (i, image) in population.tables.images.iter_mut().enumerate() {
            (image.mask_source, image.mean_grey) = (MaskSource::None, Some(40.0 + i as f64));
            image.image_hash = Some("0f0f0f0f0f0f0f0f".into());
        }
        population.tables.images[5].mean_grey = population.tables.images[0].mean_grey;
        assert_eq!(found(&population, &CHECK), vec![(5, String::new())]);
    }
}
