use polars::prelude::*;
use rayon::prelude::*;

use super::AuditSettings;
use super::population::{HandModel, MeasuredHand, Verdict};
use crate::bones::{Bone, COUNT};
use crate::dataset::Side;
use crate::scores::DiceTable;
use crate::tables::{BoneRow, ColumnValue, ImageRow, PatientRow, ProblemRow, TableRow, Tables, with_patients};
use crate::wording::counted;

/// What the checks look at.
pub struct AuditContext<'a> {
    /// The scan's tables.
    pub tables: &'a Tables,
    /// Thresholds.
    pub settings: &'a AuditSettings,
    /// Dice per image and class, where given.
    pub scores: Option<&'a DiceTable>,
    /// The images with the columns of their patients, in the order of their IDs; `image` is the row in the images table.
    pub hands: DataFrame,
    /// The column `image` of the hands.
    order: Vec<usize>,
    /// The bones of each image, by class.
    pub bones: Vec<Vec<&'a BoneRow>>,
    /// Images of each patient, in the order of their IDs.
    pub patients: Vec<Vec<usize>>,
    /// The model of a hand, learnt from these hands.
    pub model: HandModel,
    /// Each image's hand against the model; `None` without masks.
    pub verdicts: Vec<Option<Verdict>>,
}

impl<'a> AuditContext<'a> {
    /// Learns the model and judges every hand. Hands are taken in the order of their IDs, so that the order of
    /// the table's rows changes nothing.
    ///
    /// # Errors
    /// Those of polars.
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
        let model = HandModel::learnt(&drawn);
        let mut verdicts = vec![None; tables.images.len()];
        for verdict in drawn.par_iter().map(|h| model.verdict(h)).collect::<Vec<_>>() {
            let image = verdict.hand.image;
            verdicts[image] = Some(verdict);
        }
        Ok(AuditContext { tables, settings, scores, hands, order, bones, patients, model, verdicts })
    }

    /// The images whose score is a number from 1 on, with their scores, in the order of their IDs.
    ///
    /// # Errors
    /// The hands have no such column, or it is of another type.
    pub fn scored(&self, score: Expr) -> PolarsResult<Vec<(usize, f64)>> {
        let scored = self.hands.clone().lazy().select([col("image"), score.cast(DataType::Float64).alias("score")]);
        let scored = scored.filter(col("score").is_finite().and(col("score").gt_eq(lit(1.0)))).collect()?;
        Ok(indices(scored.column("image")?)?.into_iter().zip(f64::values(scored.column("score")?)?).collect())
    }

    /// The problems for which an expression is true, with the images that they are about; `None` where that is not in the
    /// images table.
    ///
    /// # Errors
    /// The problems have no such column, or it is of another type.
    pub fn problems(&self, wanted: Expr) -> PolarsResult<Vec<(ProblemRow, Option<usize>)>> {
        let key = [col("image_id")];
        let images = self.hands.clone().lazy().select([col("image_id"), col("image")]);
        let problems = ProblemRow::to_frame(&self.tables.problems)?.lazy().filter(wanted);
        let problems = problems.join(images, &key, &key, JoinArgs::new(JoinType::Left)).collect()?;
        let images = Option::<u32>::values(problems.column("image")?)?.into_iter().map(|i| i.map(|i| i as usize));
        Ok(ProblemRow::from_frame(&problems)?.into_iter().zip(images).collect())
    }

    /// Row of an image.
    pub fn image(&self, i: usize) -> &'a ImageRow {
        &self.tables.images[i]
    }

    /// Images in the order of their IDs.
    pub fn images(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().copied()
    }

    /// Image, bone and row of every outline, in the order of [`AuditContext::images`].
    pub fn outlines(&self) -> impl Iterator<Item = (usize, Bone, &'a BoneRow)> + '_ {
        let of_image = |i: usize| {
            self.bones[i].iter().filter_map(move |row| Some((i, Bone::from_index(row.class as usize)?, *row)))
        };
        self.images().flat_map(of_image)
    }

    /// Hands that have a frame, with their verdicts.
    pub fn judged(&self) -> impl Iterator<Item = (usize, &Verdict, &super::population::Judged)> + '_ {
        self.images().filter_map(|i| {
            let verdict = self.verdicts[i].as_ref()?;
            Some((i, verdict, verdict.judged.as_ref()?))
        })
    }

    /// Left or right by the bones' layout as a whole; where that cannot be told, by thumb and little finger.
    pub fn side_seen(&self, image: usize) -> Option<Side> {
        let judged = self.verdicts[image].as_ref().and_then(|v| v.judged.as_ref());
        match judged {
            // Half a hand of wrong labels can look like its mirror image.
            Some(j) if 2 * j.place.removed < j.place.residuals.iter().flatten().count() => {
                Some(if j.fit.mirrored { Side::L } else { Side::R })
            }
            _ => self.image(image).side_by_anatomy,
        }
    }

    /// What the model rests on, for messages.
    pub fn basis(&self) -> String {
        match self.model.hands {
            0 => "judged by the anatomy table alone".to_owned(),
            n if n < 60 => format!("judged by the anatomy table and {}", counted(n, "hand", "hands")),
            n => format!("judged by {n} hands"),
        }
    }
}

/// Numbers of rows.
///
/// # Errors
/// The column holds something else, or a value is missing.
pub fn indices(column: &Column) -> PolarsResult<Vec<usize>> {
    Ok(u32::values(column)?.into_iter().map(|row| row as usize).collect())
}

/// The bone of a channel known to exist.
pub fn bone(class: usize) -> Bone {
    debug_assert!(class < COUNT);
    Bone::from_index(class).unwrap_or(Bone::CAPITATE)
}

/// The label that bone `b` carries in the file: after proposed changes of labels it is known by that.
pub fn label_in_file(verdict: &Verdict, b: usize) -> Bone {
    let label = verdict.labels.iter().enumerate().find(|(from, to)| **to == b && verdict.hand.drawn[*from]);
    bone(label.map_or(b, |l| l.0))
}
