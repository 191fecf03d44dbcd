//! Scanning small data folders written by hand: measures, problems, and what a second scan reuses.

use std::fs;
use std::path::Path;

use carpus::bones::Bone;
use carpus::dataset::Dataset;
use carpus::dataset::metadata::Sex;
use carpus::dataset::{MaskSource, ProblemSeverity, Side, Subset};
use carpus::progress::Silent;
use carpus::scan::{Scan, ScanSettings, scan};
use carpus::tables::Tables;
use serde_json::json;

const SIZE: u32 = 400;

/// Rectangle of a bone: finger-16 to the upper right of Ulna, so that the hand leans right by 45 degrees.
fn rectangle(bone: Bone) -> [[i32; 2]; 4] {
    let (x, y) = match bone {
        Bone::FINGER_16 => (300, 100),
        Bone::ULNA => (200, 200),
        b => (10 + 12 * b.index() as i32, 320),
    };
    [[x, y], [x + 8, y], [x + 8, y + 20], [x, y + 20]]
}

fn write_patient(root: &Path, id: &str, stem: &str, leave_out: Option<Bone>) {
    let (images, labels) = (root.join("train/DCM").join(id), root.join("train/outputs_json").join(id));
    fs::create_dir_all(&images).unwrap();
    fs::create_dir_all(&labels).unwrap();
    let mut picture = image::GrayImage::from_pixel(SIZE, SIZE, image::Luma([30]));
    for x in 0..25 {
        picture.put_pixel(x, 390, image::Luma([255]));
    }
    picture.save(images.join(format!("{stem}.png"))).unwrap();
    let annotations: Vec<_> = Bone::all()
        .filter(|b| Some(*b) != leave_out)
        .map(|b| json!({"id": b.name(), "type": "poly_seg", "attributes": {}, "points": rectangle(b), "label": b.name()}))
        .collect();
    let document = json!({"annotations": annotations, "filename": format!("{stem}.jpg"), "metadata": {"width": 3060}});
    fs::write(labels.join(format!("{stem}.json")), document.to_string()).unwrap();
}

fn data() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write_patient(root.path(), "ID001", "image1661130828152", None);
    write_patient(root.path(), "ID001", "image1661130899999", Some(Bone::ULNA));
    fs::write(
        root.path().join("meta_data.csv"),
        "ID,나이,성별,체중(몸무게),키(신장)\n1,30, 남,70,175\n2,41,여,55,160\n",
    )
    .unwrap();
    root
}

fn run(root: &Path, out: &Path, jobs: usize) -> (Tables, usize) {
    let settings = ScanSettings { jobs, csv: true, ..Default::default() };
    let Scan { tables, summary } = scan(&Dataset::open(root).unwrap(), out, &settings, &Silent).unwrap();
    (tables, summary.reused)
}

