//! The synthetic data set: its statistics are the real one's, its files read back, its faults are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use carpus::bones::{Bone, COUNT, NAMES};
use carpus::dataset::annotation;
use carpus::dataset::metadata::{self, Sex};
use carpus::dataset::phantom::{self, LabelFault, PhantomSettings, Truth, geometry, people, plan};
use carpus::dataset::{Dataset, Side, Subset, WithProblems};
use carpus::mask::RunMask;
use carpus::progress::Silent;

fn settings(patients: usize, test_patients: usize, size: u32, defects: bool) -> PhantomSettings {
    PhantomSettings { patients, test_patients, size, seed: 7, defects, jobs: 2, force: false }
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let product =
        |a: &[f64], ma: f64, b: &[f64], mb: f64| a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>();
    product(x, mx, y, my) / (product(x, mx, x, mx) * product(y, my, y, my)).sqrt()
}

fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// Mean class areas on real hands, px at 2048², channel order.
const REAL_AREAS: [f64; COUNT] = [
    8274.0, 16932.0, 27624.0, 5325.0, 10290.0, 22352.0, 36736.0, 6161.0, 13026.0, 25003.0, 33223.0, 6029.0, 11556.0,
    21065.0, 24958.0, 4237.0, 6723.0, 14789.0, 25168.0, 10238.0, 6315.0, 16472.0, 11615.0, 11875.0, 8664.0, 7622.0,
    4863.0, 82318.0, 44751.0,
];

#[test]
fn statistics_are_the_real_data_sets() {
    let settings = settings(400, 144, 2048, false);
    let people = people(settings.patients, settings.test_patients, settings.seed);
    let plan = plan(&settings);
    let mut areas = vec![0.0; COUNT];
    let (mut overlap, mut iou) = (0.0, [0.0; 2]);
    let mut leans: BTreeMap<(Subset, bool), Vec<f64>> = BTreeMap::new();
    let mut rotated = BTreeMap::new();
    let (mut size, mut height, mut weight, mut age) = (vec![], vec![], vec![], vec![]);
    let mut by_sex: BTreeMap<Sex, Vec<f64>> = BTreeMap::new();
    let mut vertices = BTreeSet::new();
    for image in &plan.images {
        let hand = geometry(&image.hand, 2048);
        let masks = hand.masks();
        let centre = |bone: Bone| masks[bone.index()].moments().centroid().unwrap();
        let lean = centre(Bone::ULNA).lean_to(centre(Bone::FINGER_16));
        let outwards = if image.hand.side == Side::R { lean } else { -lean };
        leans.entry((image.subset, image.hand.rotated)).or_default().push(outwards);
        let count: &mut (usize, usize) = rotated.entry(image.subset).or_default();
        count.0 += usize::from(lean.abs() >= 33.0);
        count.1 += 1;
        for shape in &hand.shapes {
            assert!(shape.points.iter().flatten().all(|v| (0..2048).contains(v)), "{}", shape.label);
            let forearm = shape.bone == Some(Bone::RADIUS) || shape.bone == Some(Bone::ULNA);
            if forearm {
                assert!(shape.points.len() > 850, "{} {}", shape.label, shape.points.len());
                assert!(shape.points.iter().any(|p| p[1] == 2047));
            } else if !image.hand.dense {
                vertices.insert(shape.points.len());
            }
        }
        assert_eq!(centre(Bone::FINGER_1).x < centre(Bone::FINGER_16).x, image.hand.side == Side::R);
        if image.subset == Subset::Test {
            continue;
        }
        let mut total = 0.0;
        for (sum, mask) in areas.iter_mut().zip(&masks) {
            *sum += mask.area() as f64;
            total += mask.area() as f64;
        }
        overlap += RunMask::vote(&masks.iter().collect::<Vec<_>>(), 2).unwrap().area() as f64;
        iou[0] += masks[25].iou(&masks[26]).unwrap();
        iou[1] += masks[19].iou(&masks[20]).unwrap();
        let person = people.iter().find(|p| p.id == image.patient_id).unwrap();
        size.push(total);
        height.push(f64::from(person.height));
        weight.push(f64::from(person.weight));
        age.push(f64::from(person.age));
        by_sex.entry(person.sex).or_default().push(total);
    }
    let n = size.len() as f64;
    for (bone, (sum, real)) in NAMES.iter().zip(areas.iter().zip(REAL_AREAS)) {
        let ratio = sum / n / real;
        println!("area {bone}: {:.0} ({ratio:.3} of the real mean)", sum / n);
        assert!((0.85..1.15).contains(&ratio), "{bone}: {ratio}");
    }
    for ((subset, is_rotated), leans) in &leans {
        let (mean, sd) = mean_sd(leans);
        println!("lean {} rotated {is_rotated}: {mean:.1} ± {sd:.1} of {}", subset.name(), leans.len());
        let (expected, spread) = if *is_rotated { (46.2, 4.4) } else { (15.7, 2.5) };
        assert!((mean - expected).abs() < 1.0 && (sd - spread).abs() < 0.8, "{mean} ± {sd}");
        assert!(leans.iter().all(|l| (*l >= 33.0) == *is_rotated));
    }
    assert_eq!(rotated[&Subset::Train], (94, 800));
    assert_eq!(rotated[&Subset::Test], (166, 288));
    let share = overlap / n / (2048.0 * 2048.0);
    println!("pixels with two labels: {:.3} %", 100.0 * share);
    assert!((0.003..0.005).contains(&share), "{share}");
    println!("IoU Triquetrum/Pisiform {:.3}, Trapezium/Trapezoid {:.3}", iou[0] / n, iou[1] / n);
    assert!((0.38..0.52).contains(&(iou[0] / n)));
    let r = [&height, &weight, &age].map(|v| correlation(&size, v));
    println!("mask size with height, weight, age: {r:.3?}");
    assert!((0.75..0.85).contains(&r[0]) && (0.60..0.70).contains(&r[1]) && r[2].abs() < 0.2, "{r:?}");
    let sexes: Vec<(f64, f64)> = by_sex.values().map(|v| mean_sd(v)).collect();
    println!("mask size of women and men: {sexes:.0?}");
    assert!(sexes[1].0 > sexes[0].0 + sexes[0].1);
    println!("vertices of sparse polygons: {:?} to {:?}", vertices.first(), vertices.last());
    assert!(vertices.first() >= Some(&15) && vertices.last() <= Some(&63));
}

