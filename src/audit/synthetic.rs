//! Tables of random hands for tests, sampled from the reference anatomy: both poses, both hands, correlated movement of
//! neighbours, and methods that plant faults.

use super::{AuditSettings, Check, Finding, audit};
use crate::bones::{self, Bone, COUNT};
use crate::dataset::metadata::Sex;
use crate::dataset::{MaskSource, Side, Subset};
use crate::tables::{BoneRow, ImageRow, PatientRow, Tables};

/// Reproducible random numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    fn normal(&mut self) -> f64 {
        let u = self.unit().max(1e-300);
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A data set's tables: patient `p` has images `2 p` (right hand) and `2 p + 1` (left hand).
pub struct Population {
    pub tables: Tables,
}

struct Mean {
    x: f64,
    y: f64,
    sd: (f64, f64),
    orientation: f64,
    orientation_sd: f64,
    area: f64,
    area_sd: f64,
    axes: (f64, f64),
}

fn means(pose: &str) -> Vec<Mean> {
    let mut reader = csv::Reader::from_reader(include_str!("../../assets/anatomy.csv").as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).filter(|r| &r[0] == pose).collect();
    Bone::all()
        .map(|b| {
            let row = rows.iter().find(|r| &r[2] == b.name()).unwrap();
            let n = |i: usize| row[i].parse::<f64>().unwrap();
            Mean {
                x: n(3),
                y: n(4),
                sd: (n(5), n(6)),
                orientation: n(7),
                orientation_sd: n(8),
                area: n(9),
                area_sd: n(10),
                axes: (n(11), n(12)),
            }
        })
        .collect()
}

impl Population {
    pub fn new(patients: usize, seed: u64) -> Population {
        let mut random = Random::new(seed);
        let poses = [means("straight"), means("rotated")];
        let mut tables = Tables::default();
        for p in 0..patients {
            let height = 168.0 + 8.0 * random.normal();
            let size = 1.0 + 0.006 * (height - 168.0) + 0.02 * random.normal();
            tables.patients.push(PatientRow {
                patient_id: format!("{:03}", p + 1),
                sex: Some(if random.unit() < 0.5 { Sex::F } else { Sex::M }),
                age: Some(40.0),
                height_cm: Some(height),
                weight_kg: Some(65.0 + 0.7 * (height - 168.0) + 5.0 * random.normal()),
                n_images: 2,
                sheet_row: Some(p as u32 + 2),
                ..PatientRow::default()
            });
            let pose = usize::from(random.unit() < 0.3);
            for side in [Side::R, Side::L] {
                add_hand(&mut tables, &mut random, &poses[pose], p, side, size);
            }
        }
        Population { tables }
    }

    pub fn audit(&self) -> Vec<Finding> {
        audit(&self.tables, None, &AuditSettings::default()).unwrap()
    }

    pub fn keep_images(&mut self, n: usize) {
        self.tables.images.truncate(n);
        let kept: Vec<&str> = self.tables.images.iter().map(|i| i.image_id.as_str()).collect();
        self.tables.bones.retain(|b| kept.contains(&b.image_id.as_str()));
        self.tables.patients.truncate(n.div_ceil(2));
    }

    pub fn bone(&mut self, image: usize, label: &str) -> &mut BoneRow {
        let id = &self.tables.images[image].image_id;
        self.tables.bones.iter_mut().find(|b| b.image_id == *id && b.label == label).unwrap()
    }

    pub fn remove(&mut self, image: usize, label: &str) {
        let id = self.tables.images[image].image_id.clone();
        self.tables.bones.retain(|b| b.image_id != id || b.label != label);
        self.tables.images[image].n_bones -= 1;
    }

    pub fn shift(&mut self, image: usize, label: &str, dx: f64, dy: f64) {
        let bone = self.bone(image, label);
        bone.centroid_x = bone.centroid_x.map(|x| x + dx);
        bone.centroid_y = bone.centroid_y.map(|y| y + dy);
    }

    /// Moves each label to the bone of the next label, cyclically.
    pub fn permute(&mut self, image: usize, labels: &[&str]) {
        let olds: Vec<BoneRow> = labels.iter().map(|l| self.bone(image, l).clone()).collect();
        let id = self.tables.images[image].image_id.clone();
        for (i, old) in olds.into_iter().enumerate() {
            let name = labels[(i + 1) % labels.len()];
            let class = Bone::from_name(name).unwrap().index() as u32;
            let row = BoneRow { label: name.to_owned(), class, ..old };
            *self.tables.bones.iter_mut().find(|b| b.image_id == id && b.label == name).unwrap() = row;
        }
    }

