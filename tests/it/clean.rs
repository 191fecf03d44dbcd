//! Crops of a small drawn data set: pixels, annotations, transforms, reruns, faults, and the way back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use carpus::bones::Bone;
use carpus::clean::{
    Background, BackgroundSource, BoxSource, CleanError, CleanInputs, CleanReport, CleanSettings, CropBox, FoldTable,
    StripRule, clean, read_transforms,
};
use carpus::dataset::corrections::{
    Action, CorrectableField, Corrections, Decision, Relabel, ShapeRef, Target, append,
};
use carpus::dataset::folder::TRANSFORMS;
use carpus::dataset::{Dataset, annotation};
use carpus::mask::HandMasks;
use carpus::mask::submission::{self, ImageMasks};
use carpus::progress::Silent;
use carpus::tables::{FoldRow, ImageRow, PatientRow, read_csv, write_csv, write_parquet};
use image::{GrayImage, Luma};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTH: u32 = 300;
const HEIGHT: u32 = 260;

/// A data set of three patients: 001 and 002 annotated, 003 not.
struct Data {
    folder: tempfile::TempDir,
    images: Vec<ImageRow>,
    patients: Vec<PatientRow>,
}

impl Data {
    fn root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("crops")
    }

    fn draw(seed: u64) -> Data {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut images = Vec::new();
        for (patient, image_id, subset) in [
            ("001", "image1000000000001_R", "train"),
            ("001", "image1000000000002_L", "train"),
            ("002", "image1000000000003", "train"),
            ("003", "image1000000000004", "test"),
        ] {
            let (cx, cy) = (rng.random_range(120..180), rng.random_range(120..150));
            let path = format!("{subset}/DCM/ID{patient}/{image_id}.png");
            save_image(&root.join(&path), cx, cy);
            let annotation_path = (subset == "train").then(|| {
                let path = format!("{subset}/outputs_json/ID{patient}/{image_id}.json");
                save_annotation(&root.join(&path), cx, cy, &mut rng);
                path
            });
            images.push(ImageRow {
                image_id: image_id.into(),
                patient_id: patient.into(),
                subset: subset.parse().unwrap(),
                sha256: Some(sha256(&root.join(&path))),
                path,
                annotation_path,
                width: WIDTH,
                height: HEIGHT,
                strip_top_px: Some(6),
                strip_left_px: Some(4),
                ..ImageRow::default()
            });
        }
        std::fs::write(root.join("meta_data.csv"), "ID,age,sex\n001,30,F\n002,300,M\n003,41,F\n").unwrap();
        let patient =
            |(id, age): (&str, f64)| PatientRow { patient_id: id.into(), age: Some(age), ..PatientRow::default() };
        let patients = [("001", 30.0), ("002", 300.0), ("003", 41.0)].into_iter().map(patient).collect();
        Data { folder, images, patients }
    }

    fn inputs<'a>(&'a self, dataset: &'a Dataset, folds: Option<&'a [FoldRow]>) -> CleanInputs<'a> {
        let folds = folds.map(|rows| FoldTable { path: Path::new("folds.csv"), rows });
        CleanInputs { dataset, images: &self.images, subset: None, patients: &self.patients, folds }
    }

    fn dataset(&self, corrections: &Corrections) -> Dataset {
        Dataset::open(&self.root()).unwrap().with_corrections(corrections.clone())
    }

    fn clean(&self, corrections: &Corrections, settings: &CleanSettings) -> CleanReport {
        clean(self.inputs(&self.dataset(corrections), None), &self.out(), settings, Some(2), &Silent).unwrap()
    }

    fn folds(&self) -> Vec<FoldRow> {
        let row = |i: &ImageRow| FoldRow {
            image_id: i.image_id.clone(),
            patient_id: i.patient_id.clone(),
            stratum: "all".into(),
            fold: u32::from(i.patient_id == "002"),
        };
        self.images.iter().filter(|i| i.subset == carpus::dataset::Subset::Train).map(row).collect()
    }
}

