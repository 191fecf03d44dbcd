//! Measures the audit on a data set with planted faults: the labels and outlines of some images are changed in memory,
//! the data is scanned and audited, and the findings are compared with what was planted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::truth::is_hit;
use super::{AuditSettings, FindingRow, Severity, audit};
use crate::bones::{Bone, BoneGroup};
use crate::closed_enum::closed_enum;
use crate::dataset::annotation::{Annotation, Shape, UNKNOWN_LABEL, label_place};
use crate::dataset::phantom::Defect;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::progress::Progress;
use crate::scan::{Scan, ScanError, ScanSettings, scan};

closed_enum! {
    /// A kind of fault that the benchmark plants.
    pub enum BenchFault ("kind of fault") {
        /// Two neighbouring bones have each other's label.
        Swap = "swap",
        /// Three neighbouring bones have their labels rotated.
        Rotate = "rotate",
        /// Twelve bones have their labels scrambled.
        Scramble = "scramble",
        /// A whole finger is labelled as its neighbour, and the other way round.
        ShiftFinger = "shift-finger",
        /// The fingers from index to little, and radius and ulna, are labelled as in the other hand.
        Mirror = "mirror",
        /// A bone is not annotated.
        Missing = "missing",
        /// A bone is drawn twice.
        Duplicate = "duplicate",
        /// A label is not the name of a bone.
        Unknown = "unknown",
        /// An outline lies next to its bone.
        Move = "move",
    }
}

impl BenchFault {
    /// Its kind among the faults that checks detect.
    fn kind(self) -> &'static str {
        match self {
            BenchFault::Swap => "swapped_neighbours",
            BenchFault::Rotate => "rotated_labels",
            BenchFault::Scramble => "scrambled_labels",
            BenchFault::ShiftFinger => "shifted_finger",
            BenchFault::Mirror => "mirrored_labels",
            BenchFault::Missing => "missing_label",
            BenchFault::Duplicate => "duplicate_label",
            BenchFault::Unknown => "unknown_label",
            BenchFault::Move => "shifted_label",
        }
    }

    /// Whether it only exchanges labels, so that there is a repair.
    pub fn is_permutation(self) -> bool {
        use BenchFault::{Mirror, Rotate, Scramble, ShiftFinger, Swap};
        matches!(self, Swap | Rotate | Scramble | ShiftFinger | Mirror)
    }
}

/// Shares of the images that get a fault, by kind: `swap=0.01,shift-finger=0.005`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRates(Vec<FaultRate>);

/// Share of the images that get a fault of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRate {
    /// Kind of fault.
    pub fault: BenchFault,
    /// From 0 to 1.
    pub rate: f64,
}

impl FromStr for FaultRates {
    type Err = String;

    fn from_str(text: &str) -> Result<FaultRates, String> {
        let mut rates: Vec<FaultRate> = Vec::new();
        for part in text.split(',') {
            let (name, rate) = part.split_once('=').ok_or_else(|| format!("{part:?}: expected KIND=RATE"))?;
            let fault: BenchFault = name.trim().parse().map_err(|e: crate::closed_enum::UnknownName| e.to_string())?;
            let share = rate.trim().parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate));
            let rate = share.ok_or_else(|| format!("{part:?}: expected a rate from 0 to 1"))?;
            if rates.iter().any(|known| known.fault == fault) {
                return Err(format!("{fault} is given twice"));
            }
            rates.push(FaultRate { fault, rate });
        }
        let sum: f64 = rates.iter().map(|r| r.rate).sum();
        if sum > 1.0 {
            return Err(format!("the rates add up to {sum}; each image gets at most one fault"));
        }
        Ok(FaultRates(rates))
    }
}

