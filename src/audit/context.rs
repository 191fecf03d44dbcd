//! The input of the checks: tables, hand model and scores, prepared once for all checks.

use polars::prelude::*;
use rayon::prelude::*;

use super::AuditSettings;
use super::population::{HandModel, MeasuredHand, Verdict};
use crate::bones::{Bone, COUNT};
use crate::dataset::Side;
use crate::scores::DiceTable;
use crate::tables::{BoneRow, ColumnValue, ImageRow, PatientRow, ProblemRow, TableRow, Tables, with_patients};
use crate::wording::counted;

/// Input of the checks.
pub struct AuditContext<'a> {
    /// The scan's tables.
    pub tables: &'a Tables,
    /// Thresholds.
    pub settings: &'a AuditSettings,
    /// Dice per image and class; `None` without a file of scores.
    pub scores: Option<&'a DiceTable>,
    /// The images with the columns of their patients, sorted by image ID. The column `image` is the row in the images
    /// table.
    pub hands: DataFrame,
    /// The column `image` of `hands`.
    order: Vec<usize>,
    /// The bones of each image, by class.
    pub bones: Vec<Vec<&'a BoneRow>>,
    /// Images of each patient, sorted by image ID.
    pub patients: Vec<Vec<usize>>,
    /// The hand model estimated from these hands.
    pub model: HandModel,
    /// Each image's hand compared with the model; `None` without masks.
    pub verdicts: Vec<Option<Verdict>>,
}

impl<'a> AuditContext<'a> {
    /// Estimates the model and compares every hand with it. Hands are sorted by image ID, so that the order of
    /// the table's rows does not matter.
    ///
    /// # Errors
    /// Polars cannot process a table.
    pub fn new(tables: &'a Tables, settings: &'a AuditSettings, scores: Option<&'a DiceTable>) -> PolarsResult<Self> {
        let images = ImageRow::to_frame(&tables.images)?.lazy().with_row_index("image", None);
        let images = images.sort(["image_id"], SortMultipleOptions::default());
        let images = images.unique_stable_generic(Some(vec![col("image_id")]), UniqueKeepStrategy::Last).collect()?;
        let hands = with_patients(images, PatientRow::to_frame(&tables.patients)?)?;
        let order = indices(hands.column("image")?)?;

        let key = [col("image_id")];
        let images = hands.clone().lazy().select([col("image_id"), col("image")]);
        let rows = BoneRow::to_frame(&tables.bones)?.lazy().with_row_index("bone", None);
        let rows = rows.join(images, &key, &key, JoinArgs::new(JoinType::Inner));
        let rows = rows.sort(["image", "class", "bone"], SortMultipleOptions::default()).collect()?;
        let mut bones = vec![Vec::new(); tables.images.len()];
        for (image, bone) in indices(rows.column("image")?)?.into_iter().zip(indices(rows.column("bone")?)?) {
            bones[image].push(&tables.bones[bone]);
        }

        let of_patients = hands.clone().lazy().group_by([col("patient_id")]).agg([col("image")]);
        let of_patients = of_patients.sort(["patient_id"], SortMultipleOptions::default()).collect()?;
        let of_patients = of_patients.column("image")?.list()?.series_iter().flatten();
        let patients = of_patients.map(|images| indices(&images.into_column())).collect::<PolarsResult<_>>()?;

        let hand = |i: &usize| (!bones[*i].is_empty()).then(|| MeasuredHand::new(*i, &bones[*i]));
        let drawn: Vec<MeasuredHand> = order.iter().filter_map(hand).collect();
        let model = HandModel::estimate(&drawn);
        let mut verdicts = vec![None; tables.images.len()];
        for verdict in drawn.par_iter().map(|h| model.verdict(h)).collect::<Vec<_>>() {
            let image = verdict.hand.image;
            verdicts[image] = Some(verdict);
        }
        Ok(AuditContext { tables, settings, scores, hands, order, bones, patients, model, verdicts })
    }