/// Bright strips at the top and left, dark ground, a disc of flesh of radius 90 with grain.
fn save_image(path: &Path, cx: i32, cy: i32) {
    let image = GrayImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (dx, dy) = (x as i32 - cx, y as i32 - cy);
        let grain = (x * 7 + y * 13) % 9;
        let level = if y < 6 || x < 4 {
            240
        } else if dx * dx + dy * dy < 90 * 90 {
            110 + grain
        } else {
            8 + grain
        };
        Luma([level as u8])
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// Every bone a random polygon (convex or not) around the disc's middle.
fn save_annotation(path: &Path, cx: i32, cy: i32, rng: &mut ChaCha8Rng) {
    let shape = |bone: Bone, rng: &mut ChaCha8Rng| {
        let (x, y) = (cx + rng.random_range(-50..50), cy + rng.random_range(-50..50));
        let points: Vec<[i32; 2]> = (0..rng.random_range(3..12))
            .map(|_| [x + rng.random_range(-20..20), y + rng.random_range(-20..20)])
            .collect();
        serde_json::json!({"id": bone.name(), "type": "poly_seg", "attributes": {}, "points": points, "label": bone.name()})
    };
    let shapes: Vec<_> = Bone::all().map(|bone| shape(bone, rng)).collect();
    let document = serde_json::json!({
        "annotations": shapes, "attributes": {}, "filename": "a.jpg", "metadata": {"height": 3060, "width": 3060},
        "last_workers": {"라벨링": "kim"},
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, document.to_string()).unwrap();
}

fn sha256(path: &Path) -> String {
    carpus::digest::sha256(&std::fs::read(path).unwrap())
}

/// Every file under a folder with its hash.
fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), sha256(&path));
            }
        }
    }
    found
}

fn settings() -> CleanSettings {
    CleanSettings { strips: StripRule::Detect, background: Background::Keep, margin: 10, square: false }
}

fn correction(target: Target, action: Action, annotation_sha256: Option<&str>) -> Decision {
    Decision {
        line: 0,
        target,
        action,
        annotation_sha256: annotation_sha256.map(str::to_owned),
        reason: "seen".into(),
        author: "kim".into(),
        time: "2026-03-01".into(),
    }
}

fn corrections(decisions: &[Decision]) -> Corrections {
    Corrections::default().with(decisions)
}

fn image_target(image_id: &str) -> Target {
    Target::Image(image_id.into())
}

#[test]
fn crops_show_the_hand_and_their_shapes_are_the_originals() {
    for (seed, square) in [(1, false), (2, true), (3, false)] {
        let data = Data::draw(seed);
        let before = files(&data.root());
        let cleaned = data.clean(&Corrections::default(), &CleanSettings { square, ..settings() });
        assert_eq!(cleaned.problems, []);
        assert_eq!(cleaned.written, 4);
        assert_eq!(files(&data.root()), before, "the data are as they were");
        assert_eq!(read_transforms(&data.out()).unwrap(), cleaned.transforms);

        for (row, transform) in data.images.iter().zip(&cleaned.transforms) {
            let CropBox { x, y, width, height } = transform.area;
            let original = image::open(data.root().join(&row.path)).unwrap().to_luma8();
            let crop = image::open(data.out().join(&transform.image)).unwrap().to_luma8();
            assert_eq!(crop.dimensions(), (width, height));
            assert!(!square || width == height);
            for (cx, cy, pixel) in crop.enumerate_pixels() {
                let (ox, oy) = ((i64::from(cx) + x) as u32, (i64::from(cy) + y) as u32);
                let expected = if oy < 6 || ox < 4 { 0 } else { original.get_pixel(ox, oy).0[0] };
                assert_eq!(pixel.0[0], expected, "{} at {cx}, {cy}", row.image_id);
            }
            let Some(path) = &row.annotation_path else {
                assert_eq!(transform.box_source, BoxSource::Image);
                continue;
            };
            assert_eq!(transform.box_source, BoxSource::Masks);
            let of_image = annotation::read(&data.root().join(path), path).unwrap().content;
            let of_crop = annotation::read(&data.out().join(path), path).unwrap().content;
            let (whole, cut) = (of_image.masks(WIDTH, HEIGHT), of_crop.masks(width, height));
            for bone in Bone::all() {
                let expected = transform.mask_to_crop(&whole[bone]).unwrap();
                assert_eq!(cut[bone], expected, "{} {bone}", row.image_id);
                // The box holds every mask, so nothing is lost on the way back.
                assert_eq!(transform.mask_from_crop(&cut[bone]).unwrap(), whole[bone]);
            }
            let document: serde_json::Value =
                serde_json::from_slice(&std::fs::read(data.out().join(path)).unwrap()).unwrap();
            assert_eq!(document["metadata"]["width"], width);
            assert_eq!(document["last_workers"]["라벨링"], "kim");
        }

        let found = Dataset::open(&data.out()).unwrap();
        assert!(found.is_copy());
        let ids: Vec<&str> = found.images().iter().map(|i| i.image_id.as_str()).collect();
        let expected: Vec<&str> = data.images.iter().map(|i| i.image_id.as_str()).collect();
        assert_eq!(ids, expected, "the crops have the layout of the data");
        assert_eq!(found.images().iter().filter(|i| i.annotation.is_some()).count(), 3);
        assert_eq!(found.metadata(), Some("meta_data.csv"));
    }
}