fn files_under(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn same_seed_gives_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let made: Vec<_> = [1, 3]
        .into_iter()
        .map(|jobs| {
            let out = folder.path().join(format!("jobs{jobs}"));
            phantom::generate(&PhantomSettings { jobs, ..settings(6, 2, 128, true) }, &out, &Silent).unwrap();
            files_under(&out)
        })
        .collect();
    assert!(made[0].len() > 16 + 12);
    assert!(made[0].keys().eq(made[1].keys()));
    for (name, bytes) in &made[0] {
        assert!(bytes == &made[1][name], "{name} differs");
    }
    let out = folder.path().join("seed8");
    phantom::generate(&PhantomSettings { seed: 8, ..settings(6, 2, 128, true) }, &out, &Silent).unwrap();
    assert_ne!(files_under(&out)["truth.json"], made[0]["truth.json"]);
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn clean_data_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let summary = phantom::generate(&settings(10, 3, 256, false), &root, &Silent).unwrap();
    assert_eq!((summary.train_images, summary.test_images, summary.skipped), (20, 6, false));
    let dataset = Dataset::open(&root).unwrap();
    assert_eq!(dataset.images().len(), 26);
    assert!(dataset.problems().is_empty(), "{:?}", dataset.problems());
    let truth: Truth = serde_json::from_slice(&fs::read(root.join("truth.json")).unwrap()).unwrap();
    for entry in dataset.images() {
        let known = &truth.images[&format!("ID{}/{}.png", entry.patient_id, entry.image_id)];
        assert_eq!(known.split, entry.subset.name());
        assert_eq!(Some(known.side.as_str()), entry.side.map(Side::name), "{}", entry.image_id);
        assert_eq!(entry.annotation.is_some(), entry.subset == Subset::Train);
        let hidden = format!("truth/outputs_json/ID{}/{}.json", entry.patient_id, entry.image_id);
        let file = entry.annotation.clone().unwrap_or(hidden);
        let WithProblems { content: annotation, problems } = annotation::read(&root.join(&file), &file).unwrap();
        assert!(problems.iter().all(|p| p.severity != carpus::dataset::ProblemSeverity::Error), "{problems:?}");
        assert_eq!(annotation.shapes.len(), COUNT);
        let order: Vec<_> = annotation.shapes.iter().map(|s| s.bone).collect();
        assert_ne!(order, Bone::all().map(Some).collect::<Vec<_>>());
        let document = json(&root.join(&file));
        assert_eq!(document["metadata"]["width"], 3060);
        assert!(document["filename"].as_str().unwrap().ends_with(".jpg"));
        for (bone, mask) in annotation.masks(256, 256).iter() {
            assert_eq!(mask.area(), known.area[bone.name()], "{file} {bone}");
        }
    }
    let patients = metadata::read(&root.join("meta_data.xlsx"), "meta_data.xlsx").unwrap().content;
    assert_eq!(patients.len(), 15);
    assert_eq!(patients[0].patient_id, "001");
    assert!(patients.iter().all(|p| p.sex.is_some() && p.age.is_some() && p.height_cm.is_some()));
    assert_eq!(patients.iter().filter(|p| p.note.contains("네일있음")).count(), 1);
    assert!(patients.iter().any(|p| p.sex_raw.contains("_x0008_") || p.sex_raw.contains('\u{8}')));
}