    pub fn mirror(&mut self, image: usize) {
        for label in bones::NAMES {
            let bone = self.bone(image, label);
            bone.centroid_x = bone.centroid_x.map(|x| 2047.0 - x);
            bone.orientation_deg = bone.orientation_deg.map(|o| -o);
        }
    }

    pub fn scale(&mut self, image: usize, factor: f64) {
        for label in bones::NAMES {
            let bone = self.bone(image, label);
            for v in [&mut bone.centroid_x, &mut bone.centroid_y, &mut bone.sd_major_px, &mut bone.sd_minor_px] {
                *v = v.map(|v| v * factor);
            }
            bone.area_px = (bone.area_px as f64 * factor * factor) as u64;
        }
    }

    pub fn copy_bones(&mut self, from: usize, to: usize) {
        for label in bones::NAMES {
            let copy = self.bone(from, label).clone();
            let image_id = self.tables.images[to].image_id.clone();
            *self.bone(to, label) = BoneRow { image_id, ..copy };
        }
    }
}

fn add_hand(tables: &mut Tables, random: &mut Random, pose: &[Mean], patient: usize, side: Side, size: f64) {
    let image_id = format!("image{:04}{}", 2 * patient + usize::from(side == Side::L), side);
    let turn = 0.05 * random.normal();
    let (sin, cos) = turn.sin_cos();
    // Each finger moves as a whole; single bones add a small independent part.
    let sway: Vec<(f64, f64)> = (0..7).map(|_| (random.normal(), random.normal())).collect();
    let mut mask_px = 0;
    for bone in Bone::all() {
        let mean = &pose[bone.index()];
        let group = match bone.group() {
            bones::BoneGroup::Finger(f) => f as usize,
            bones::BoneGroup::Carpal => 5,
            bones::BoneGroup::Forearm => 6,
        };
        let own = |sd: f64, sway: f64, noise: f64| 0.95 * sd * sway + (0.1 * sd + 2.0) * noise;
        let x = size * (mean.x + own(mean.sd.0, sway[group].0, random.normal()));
        let y = size * (mean.y + own(mean.sd.1, sway[group].1, random.normal()));
        let area = size * size * (mean.area + 0.7 * mean.area_sd * random.normal()).max(0.3 * mean.area);
        let stretch = 1.0 + 0.03 * random.normal();
        let orientation = mean.orientation + 0.6 * mean.orientation_sd * random.normal() + turn.to_degrees();
        let (u, v) = (1024.0 + cos * x - sin * y, 1350.0 + sin * x + cos * y);
        let sign = if side == Side::L { -1.0 } else { 1.0 };
        mask_px += area as u64;
        tables.bones.push(BoneRow {
            image_id: image_id.clone(),
            label: bone.name().to_owned(),
            class: bone.index() as u32,
            area_px: area as u64,
            centroid_x: Some(if side == Side::L { 2047.0 - u } else { u }),
            centroid_y: Some(v),
            x_min: Some((if side == Side::L { 2047.0 - u } else { u } - 40.0).max(0.0) as u32),
            x_max: Some((if side == Side::L { 2047.0 - u } else { u } + 40.0).max(0.0) as u32),
            y_min: Some((v - 40.0).max(0.0) as u32),
            y_max: Some((v + 40.0).max(0.0) as u32),
            orientation_deg: Some(sign * orientation),
            sd_major_px: Some(mean.axes.0 * size * stretch),
            sd_minor_px: Some(mean.axes.1 * size / stretch),
            n_parts: 1,
            n_shapes: 1,
            n_vertices: 40,
            ..BoneRow::default()
        });
    }
    let hash = random.next();
    tables.images.push(ImageRow {
        sha256: Some(format!("{hash:064x}")),
        image_hash: Some(format!("{hash:016x}")),
        image_id,
        patient_id: format!("{:03}", patient + 1),
        subset: Subset::Train,
        side: Some(side),
        side_by_anatomy: Some(side),
        mask_source: MaskSource::Annotation,
        width: 2048,
        height: 2048,
        bright_px: Some(0),
        mask_px: Some(mask_px),
        n_bones: COUNT as u32,
        ..ImageRow::default()
    });
}

/// Image and bones (joined by `|`) of the findings of a check, sorted.
pub fn found(population: &Population, check: &Check) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = population
        .audit()
        .into_iter()
        .filter(|f| f.check == check)
        .map(|f| {
            let mut bones = f.bones.clone();
            bones.sort();
            (f.image.unwrap(), bones.iter().map(|b| b.name()).collect::<Vec<_>>().join("|"))
        })
        .collect();
    found.sort();
    found
}