/// How the faults of a kind were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindResult {
    /// Kind of fault.
    pub fault: BenchFault,
    /// Number of planted faults.
    pub planted: usize,
    /// Number of these that a suitable check reports with the right bones.
    pub found: usize,
    /// `found` divided by `planted`.
    pub recall: f64,
    /// Of the findings of the checks that look for this kind, the share about images with a fault; `None` without findings.
    pub precision: Option<f64>,
    /// Average precision of the ranking, among the images with this fault and those without any.
    pub average_precision: f64,
    /// Number of faults whose first finding proposes the right labels; `None` if the fault is not an exchange of labels.
    pub repaired: Option<usize>,
}

/// A planted fault and where the audit ranks it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedFault {
    /// Kind of fault.
    pub fault: BenchFault,
    /// Image with the fault.
    pub image_id: String,
    /// Labels that are wrong as written.
    pub labels: Vec<String>,
    /// Position of the first finding that reports it, from 1; `None` if none does.
    pub rank: Option<usize>,
    /// Position of the image in the ranking of images, from 1; `None` without a finding.
    pub image_rank: Option<usize>,
    /// Whether the proposed labels are the right ones.
    pub is_repaired: bool,
}

/// Result of a benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchResult {
    /// Annotated images.
    pub images: usize,
    /// Findings of the audit.
    pub findings: usize,
    /// Per kind of fault, in the order of the rates.
    pub kinds: Vec<KindResult>,
    /// Average precision of the ranking of all images.
    pub average_precision: f64,
    /// Share of images without a fault that have a finding of severity high.
    pub clean_share_high: f64,
    /// The faults in the order of the ranking; those that were not found come last.
    pub faults: Vec<RankedFault>,
}

/// Why a benchmark cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The data cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Polars cannot process a table.
    #[error(transparent)]
    Tables(#[from] polars::prelude::PolarsError),
    /// There are too few images for the rates.
    #[error("{planted} faults do not fit {images} images with a complete annotation; use lower rates or more images")]
    TooFew {
        /// Faults to plant.
        planted: usize,
        /// Images that can get one.
        images: usize,
    },
    /// A folder for the tables cannot be made.
    #[error("a temporary folder: {0}")]
    Io(#[from] std::io::Error),
}

/// A fault of an image: how its labels and shapes change.
#[derive(Clone, Debug, PartialEq)]
struct Planted {
    fault: BenchFault,
    /// True and written label of each shape that is relabelled.
    labels: BTreeMap<String, String>,
    /// The bone that the other kinds change.
    bone: Bone,
    /// Direction in which an outline moves, in radians.
    angle: f64,
}

/// Plants faults in the annotations of `dataset`, scans and audits it, and compares the findings with the faults.
/// Nothing is written except temporary tables; the same seed plants the same faults.
///
/// # Errors
/// The data cannot be scanned, or there are fewer images with a complete annotation than faults.
pub fn bench(
    dataset: Dataset,
    rates: &FaultRates,
    seed: u64,
    settings: &ScanSettings,
    progress: &dyn Progress,
) -> Result<BenchResult, BenchError> {
    let plan = plan(&dataset, rates, seed)?;
    let truth: Vec<(BenchFault, Defect)> =
        plan.iter().map(|(id, planted)| (planted.fault, planted.defect(id))).collect();
    let by_image: HashMap<String, Planted> = plan.into_iter().collect();
    let planted = by_image.clone();
    let altered = dataset.with_alteration(Box::new(move |entry, annotation| {
        by_image.get(&entry.image_id).map_or(Vec::new(), |planted| planted.apply(entry, annotation))
    }));
    let folder = tempfile::tempdir()?;
    let Scan { tables, .. } = scan(&altered, folder.path(), settings, progress)?;
    let findings = audit(&tables, None, &AuditSettings::default())?;
    let rows: Vec<FindingRow> = findings.iter().map(|finding| finding.row(&tables)).collect();
    let annotated = tables.images.iter().filter(|i| i.mask_source == crate::dataset::MaskSource::Annotation);
    let images: Vec<&str> = annotated.map(|image| &*image.image_id).collect();
    Ok(judge(&images, &rows, &truth, &planted, rates))
}

/// The images that get a fault, with the fault.
fn plan(dataset: &Dataset, rates: &FaultRates, seed: u64) -> Result<Vec<(String, Planted)>, BenchError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Only hands with one shape per bone: an exchange of labels that are not there would be no fault.
    let is_complete = |entry: &&ImageEntry| {
        let read = dataset.annotation(entry).ok().flatten();
        !dataset.excludes(entry)
            && read.is_some_and(|read| {
                let shapes = &read.annotation.shapes;
                Bone::all().all(|bone| shapes.iter().filter(|shape| shape.bone == Some(bone)).count() == 1)
            })
    };
    let mut images: Vec<&ImageEntry> = dataset.images().iter().filter(is_complete).collect();
    let count = |rate: f64| if rate > 0.0 { ((rate * images.len() as f64).round() as usize).max(1) } else { 0 };
    let counts: Vec<(BenchFault, usize)> = rates.0.iter().map(|r| (r.fault, count(r.rate))).collect();
    let planted: usize = counts.iter().map(|(_, count)| count).sum();
    if planted > images.len() {
        return Err(BenchError::TooFew { planted, images: images.len() });
    }
    images.shuffle(&mut rng);
    let faults = counts.into_iter().flat_map(|(fault, count)| std::iter::repeat_n(fault, count));
    Ok(images
        .iter()
        .zip(faults)
        .map(|(entry, fault)| (entry.image_id.clone(), Planted::draw(fault, &mut rng)))
        .collect())
}

