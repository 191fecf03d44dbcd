use serde::Serialize;

use super::ballots::ImageBallots;
use crate::bones::Bone;

/// How alike the members of an ensemble are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Per pair of members, the Dice of their masks at one half: mean over images and classes; 1 if both are empty.
    pub dice: Vec<Vec<f64>>,
    /// The same by class.
    pub dice_by_class: Vec<ClassMatrix>,
    /// Per class and pair of members, the correlation (phi coefficient) of their errors: pixels at which the mask at one half
    /// differs from the annotation, over all pixels of all images. Absent where a member makes no errors. Empty without
    /// annotations.
    pub error_correlation: Vec<ClassMatrix>,
}

/// A number per pair of members for one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMatrix {
    /// Name of the class.
    pub bone: &'static str,
    /// By member and member.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Whether the ballots of [`agreement`] have annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotations {
    /// They were read with a data folder.
    Known,
    /// They were not; errors are not compared.
    Unknown,
}

/// Compares every pair of `members` members.
pub fn agreement(images: &[ImageBallots], members: usize, annotations: Annotations) -> Agreement {
    let per_class: Vec<(Bone, Pairs)> = Bone::all().map(|bone| (bone, Pairs::of(images, members, bone))).collect();
    let matrix = |value: &dyn Fn(usize, usize) -> Option<f64>| -> Vec<Vec<Option<f64>>> {
        (0..members).map(|i| (0..members).map(|j| value(i, j)).collect()).collect()
    };
    let class = |(bone, pairs): &(Bone, Pairs), value: &dyn Fn(&Pairs, usize, usize) -> Option<f64>| ClassMatrix {
        bone: bone.name(),
        values: matrix(&|i, j| value(pairs, i, j)),
    };
    let n = per_class.len() as f64;
    let mean = |i: usize, j: usize| per_class.iter().map(|(_, pairs)| pairs.dice[i][j]).sum::<f64>() / n;
    Agreement {
        dice: (0..members).map(|i| (0..members).map(|j| mean(i, j)).collect()).collect(),
        dice_by_class: per_class.iter().map(|pairs| class(pairs, &|pairs, i, j| Some(pairs.dice[i][j]))).collect(),
        error_correlation: match annotations {
            Annotations::Known => per_class.iter().map(|pairs| class(pairs, &Pairs::phi)).collect(),
            Annotations::Unknown => Vec::new(),
        },
    }
}

/// Sums of one class over images.
struct Pairs {
    /// Mean Dice.
    dice: Vec<Vec<f64>>,
    /// Pixels at which both members are wrong; on the diagonal, at which the member is.
    errors: Vec<Vec<f64>>,
    pixels: f64,
}

impl Pairs {
    fn of(images: &[ImageBallots], members: usize, bone: Bone) -> Pairs {
        let square = || vec![vec![0.0f64; members]; members];
        let mut pairs = Pairs { dice: square(), errors: square(), pixels: 0.0 };
        let each = || (0..members).flat_map(|i| (0..members).map(move |j| (i, j)));
        for image in images {
            let mut common = square();
            for ballot in image.classes[bone.index()].iter() {
                let count = f64::from(ballot.count);
                for (i, j) in each() {
                    let (a, b) = (ballot.is_set(i), ballot.is_set(j));
                    common[i][j] += if a && b { count } else { 0.0 };
                    let both_wrong = a != ballot.is_annotated() && b != ballot.is_annotated();
                    pairs.errors[i][j] += if both_wrong { count } else { 0.0 };
                }
            }
            pairs.pixels += image.pixels as f64;
            for (i, j) in each() {
                let areas = common[i][i] + common[j][j];
                pairs.dice[i][j] += if areas == 0.0 { 1.0 } else { 2.0 * common[i][j] / areas };
            }
        }
        pairs.dice.iter_mut().flatten().for_each(|dice| *dice /= images.len().max(1) as f64);
        pairs
    }

    /// The correlation of the errors of two members.
    fn phi(&self, i: usize, j: usize) -> Option<f64> {
        let (n, a, b) = (self.pixels, self.errors[i][i], self.errors[j][j]);
        let spread = (a * (n - a) * b * (n - b)).sqrt();
        (spread > 0.0).then(|| (n * self.errors[i][j] - a * b) / spread)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ballots::tests::image;
    use super::*;

    #[test]
    fn dice_and_errors_computed_by_hand() {
        // Annotated: 0 and 1. The first is wrong at 2, the second at 2 and 3, the third nowhere.
        let truth = [1, 1, 0, 0, 0, 0, 0, 0];
        let rows: [[f32; 8]; 3] = [
            [0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.9, 0.6, 0.7, 0.8, 0.4, 0.0, 0.0, 0.0],
            [0.9, 0.9, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0],
        ];
        let images = [image("a", &[&rows[0], &rows[1], &rows[2]], &truth)];
        let found = agreement(&images, 3, Annotations::Known);
        assert!((found.dice[0][1] - 6.0 / 7.0).abs() < 1e-12 && (found.dice[0][2] - 0.8).abs() < 1e-12);
        assert_eq!(found.dice[1][1], 1.0);
        let phi = &found.error_correlation[5].values;
        // n 8, errors 1 and 2, common 1: (8 - 2) / sqrt(1 * 7 * 2 * 6).
        assert!((phi[0][1].unwrap() - 6.0 / 84f64.sqrt()).abs() < 1e-12, "{phi:?}");
        assert_eq!(phi[0][2], None, "the third has no errors");
        assert!(agreement(&images, 3, Annotations::Unknown).error_correlation.is_empty());
    }
}