#[test]
fn measures_are_those_of_the_drawn_hand() {
    let (root, out) = (data(), tempfile::tempdir().unwrap());
    let (tables, _) = run(root.path(), out.path(), 1);
    assert_eq!(tables.images.len(), 2);
    let [whole, partial] = &tables.images[..] else { panic!("two images") };
    assert_eq!(whole.n_bones, 29);
    assert!((whole.angle_deg.unwrap() - 45.0).abs() < 1e-9);
    assert_eq!(whole.rotated, Some(true));
    assert_eq!(whole.bright_px, Some(25));
    assert_eq!(whole.mask_px, Some(29 * 9 * 21));
    assert_eq!(whole.side, Some(Side::R));
    assert_eq!(partial.side, Some(Side::L));
    assert_eq!((partial.n_bones, partial.angle_deg, partial.rotated), (28, None, None));
    let ulna = tables.bones.iter().find(|b| b.label == "Ulna").unwrap();
    assert_eq!((ulna.area_px, ulna.n_vertices, ulna.n_shapes, ulna.n_parts), (9 * 21, 4, 1, 1));
    assert_eq!((ulna.centroid_x, ulna.centroid_y), (Some(204.0), Some(210.0)));
    assert_eq!((ulna.x_min, ulna.y_max), (Some(200), Some(220)));
    assert_eq!(tables.bones.len(), 29 + 28);
    assert_eq!(tables.patients.iter().map(|p| p.n_images).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(tables.patients[0].sex, Some(Sex::M));
    assert!(tables.problems.iter().any(|p| p.raw.contains('남')), "the trimmed space is a row of problems");
    assert_eq!(Tables::read(out.path()).unwrap(), tables);
}

#[test]
fn the_threshold_of_rotation_stays_with_the_tables() {
    let (root, out) = (data(), tempfile::tempdir().unwrap());
    let rotated_from = |rotated_deg: f64| {
        let settings = ScanSettings { rotated_deg, ..ScanSettings::default() };
        scan(&Dataset::open(root.path()).unwrap(), out.path(), &settings, &Silent).unwrap();
        let tables = Tables::read(out.path()).unwrap();
        (tables.rotated_deg, tables.images[0].rotated)
    };
    // The hand leans by 45 degrees.
    assert_eq!(rotated_from(46.0), (Some(46.0), Some(false)));
    assert_eq!(rotated_from(44.5), (Some(44.5), Some(true)));
}

#[test]
fn threads_do_not_change_a_byte() {
    let root = data();
    let bytes = |jobs| {
        let out = tempfile::tempdir().unwrap();
        run(root.path(), out.path(), jobs);
        ["patients", "images", "bones", "problems"].map(|t| fs::read(out.path().join(format!("{t}.parquet"))).unwrap())
    };
    assert_eq!(bytes(1), bytes(4));
}

#[test]
fn a_second_scan_reads_only_what_changed() {
    let (root, out) = (data(), tempfile::tempdir().unwrap());
    let (first, reused) = run(root.path(), out.path(), 2);
    assert_eq!(reused, 0);
    let (second, reused) = run(root.path(), out.path(), 2);
    assert_eq!(reused, 2);
    assert_eq!(first, second);
    write_patient(root.path(), "ID001", "image1661130899999", Some(Bone::CAPITATE));
    let (third, reused) = run(root.path(), out.path(), 2);
    assert_eq!(reused, 1);
    assert!(third.images[1].angle_deg.is_some());
    // Another threshold is another measure.
    let settings = ScanSettings { bright: 20, ..Default::default() };
    let Scan { summary, .. } = scan(&Dataset::open(root.path()).unwrap(), out.path(), &settings, &Silent).unwrap();
    assert_eq!(summary.reused, 0);
}

#[test]
fn a_broken_image_is_a_problem_and_the_rest_goes_on() {
    let (root, out) = (data(), tempfile::tempdir().unwrap());
    let path = root.path().join("train/DCM/ID001/image1661130828152.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(root.path().join("train/outputs_json/ID001/image1661130899999.json"), "{\"annotations\": [").unwrap();
    let (tables, _) = run(root.path(), out.path(), 1);
    assert_eq!(tables.images.len(), 2);
    let errors: Vec<_> = tables.problems.iter().filter(|p| p.severity == ProblemSeverity::Error).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|p| p.image_id.is_some() && p.patient_id.as_deref() == Some("001")));
    assert_eq!(tables.images[1].mask_source, MaskSource::None);
    // A second scan repeats the problems without reading the files again.
    let (again, reused) = run(root.path(), out.path(), 1);
    assert_eq!(reused, 2);
    assert_eq!(again.problems, tables.problems);
}

#[test]
fn predictions_stand_in_for_missing_annotations() {
    let (root, out) = (data(), tempfile::tempdir().unwrap());
    let test = root.path().join("test/DCM/ID009");
    fs::create_dir_all(&test).unwrap();
    image::GrayImage::new(SIZE, SIZE).save(test.join("image1661130900001.png")).unwrap();
    let mut csv = String::from("image_name,class,rle\n");
    for bone in Bone::all() {
        let [[x, y], ..] = rectangle(bone);
        let runs: Vec<String> = (y..=y + 20).map(|row| format!("{} 9", row * SIZE as i32 + x + 1)).collect();
        csv += &format!("image1661130900001.png,{bone},{}\n", runs.join(" "));
    }
    let path = root.path().join("predictions.csv.txt");
    fs::write(&path, csv).unwrap();
    let settings = ScanSettings { predictions: Some(path), ..Default::default() };
    let Scan { tables, .. } = scan(&Dataset::open(root.path()).unwrap(), out.path(), &settings, &Silent).unwrap();
    let image = tables.images.iter().find(|i| i.subset == Subset::Test).unwrap();
    assert_eq!(image.mask_source, MaskSource::Prediction);
    assert!((image.angle_deg.unwrap() - 45.0).abs() < 1e-9);
    assert_eq!(image.mask_px, Some(29 * 9 * 21));
    assert_eq!(tables.images[0].mask_source, MaskSource::Annotation);
}