#[test]
fn planted_faults_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let summary = phantom::generate(&settings(40, 5, 256, true), &root, &Silent).unwrap();
    for fault in LabelFault::ALL {
        assert!(summary.defects.contains_key(fault.kind()), "{}", fault.kind());
    }
    assert_eq!(summary.defects.len(), LabelFault::ALL.len() + 5 + 1 + 6, "{:?}", summary.defects);
    let truth: Truth = serde_json::from_slice(&fs::read(root.join("truth.json")).unwrap()).unwrap();
    let patients = metadata::read(&root.join("meta_data.xlsx"), "meta_data.xlsx").unwrap().content;
    let row = |id: &str| patients.iter().find(|p| p.patient_id == id);
    for defect in &truth.defects {
        let id = defect.image_id.clone().unwrap();
        let name = format!("ID{}/{id}", defect.patient_id);
        let image = &truth.images[&format!("{name}.png")];
        assert!(image.defects.contains(&defect.kind), "{name}");
        let read = |folder: &str| {
            let file = format!("{folder}/{name}.json");
            annotation::read(&root.join(&file), &file).map(|read| read.content)
        };
        let labels = || -> BTreeMap<String, usize> {
            let mut count = BTreeMap::new();
            let document = json(&root.join(format!("train/outputs_json/{name}.json")));
            for annotation in document["annotations"].as_array().unwrap() {
                *count.entry(annotation["label"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            count
        };
        let written = image.area_as_written.as_ref();
        match defect.kind.as_str() {
            "swapped_pisiform_trapezoid" | "swapped_neighbours" => {
                let (a, b) = (&defect.labels[0], &defect.labels[1]);
                assert_eq!(written.unwrap()[a], image.area[b], "{name}");
                assert_eq!(written.unwrap()[b], image.area[a], "{name}");
            }
            "thumb_order" | "scrambled_labels" => {
                let sorted = |a: &BTreeMap<String, u64>| {
                    let mut of: Vec<u64> = defect.labels.iter().map(|l| a[l]).collect();
                    of.sort_unstable();
                    of
                };
                assert_eq!(sorted(written.unwrap()), sorted(&image.area));
                assert_ne!(written.unwrap(), &image.area);
            }
            "missing_label" => assert!(!labels().contains_key(&defect.labels[0])),
            "duplicate_label" => assert_eq!(labels()[&defect.labels[0]], 2),
            "unknown_label" => assert!(labels().keys().any(|l| Bone::from_name(l).is_none())),
            "several_parts" | "tiny_part" => assert_eq!(labels()[&defect.labels[0]], 2),
            "shifted_label" | "pisiform_over_ulna" => {
                let bone = Bone::from_name(&defect.labels[0]).unwrap();
                let wrong = read("train/outputs_json").unwrap().masks(256, 256);
                let right = read("truth/corrected_json").unwrap().masks(256, 256);
                assert!(wrong[bone].dice(&right[bone]).unwrap() < 0.6, "{name}");
                if defect.kind == "pisiform_over_ulna" {
                    assert!(wrong[bone].overlap(&wrong[Bone::ULNA]).unwrap() * 2 > wrong[bone].area());
                }
            }
            "self_intersection" => {
                let label = &defect.labels[0];
                assert_ne!(written.unwrap()[label], image.area[label], "{name}");
            }
            "outside_image" => {
                let json = json(&root.join(format!("train/outputs_json/{name}.json")));
                let outside = |a: &&serde_json::Value| {
                    a["points"].as_array().unwrap().iter().any(|p| p[1].as_i64().unwrap() > 255)
                };
                let found: Vec<_> = json["annotations"].as_array().unwrap().iter().filter(outside).collect();
                assert_eq!(found.len(), 1);
                assert_eq!(found[0]["label"], defect.labels[0].as_str());
            }
            "ring" | "nail_art" | "implant" | "strip_top" | "strip_left" => {
                assert!(image.pixels_ge_240 > 8, "{name} {}: {}", defect.kind, image.pixels_ge_240);
            }
            "side_order" => {
                assert_eq!(image.side, "R");
                let other = &truth.images[&format!("ID{}/{}.png", defect.patient_id, defect.image_ids[1])];
                assert_eq!(other.side, "L");
                assert!(defect.image_ids[1] < defect.image_ids[0]);
            }
            "near_duplicate" => {
                let open = |id: &str| {
                    let found = truth.images.keys().find(|k| k.ends_with(&format!("/{id}.png"))).unwrap();
                    carpus::dataset::image::read(&root.join("train/DCM").join(found)).unwrap().pixels.into_eight_bit()
                };
                let (a, b) = (open(&defect.image_ids[0]), open(&defect.image_ids[1]));
                let far: f64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
                let mean = far / a.as_raw().len() as f64;
                assert!(mean > 0.0 && mean < 8.0, "{mean}");
            }
            "metadata_row_missing" => assert!(row(&defect.patient_id).is_none()),
            "metadata_absent" => {
                let row = row(&defect.patient_id).unwrap();
                let absent = [row.age.is_none(), row.height_cm.is_none(), row.weight_kg.is_none(), row.sex.is_none()];
                assert_eq!(absent.into_iter().filter(|a| *a).count(), 1);
            }
            "metadata_out_of_range" | "metadata_swapped_height_weight" | "metadata_size_mismatch" => {
                assert!(row(&defect.patient_id).is_some());
            }
            other => panic!("{other} is not checked"),
        }
    }
}

#[test]
fn folders_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    let small = settings(1, 0, 64, false);
    for force in [false, true] {
        let refused = phantom::generate(&PhantomSettings { force, ..small.clone() }, &foreign, &Silent);
        assert!(refused.unwrap_err().to_string().contains("not empty"));
    }
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    assert!(!phantom::generate(&small, &own, &Silent).unwrap().skipped);
    assert!(phantom::generate(&small, &own, &Silent).unwrap().skipped);
    let other = PhantomSettings { seed: 8, ..small.clone() };
    assert!(phantom::generate(&other, &own, &Silent).unwrap_err().to_string().contains("--force"));
    assert!(!phantom::generate(&PhantomSettings { force: true, ..other }, &own, &Silent).unwrap().skipped);
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["foreign", "own"]);
    let none = PhantomSettings { patients: 0, test_patients: 0, ..small.clone() };
    assert!(phantom::generate(&none, &folder.path().join("none"), &Silent).is_err());
    assert!(!folder.path().join("none").exists());
}