#[test]
fn corrections_and_exclusions_are_applied() {
    let data = Data::draw(5);
    let [first, second] = [0, 1].map(|i| data.images[i].image_id.clone());
    let annotation_sha256 = sha256(&data.root().join(data.images[0].annotation_path.as_ref().unwrap()));
    let hash = Some(annotation_sha256.as_str());
    let shape = |index, label: &str| ShapeRef { index, label: label.into() };
    let swap = [("Pisiform", "Trapezoid"), ("Trapezoid", "Pisiform")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let path = data.images[0].annotation_path.as_ref().unwrap();
    let drawn = annotation::read(&data.root().join(path), path).unwrap().content.shapes;
    let shapes = drawn.iter().filter(|s| ["Pisiform", "Trapezoid"].contains(&s.label.as_str()));
    let shapes = shapes.map(|s| shape(s.index, &s.label)).collect();
    let decisions = [
        correction(image_target(&first), Action::Relabel(Relabel::Labels { labels: swap.into(), shapes }), hash),
        correction(image_target(&first), Action::Drop { shape: shape(0, "finger-1") }, hash),
        correction(
            image_target(&first),
            Action::Relabel(Relabel::Shape { shape: shape(1, "Ulna"), to: "Radius".into() }),
            hash,
        ),
        correction(image_target(&second), Action::Exclude {}, None),
        correction(
            Target::Patient("002".into()),
            Action::SetMetadata { field: CorrectableField::Age, value: 30.into() },
            None,
        ),
    ];
    let all = corrections(&decisions);
    let (root, folds, dataset) = (data.root(), data.folds(), data.dataset(&all));
    let cleaned = clean(data.inputs(&dataset, Some(&folds)), &data.out(), &settings(), Some(1), &Silent).unwrap();
    assert_eq!((cleaned.written, cleaned.excluded, cleaned.folds), (3, 1, Some(2)));
    // The relabelling does not fit: shape 1 is no Ulna.
    assert_eq!(cleaned.problems.iter().map(|p| p.place.as_str()).collect::<Vec<_>>(), ["line 3"]);
    let ids: Vec<String> = decisions[..3].iter().map(Decision::id).collect();
    assert_eq!(cleaned.transforms[0].corrections, ids);

    let path = data.images[0].annotation_path.as_ref().unwrap();
    let transform = &cleaned.transforms[0];
    let of_image = annotation::read(&root.join(path), path).unwrap().content;
    let of_crop = annotation::read(&data.out().join(path), path).unwrap().content;
    let (whole, cut) = (of_image.masks(WIDTH, HEIGHT), of_crop.masks(transform.area.width, transform.area.height));
    let at = |name: &str| Bone::from_name(name).unwrap();
    assert_eq!(cut[at("Pisiform")], transform.mask_to_crop(&whole[at("Trapezoid")]).unwrap());
    assert_eq!(cut[at("Trapezoid")], transform.mask_to_crop(&whole[at("Pisiform")]).unwrap());
    assert!(cut[at("finger-1")].is_empty());
    assert_eq!(of_crop.shapes.len(), 28);

    let folds: Vec<FoldRow> = read_csv(&data.out().join("folds.csv")).unwrap();
    assert!(folds.iter().all(|r| r.image_id != second));
    let metadata = std::fs::read_to_string(data.out().join("meta_data.csv")).unwrap();
    assert!(metadata.contains("002,30,"), "{metadata}");

    // Taken back: the crop appears, the others stay; the metadata are the original's again.
    let cleaned = data.clean(&corrections(&decisions[..3]), &settings());
    assert_eq!((cleaned.written, cleaned.unchanged, cleaned.excluded), (1, 3, 0));
    assert_eq!(sha256(&data.out().join("meta_data.csv")), sha256(&root.join("meta_data.csv")));
    // Excluded again: its crop goes.
    let cleaned = data.clean(&all, &settings());
    assert_eq!((cleaned.written, cleaned.unchanged, cleaned.removed), (0, 3, 1));
    assert!(!data.out().join(&data.images[1].path).exists());
    assert!(!data.out().join(data.images[1].annotation_path.as_ref().unwrap()).exists());
}

#[test]
fn only_what_changed_is_made_again_and_the_bytes_do_not_depend_on_threads() {
    let data = Data::draw(6);
    data.clean(&Corrections::default(), &settings());
    let first = files(&data.out());
    let again = data.clean(&Corrections::default(), &settings());
    assert_eq!((again.written, again.unchanged), (0, 4));
    assert_eq!(files(&data.out()), first);

    std::fs::remove_dir_all(data.out()).unwrap();
    let dataset = data.dataset(&Corrections::default());
    clean(data.inputs(&dataset, None), &data.out(), &settings(), Some(1), &Silent).unwrap();
    assert_eq!(files(&data.out()), first);

    // One annotation changes, one crop is lost.
    let path = data.root().join(data.images[0].annotation_path.as_ref().unwrap());
    let text = std::fs::read_to_string(&path).unwrap().replace("kim", "lee");
    std::fs::write(&path, text).unwrap();
    std::fs::remove_file(data.out().join(&data.images[3].path)).unwrap();
    let again = data.clean(&Corrections::default(), &settings());
    assert_eq!((again.written, again.unchanged), (2, 2));
    assert_eq!(data.clean(&Corrections::default(), &CleanSettings { margin: 11, ..settings() }).written, 4);
}

#[test]
fn crops_go_only_with_their_images() {
    let data = Data::draw(12);
    data.clean(&Corrections::default(), &settings());
    let whole = files(&data.out());
    // The images cannot be reached for a while, as with a folder that is not mounted.
    let (images, away) = (data.root().join("train/DCM"), data.folder.path().join("away"));
    std::fs::rename(&images, &away).unwrap();
    let cleaned = data.clean(&Corrections::default(), &CleanSettings { margin: 11, ..settings() });
    let failed = cleaned.problems.iter().filter(|p| p.action.contains("the crop of an earlier run is kept")).count();
    assert_eq!((cleaned.removed, failed, cleaned.transforms.len()), (0, 3, 4));
    let train = |all: &BTreeMap<PathBuf, String>| -> Vec<(PathBuf, String)> {
        all.iter().filter(|(path, _)| path.starts_with("train")).map(|(p, h)| (p.clone(), h.clone())).collect()
    };
    assert_eq!(train(&files(&data.out())), train(&whole));
    std::fs::rename(&away, &images).unwrap();
    // A part of the data is cleaned: the rest stays.
    let dataset = data.dataset(&Corrections::default());
    let inputs = CleanInputs { subset: Some(carpus::dataset::Subset::Test), ..data.inputs(&dataset, None) };
    let cleaned = clean(inputs, &data.out(), &settings(), None, &Silent).unwrap();
    assert_eq!((cleaned.written, cleaned.removed, cleaned.transforms.len()), (1, 0, 4));
    assert_eq!(data.clean(&Corrections::default(), &settings()).removed, 0);
    assert_eq!(files(&data.out()), whole);
    // Transforms that cannot be read cost work and nothing else.
    std::fs::write(data.out().join(TRANSFORMS), "{\"version\":1}\n").unwrap();
    let again = data.clean(&Corrections::default(), &settings());
    assert_eq!((again.written, again.removed, again.problems.len()), (4, 0, 1));
    assert_eq!(files(&data.out()).len(), whole.len());
}

#[test]
fn a_run_that_was_cut_off_goes_on() {
    let data = Data::draw(7);
    let cleaned = data.clean(&Corrections::default(), &settings());
    let whole = files(&data.out());
    // As a killed run leaves it: two images noted, the third in the middle of its line, no list of transforms.
    let lines: Vec<String> = cleaned.transforms.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
    let journal = format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..40]);
    std::fs::write(data.out().join(".transforms.partial.jsonl"), journal).unwrap();
    std::fs::remove_file(data.out().join(TRANSFORMS)).unwrap();
    let again = data.clean(&Corrections::default(), &settings());
    assert_eq!((again.written, again.unchanged), (2, 2));
    assert_eq!(files(&data.out()), whole);
}