impl Planted {
    fn draw(fault: BenchFault, rng: &mut ChaCha8Rng) -> Planted {
        let all: Vec<Bone> = Bone::all().filter(|bone| bone.group() != BoneGroup::Forearm).collect();
        let bone = *all.choose(rng).expect("there are bones");
        let near = |bone: Bone, group: BoneGroup| -> Vec<Bone> {
            bone.neighbours().iter().copied().filter(|other| other.group() == group).collect()
        };
        let order: Vec<Bone> = match fault {
            BenchFault::Swap => vec![bone, *near(bone, bone.group()).choose(rng).unwrap_or(&bone)],
            BenchFault::Rotate => {
                let second = *near(bone, bone.group()).choose(rng).unwrap_or(&bone);
                let third: Vec<Bone> = [near(bone, bone.group()), near(second, bone.group())].concat();
                let third: Vec<Bone> = third.into_iter().filter(|b| ![bone, second].contains(b)).collect();
                let mut order = vec![bone, second];
                order.extend(third.choose(rng));
                if rng.random_bool(0.5) {
                    order.reverse();
                }
                order
            }
            BenchFault::Scramble => {
                let mut all = all;
                all.shuffle(rng);
                all.truncate(12);
                all
            }
            _ => Vec::new(),
        };
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let mut exchange = |a: Bone, b: Bone| {
            labels.insert(a.name().to_owned(), b.name().to_owned());
            labels.insert(b.name().to_owned(), a.name().to_owned());
        };
        match fault {
            BenchFault::ShiftFinger => {
                let first = rng.random_range(1..4);
                finger(first).into_iter().zip(finger(first + 1)).for_each(|(a, b)| exchange(a, b));
            }
            BenchFault::Mirror => {
                for (a, b) in [(1, 4), (2, 3)] {
                    finger(a).into_iter().zip(finger(b)).for_each(|(a, b)| exchange(a, b));
                }
                exchange(Bone::RADIUS, Bone::ULNA);
            }
            // Each bone gets the label of the next one.
            _ => labels.extend(
                (0..order.len()).map(|i| (order[i].name().to_owned(), order[(i + 1) % order.len()].name().to_owned())),
            ),
        }
        labels.retain(|from, to| from != to);
        Planted { fault, labels, bone, angle: rng.random_range(0.0..std::f64::consts::TAU) }
    }