    /// The images with a finite score of at least 1, with their scores, sorted by image ID.
    ///
    /// # Errors
    /// `hands` lacks a column of the expression, or a column has the wrong type.
    pub fn scored(&self, score: Expr) -> PolarsResult<Vec<(usize, f64)>> {
        let scored = self.hands.clone().lazy().select([col("image"), score.cast(DataType::Float64).alias("score")]);
        let scored = scored.filter(col("score").is_finite().and(col("score").gt_eq(lit(1.0)))).collect()?;
        Ok(indices(scored.column("image")?)?.into_iter().zip(f64::values(scored.column("score")?)?).collect())
    }

    /// The problems for which an expression is true, each with its image; `None` where the image is not in the images
    /// table.
    ///
    /// # Errors
    /// The problems table lacks a column of the expression, or a column has the wrong type.
    pub fn problems(&self, wanted: Expr) -> PolarsResult<Vec<(ProblemRow, Option<usize>)>> {
        let key = [col("image_id")];
        let images = self.hands.clone().lazy().select([col("image_id"), col("image")]);
        let problems = ProblemRow::to_frame(&self.tables.problems)?.lazy().filter(wanted);
        let problems = problems.join(images, &key, &key, JoinArgs::new(JoinType::Left)).collect()?;
        let images = Option::<u32>::values(problems.column("image")?)?.into_iter().map(|i| i.map(|i| i as usize));
        Ok(ProblemRow::from_frame(&problems)?.into_iter().zip(images).collect())
    }

    /// An image's row of the images table.
    pub fn image(&self, i: usize) -> &'a ImageRow {
        &self.tables.images[i]
    }

    /// Images sorted by ID, as indices in the images table.
    pub fn images(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().copied()
    }

    /// Image, bone and row of every annotated bone, in the order of [`AuditContext::images`].
    pub fn outlines(&self) -> impl Iterator<Item = (usize, Bone, &'a BoneRow)> + '_ {
        let of_image = |i: usize| {
            self.bones[i].iter().filter_map(move |row| Some((i, Bone::from_index(row.class as usize)?, *row)))
        };
        self.images().flat_map(of_image)
    }

    /// Images whose hand could be compared with the model, with verdict and assessment.
    pub fn assessed_hands(&self) -> impl Iterator<Item = (usize, &Verdict, &super::population::Assessment)> + '_ {
        self.images().filter_map(|i| {
            let verdict = self.verdicts[i].as_ref()?;
            Some((i, verdict, verdict.assessment.as_ref()?))
        })
    }

    /// Left or right hand by the layout of all bones; where the layout is unclear, by thumb and little finger.
    pub fn side_from_bones(&self, image: usize) -> Option<Side> {
        let assessment = self.verdicts[image].as_ref().and_then(|v| v.assessment.as_ref());
        match assessment {
            // With half of the labels wrong, a hand can look like its mirror image.
            Some(j) if 2 * j.position.removed < j.position.residuals.iter().flatten().count() => {
                Some(if j.fit.mirrored { Side::L } else { Side::R })
            }
            _ => self.image(image).side_by_anatomy,
        }
    }

    /// The data behind the model, for messages: `compared with 45 hands and the reference anatomy`.
    pub fn basis(&self) -> String {
        match self.model.hands {
            0 => "compared with the reference anatomy".to_owned(),
            n if n < 60 => format!("compared with {} and the reference anatomy", counted(n, "hand", "hands")),
            n => format!("compared with {n} hands"),
        }
    }
}

/// A column of row numbers as indices.
///
/// # Errors
/// The column has another type, or a value is missing.
pub fn indices(column: &Column) -> PolarsResult<Vec<usize>> {
    Ok(u32::values(column)?.into_iter().map(|row| row as usize).collect())
}

/// The bone of a valid class index.
pub fn bone(class: usize) -> Bone {
    debug_assert!(class < COUNT);
    Bone::from_index(class).unwrap_or(Bone::CAPITATE)
}

/// The label in the file of the shape that is bone `b` after the proposed label changes.
pub fn label_in_file(verdict: &Verdict, b: usize) -> Bone {
    let label = verdict.labels.iter().enumerate().find(|(from, to)| **to == b && verdict.hand.drawn[*from]);
    bone(label.map_or(b, |l| l.0))
}