#[test]
fn the_background_is_blackened_by_brightness_or_by_the_masks() {
    let mut data = Data::draw(8);
    let black = CleanSettings { background: Background::Black, margin: 100, ..settings() };
    let cleaned = data.clean(&Corrections::default(), &black);
    assert!(cleaned.transforms.iter().all(|t| t.background == BackgroundSource::Image));
    for transform in &cleaned.transforms {
        let crop = image::open(data.out().join(&transform.image)).unwrap().to_luma8();
        let original = image::open(data.root().join(&transform.original_image)).unwrap().to_luma8();
        let (mut flesh_lost, mut ground_left) = (0, 0);
        for (x, y, pixel) in crop.enumerate_pixels() {
            let (ox, oy) = ((i64::from(x) + transform.area.x) as u32, (i64::from(y) + transform.area.y) as u32);
            let level = original.get_pixel(ox, oy).0[0];
            let strip = oy < 6 || ox < 4;
            flesh_lost += u32::from(level >= 110 && !strip && pixel.0[0] == 0);
            ground_left += u32::from(level < 110 && pixel.0[0] > 0);
        }
        // Of 25,000 px of flesh none may go; a rim of about 20 px of ground stays.
        assert_eq!(flesh_lost, 0, "{}", transform.image_id);
        assert!(ground_left < 20_000, "{ground_left} px of ground left in {}", transform.image_id);
    }

    // A flat image: brightness finds nothing, the masks do.
    let flat = data.root().join(&data.images[2].path);
    GrayImage::from_pixel(WIDTH, HEIGHT, Luma([50])).save(&flat).unwrap();
    data.images[2].sha256 = Some(sha256(&flat));
    let bare = data.root().join(&data.images[3].path);
    std::fs::copy(&flat, &bare).unwrap();
    data.images[3].sha256 = Some(sha256(&bare));
    let cleaned = data.clean(&Corrections::default(), &black);
    assert_eq!(cleaned.transforms[2].background, BackgroundSource::Masks);
    assert_eq!(
        (cleaned.transforms[3].background, cleaned.transforms[3].box_source),
        (BackgroundSource::Kept, BoxSource::Whole)
    );
    assert_eq!(cleaned.problems.len(), 2, "{:?}", cleaned.problems);
}