    fn unknown_label(&self) -> String {
        format!("{}x", self.bone.name())
    }

    fn defect(&self, image_id: &str) -> Defect {
        let labels = match self.fault {
            BenchFault::Unknown => vec![self.unknown_label()],
            fault if fault.is_permutation() => self.labels.keys().cloned().collect(),
            _ => vec![self.bone.name().to_owned()],
        };
        Defect {
            kind: self.fault.kind().to_owned(),
            image_id: Some(image_id.to_owned()),
            image_ids: vec![image_id.to_owned()],
            labels,
            ..Defect::default()
        }
    }

    /// Changes the shapes, and returns the problems that a reader of such a file would report.
    fn apply(&self, entry: &ImageEntry, annotation: &mut Annotation) -> Vec<Problem> {
        let shapes = &mut annotation.shapes;
        let own = shapes.iter().position(|shape| shape.bone == Some(self.bone));
        match (self.fault, own) {
            (BenchFault::Missing, Some(at)) => drop(shapes.remove(at)),
            (BenchFault::Duplicate, Some(at)) => {
                let index = shapes.iter().map(|shape| shape.index + 1).max().unwrap_or(0);
                let again = Shape { index, ..shapes[at].clone() };
                shapes.push(again);
            }
            (BenchFault::Move, Some(at)) => move_outline(&mut shapes[at].points, self.angle),
            (BenchFault::Unknown, Some(at)) => {
                let shape = &mut shapes[at];
                (shape.label, shape.bone) = (self.unknown_label(), None);
                let file = entry.annotation.clone().unwrap_or_default();
                let problem =
                    Problem::new(ProblemSeverity::Warning, file, UNKNOWN_LABEL, "kept as a shape without class");
                return vec![problem.at(label_place(shape.index)).raw(&shape.label).of_image(&*entry.image_id)];
            }
            _ => {
                for shape in shapes {
                    if let Some(bone) = shape.bone.and_then(|bone| self.labels.get(bone.name())) {
                        shape.label.clone_from(bone);
                        shape.bone = Bone::from_name(bone);
                    }
                }
            }
        }
        Vec::new()
    }
}

/// The bones of a finger (0 for the thumb), in the order of the classes.
fn finger(number: u8) -> Vec<Bone> {
    Bone::all().filter(|bone| matches!(bone.group(), BoneGroup::Finger(n) if n == number)).collect()
}

/// Moves an outline by its own extent.
fn move_outline(points: &mut [[i32; 2]], angle: f64) {
    let range = |axis: usize| {
        let values = points.iter().map(|point| point[axis]);
        f64::from(values.clone().max().unwrap_or(0)) - f64::from(values.min().unwrap_or(0))
    };
    let reach = range(0).hypot(range(1)) * 0.8;
    let by = [(reach * angle.cos()).round() as i32, (reach * angle.sin()).round() as i32];
    points.iter_mut().for_each(|point| *point = [point[0] + by[0], point[1] + by[1]]);
}

fn judge(
    images: &[&str],
    rows: &[FindingRow],
    truth: &[(BenchFault, Defect)],
    planted: &HashMap<String, Planted>,
    rates: &FaultRates,
) -> BenchResult {
    let faulty: HashSet<&str> = truth.iter().flat_map(|(_, defect)| &defect.image_ids).map(String::as_str).collect();
    // Images in the order of their first finding.
    let mut ranking: Vec<&str> = Vec::new();
    let known: HashSet<&str> = images.iter().copied().collect();
    let mut seen: HashSet<&str> = HashSet::new();
    for row in rows {
        if known.contains(&*row.image_id) && seen.insert(&row.image_id) {
            ranking.push(&row.image_id);
        }
    }
    let mut faults: Vec<RankedFault> = truth
        .iter()
        .map(|(fault, defect)| {
            let image_id = defect.image_ids[0].clone();
            let rank = rows.iter().position(|row| is_hit(row, defect));
            let is_repaired = rank.is_some_and(|rank| planted[&image_id].is_repaired_by(&rows[rank]));
            let image_rank = ranking.iter().position(|id| *id == image_id).map(|rank| rank + 1);
            let rank = rank.map(|rank| rank + 1);
            RankedFault { fault: *fault, labels: defect.labels.clone(), image_id, rank, image_rank, is_repaired }
        })
        .collect();
    faults.sort_by_key(|fault| (fault.rank.unwrap_or(usize::MAX), fault.image_id.clone()));
    let kinds = rates.0.iter().filter(|rate| faults.iter().any(|fault| fault.fault == rate.fault));
    let kinds = kinds.map(|rate| kind_result(rate.fault, rows, &faults, &faulty, &ranking)).collect();
    let flagged: BTreeSet<&str> =
        rows.iter().filter(|row| row.severity == Severity::High).map(|row| &*row.image_id).collect();
    let clean: Vec<&&str> = images.iter().filter(|id| !faulty.contains(**id)).collect();
    let clean_high = clean.iter().filter(|id| flagged.contains(***id)).count();
    BenchResult {
        images: images.len(),
        findings: rows.len(),
        kinds,
        average_precision: average_precision(ranking.iter().map(|id| faulty.contains(id)), faulty.len()),
        clean_share_high: clean_high as f64 / clean.len().max(1) as f64,
        faults,
    }
}

fn kind_result(
    fault: BenchFault,
    rows: &[FindingRow],
    faults: &[RankedFault],
    faulty: &HashSet<&str>,
    ranking: &[&str],
) -> KindResult {
    let own: Vec<&RankedFault> = faults.iter().filter(|f| f.fault == fault).collect();
    let found = own.iter().filter(|f| f.rank.is_some()).count();
    let is_own = |id: &str| own.iter().any(|f| f.image_id == id);
    let among = ranking.iter().filter(|id| is_own(id) || !faulty.contains(**id));
    let of_checks: Vec<&FindingRow> = rows.iter().filter(|row| row.check.detection(fault.kind()).is_some()).collect();
    let right = of_checks.iter().filter(|row| faulty.contains(&*row.image_id)).count();
    KindResult {
        fault,
        planted: own.len(),
        found,
        recall: found as f64 / own.len().max(1) as f64,
        precision: (!of_checks.is_empty()).then(|| right as f64 / of_checks.len() as f64),
        average_precision: average_precision(among.map(|id| is_own(id)), own.len()),
        repaired: fault.is_permutation().then(|| own.iter().filter(|f| f.is_repaired).count()),
    }
}

impl Planted {
    /// Whether the finding proposes the true label for each written one, and nothing else.
    fn is_repaired_by(&self, finding: &FindingRow) -> bool {
        let proposed = finding.proposed_labels().unwrap_or_default();
        proposed.len() == self.labels.len()
            && self.labels.iter().all(|(truth, written)| proposed.get(written).is_some_and(|b| b.name() == *truth))
    }
}

/// Mean, over the relevant items, of the precision at their position; items that are not ranked count as 0.
fn average_precision(ranked: impl Iterator<Item = bool>, relevant: usize) -> f64 {
    let (mut sum, mut found) = (0.0, 0);
    for (position, is_relevant) in ranked.enumerate() {
        if is_relevant {
            found += 1;
            sum += found as f64 / (position + 1) as f64;
        }
    }
    if relevant == 0 { 0.0 } else { sum / relevant as f64 }
}