#[test]
fn the_data_folder_is_never_written_to() {
    let data = Data::draw(9);
    let (root, dataset) = (data.root(), data.dataset(&Corrections::default()));
    for out in [root.clone(), root.join("crops")] {
        let outcome = clean(data.inputs(&dataset, None), &out, &settings(), None, &Silent);
        assert!(matches!(outcome, Err(CleanError::Output(_))));
    }
    let leak: Vec<FoldRow> =
        data.folds().into_iter().enumerate().map(|(i, row)| FoldRow { fold: i as u32, ..row }).collect();
    let outcome = clean(data.inputs(&dataset, Some(&leak)), &data.out(), &settings(), None, &Silent);
    assert!(outcome.unwrap_err().to_string().contains("001 in folds 0, 1"));
}

#[test]
fn exclusions_of_the_scan_are_kept_without_the_corrections_file() {
    let data = Data::draw(13);
    let at = |name: &str| data.folder.path().join(name).to_str().unwrap().to_owned();
    let (root, crops, tables, corrections) = (at("data"), at("crops"), at("tables"), at("corrections.jsonl"));
    let excluded = &data.images[1];
    append(Path::new(&corrections), &[correction(image_target(&excluded.image_id), Action::Exclude {}, None)]).unwrap();
    carpus(&["scan", &root, "--corrections", &corrections, "--out", &tables]);

    let cleaning = ["clean", &root, "--tables", &tables, "--out", &crops];
    let (code, text) = carpus(&cleaning);
    assert_eq!(code, Some(3), "{text}");
    let warning = "1 image is excluded by the corrections of the scan, but not by those of this command; left out; \
                   give the same --corrections";
    assert!(text.contains(warning) && text.contains("3 crops") && text.contains("1 image excluded"), "{text}");
    assert!(!Path::new(&crops).join(&excluded.path).exists());

    let (code, text) = carpus(&[&cleaning[..], &["--corrections", &corrections]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 crops") && text.contains("1 image excluded"), "{text}");
}

#[test]
fn folds_may_name_image_files_and_unknown_images_are_reported() {
    let data = Data::draw(14);
    let dataset = data.dataset(&Corrections::default());
    let named = |name: &dyn Fn(&FoldRow) -> String| -> Vec<FoldRow> {
        data.folds().into_iter().map(|row| FoldRow { image_id: name(&row), ..row }).collect()
    };
    let run = |folds: &[FoldRow]| clean(data.inputs(&dataset, Some(folds)), &data.out(), &settings(), None, &Silent);

    let mut files = named(&|row| format!("{}.png", row.image_id));
    assert_eq!(run(&files).unwrap().folds, Some(3));
    let written: Vec<FoldRow> = read_csv(&data.out().join("folds.csv")).unwrap();
    assert_eq!(written, data.folds());

    files.push(FoldRow { image_id: "typo.png".into(), patient_id: "009".into(), ..files[0].clone() });
    let cleaned = run(&files).unwrap();
    assert_eq!((cleaned.folds, cleaned.problems.len()), (Some(3), 1));
    assert!(cleaned.problems[0].reason.contains("image \"typo.png\" is not in the images table"));

    let error = run(&named(&|row| format!("other-{}", row.image_id))).unwrap_err().to_string();
    assert!(error.contains("folds.csv: no row names an image of the images table"), "{error}");
    let error = run(&[]).unwrap_err().to_string();
    assert!(error.contains("folds.csv has no rows"), "{error}");
}

fn carpus(arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_commands_work_together() {
    let mut data = Data::draw(10);
    let at = |name: &str| data.folder.path().join(name).to_str().unwrap().to_owned();
    let (root, crops, tables) = (at("data"), at("crops"), at("tables"));
    let (corrections, folds, predictions) = (at("corrections.jsonl"), at("folds.csv"), at("predictions.csv"));
    let restored = at("restored.csv");
    for (i, row) in data.images.iter_mut().enumerate() {
        row.rotated = Some(i % 2 == 0);
    }
    write_parquet(&Path::new(&tables).join("images.parquet"), &data.images).unwrap();
    write_parquet(&Path::new(&tables).join("patients.parquet"), &data.patients).unwrap();
    append(Path::new(&corrections), &[correction(image_target(&data.images[1].image_id), Action::Exclude {}, None)])
        .unwrap();

    let split = ["split", &tables, "--by", "rotated", "--folds", "2", "--corrections", &corrections, "--out", &folds];
    let weighted = [&split[..], &["--sample-weights", "rotated=10"]].concat();
    let (code, text) = carpus(&weighted);
    assert_eq!(code, Some(0), "{text}");
    let rows: Vec<FoldRow> = read_csv(Path::new(&folds)).unwrap();
    assert_eq!(rows.len(), 2);
    assert_ne!(rows[0].fold, rows[1].fold);
    for made in ["folds.parquet", "balance.csv", "balance.json", "weights.csv"] {
        assert!(Path::new(&at(made)).is_file(), "{made}");
    }
    let weights = std::fs::read_to_string(at("weights.csv")).unwrap();
    assert_eq!(weights, format!("image_id,weight\n{},10\n{},10\n", rows[0].image_id, rows[1].image_id));

    let cleaning =
        ["clean", &root, "--tables", &tables, "--folds", &folds, "--corrections", &corrections, "--out", &crops];
    let (code, text) = carpus(&cleaning);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 crops"), "{text}");

    // Predictions on crops of different sizes go back to where they were.
    let transforms = read_transforms(Path::new(&crops)).unwrap();
    let drawn: Vec<ImageMasks> = transforms
        .iter()
        .map(|t| {
            let mask = |i: i32| {
                carpus::mask::RunMask::from_polygon(&[[i, 2], [40, 5 + i], [20, 60]], t.area.width, t.area.height)
            };
            let image_name = format!("{}.png", t.image_id);
            ImageMasks { image_name, masks: HandMasks::new((0..29).map(mask).collect()).unwrap() }
        })
        .collect();
    submission::write(Path::new(&predictions), &drawn).unwrap();
    let (code, text) = carpus(&["restore", &crops, &predictions, "--out", &restored]);
    assert_eq!(code, Some(0), "{text}");
    let back = submission::read(Path::new(&restored), WIDTH, HEIGHT).unwrap();
    assert_eq!(back.len(), 3);
    for ((back, drawn), transform) in back.iter().zip(&drawn).zip(&transforms) {
        for (bone, mask) in drawn.masks.iter() {
            assert_eq!(&transform.mask_to_crop(&back.masks[bone]).unwrap(), mask);
            assert_eq!(back.masks[bone].area(), mask.area());
        }
    }

    // A truncated image and one changed since the scan are left out; the rest goes on; the exit code says so.
    let truncated = data.root().join(&data.images[0].path);
    let bytes = std::fs::read(&truncated).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    data.images[0].sha256 = Some(sha256(&truncated));
    write_parquet(&Path::new(&tables).join("images.parquet"), &data.images).unwrap();
    save_image(&data.root().join(&data.images[3].path), 140, 140);
    let (code, text) = carpus(&cleaning);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("0 made, 1 unchanged") && text.contains("changed since it was scanned"), "{text}");
    assert!(std::fs::read_to_string(Path::new(&crops).join("problems.csv")).unwrap().contains("not made again"));

    // A line that is no correction is named and the rest is used.
    let decisions = std::fs::read_to_string(&corrections).unwrap();
    std::fs::write(&corrections, format!("{{\"version\":1}}\n{decisions}")).unwrap();
    let (code, text) = carpus(&split);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("line 1"), "{text}");
    let leaked: Vec<FoldRow> = rows.iter().map(|r| FoldRow { patient_id: "001".into(), ..r.clone() }).collect();
    write_csv(Path::new(&folds), &leaked).unwrap();
    let (code, text) = carpus(&cleaning);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("belongs to patient 002"), "{text}");
}