/// Writes the result as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write(result: &BenchResult, path: &Path) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(result)?;
    crate::artefact::write_atomically(path, |out| std::io::Write::write_all(out, &text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::phantom::{PhantomSettings, generate};
    use crate::progress::Silent;

    #[test]
    fn rates_are_parsed_and_checked() {
        let rates: FaultRates = "swap=0.01, shift-finger=0.005".parse().unwrap();
        assert_eq!(rates.0[1], FaultRate { fault: BenchFault::ShiftFinger, rate: 0.005 });
        for (text, expected) in [
            ("swap", "KIND=RATE"),
            ("swop=0.1", "did you mean swap?"),
            ("swap=2", "from 0 to 1"),
            ("swap=nan", "from 0 to 1"),
            ("swap=0.1,swap=0.2", "given twice"),
            ("swap=0.7,move=0.7", "add up to"),
        ] {
            assert!(text.parse::<FaultRates>().unwrap_err().contains(expected), "{text}");
        }
    }

    #[test]
    fn average_precision_is_that_of_the_textbook() {
        let of = |ranked: &[bool], relevant| average_precision(ranked.iter().copied(), relevant);
        assert_eq!(of(&[true, true], 2), 1.0);
        assert_eq!(of(&[false, true], 1), 0.5);
        assert_eq!(of(&[true, false, true], 3), (1.0 + 2.0 / 3.0) / 3.0);
        assert_eq!(of(&[], 0), 0.0);
    }

    #[test]
    fn every_kind_changes_the_annotation_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let shape = |bone: Bone| Shape {
            index: bone.index(),
            label: bone.name().to_owned(),
            bone: Some(bone),
            points: vec![[0, 0], [9, 0], [9, 9]],
        };
        let whole = Annotation::new(Bone::all().map(shape).collect());
        let entry = ImageEntry {
            image_id: "a".into(),
            patient_id: "1".into(),
            subset: Default::default(),
            image: "a.png".into(),
            annotation: Some("a.json".into()),
            timestamp: None,
            side: None,
            side_in_name: None,
        };
        for fault in BenchFault::ALL.iter().copied().cycle().take(200) {
            let planted = Planted::draw(fault, &mut rng);
            let mut annotation = whole.clone();
            let problems = planted.apply(&entry, &mut annotation);
            assert_ne!(annotation, whole, "{fault}");
            assert_eq!(problems.len(), usize::from(fault == BenchFault::Unknown));
            if fault.is_permutation() {
                let labels: BTreeSet<&str> = annotation.shapes.iter().map(|s| &*s.label).collect();
                assert_eq!(labels.len(), crate::bones::COUNT, "{fault}: still one shape per bone");
                let relabel: BTreeMap<&str, &str> = planted.labels.iter().map(|(a, b)| (&**b, &**a)).collect();
                let relabel = serde_json::to_string(&relabel).unwrap();
                assert!(planted.is_repaired_by(&FindingRow { relabel, ..FindingRow::default() }));
                assert!(!planted.is_repaired_by(&FindingRow::default()));
            }
        }
    }

    #[test]
    fn swaps_on_a_phantom_are_found_and_the_seed_repeats_them() {
        let folder = tempfile::tempdir().unwrap();
        let settings = PhantomSettings {
            patients: 16,
            test_patients: 0,
            size: 160,
            seed: 7,
            defects: false,
            jobs: 2,
            force: false,
        };
        generate(&settings, &folder.path().join("data"), &Silent).unwrap();
        let run = || {
            let dataset = Dataset::open(&folder.path().join("data")).unwrap();
            let rates = "swap=0.1,missing=0.06".parse().unwrap();
            bench(dataset, &rates, 3, &ScanSettings { jobs: 2, ..ScanSettings::default() }, &Silent).unwrap()
        };
        let result = run();
        assert_eq!(result.images, 32);
        let [swap, missing] = &result.kinds[..] else { panic!("two kinds") };
        assert_eq!((swap.planted, missing.planted, missing.found), (3, 2, 2));
        assert!(result.average_precision > 0.5, "{result:#?}");
        assert!(result.faults.iter().all(|fault| fault.rank.is_none_or(|rank| rank >= 1)));
        assert_eq!(run(), result);
    }
}
