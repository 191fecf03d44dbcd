//! Copies of a data set in other formats, read back by carpus and by the libraries that define the formats.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use carpus::bones::Bone;
use carpus::convert::{ConvertSettings, ConvertedCopy, FORMATS, FormatLoss, SegmentationForm, convert, format_named};
use carpus::dataset::corrections::Corrections;
use carpus::dataset::phantom::{PhantomSettings, generate};
use carpus::dataset::{Dataset, GreyImage, ImageEntry, Levels, Problem};
use carpus::mask::{RunMask, coco};
use carpus::progress::Silent;
use carpus::scan::{ScanSettings, scan};
use carpus::tables::Tables;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::python;

/// A phantom of two annotated patients and one other. One annotation also has two shapes of one bone, an outline with a
/// single point, one outside the image, an unknown label and another spelling.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        PhantomSettings { patients: 2, test_patients: 1, size: 128, seed: 7, defects: false, jobs: 2, force: false };
    generate(&settings, &folder.path().join("data"), &Silent).unwrap();
    let dataset = Dataset::open(&folder.path().join("data")).unwrap();
    let path = dataset.root().join(dataset.images()[0].annotation.as_ref().unwrap());
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entries = document["annotations"].as_array_mut().unwrap();
    entries.retain(|entry| !["Hamate", "Lunate"].contains(&entry["label"].as_str().unwrap()));
    let mut add = |label: &str, points: Value| {
        entries.push(json!({"type": "poly_seg", "label": label, "points": points}));
    };
    add("Hamate", json!([[60, 70], [70, 70], [70, 80]]));
    add("Hamate", json!([[62, 75], [75, 75], [75, 84], [62, 84]]));
    add("Lunate", json!([[50, 90]]));
    add("finger-1", json!([[-9, -9], [-5, -9], [-5, -4]]));
    add("ring <1> & \"2\"", json!([[10, 10], [20, 10], [20, 20]]));
    add("TRAPEZOID", json!([[80, 90], [88, 90], [88, 98], [84, 94]]));
    fs::write(&path, document.to_string()).unwrap();
    folder
}

fn converted(dataset: &Dataset, format: &str, form: SegmentationForm, out: &Path) -> ConvertedCopy {
    let format = format_named(format).unwrap();
    let settings = ConvertSettings { format, segmentation: form, findings: &[] };
    let converted = convert(dataset, &settings, out, &Silent).unwrap();
    assert_eq!(converted.problems, []);
    converted
}

fn tables(dataset: &Dataset) -> Tables {
    let out = tempfile::tempdir().unwrap();
    scan(dataset, out.path(), &ScanSettings { jobs: 2, ..Default::default() }, &Silent).unwrap().tables
}

/// Area and number of vertices by image and bone.
fn areas(tables: &Tables) -> BTreeMap<(String, String), (u64, u32, u32)> {
    let rows = tables.bones.iter();
    rows.map(|b| ((b.image_id.clone(), b.label.clone()), (b.area_px, b.n_vertices, b.n_shapes))).collect()
}

/// Label and points of each shape of an image, in the order of the shapes.
fn shapes(dataset: &Dataset, entry: &ImageEntry) -> Vec<(String, Vec<[i32; 2]>)> {
    let read = dataset.annotation(dataset.find(&entry.image_id).unwrap()).unwrap();
    read.into_iter().flat_map(|read| read.annotation.shapes).map(|s| (s.label, s.points)).collect()
}

#[test]
fn every_format_is_read_back_with_the_same_masks() {
    let folder = data();
    let original = Dataset::open(&folder.path().join("data")).unwrap();
    let before = tables(&original);
    for format in FORMATS {
        let out = folder.path().join(format.name());
        let written = converted(&original, format.name(), SegmentationForm::Rle, &out);
        assert_eq!((written.images, written.annotated), (original.images().len(), 4), "{}", format.name());
        let copy = Dataset::open(&out).unwrap();
        let known =
            |e: &ImageEntry| (e.image_id.clone(), e.patient_id.clone(), e.subset, e.side, e.annotation.is_some());
        assert_eq!(
            copy.images().iter().map(known).collect::<Vec<_>>(),
            original.images().iter().map(known).collect::<Vec<_>>(),
            "{}",
            format.name()
        );
        let after = tables(&copy);
        assert_eq!(after.patients, before.patients, "{}", format.name());
        let [ours, theirs] = [areas(&before), areas(&after)];
        if format.name() == "masks" {
            let areas = |all: &BTreeMap<(String, String), (u64, u32, u32)>| {
                let areas = all.iter().map(|(key, (area, ..))| (key.clone(), *area));
                areas.filter(|(_, area)| *area > 0).collect::<Vec<_>>()
            };
            assert_eq!(areas(&ours), areas(&theirs));
            assert!(
                written.losses.count(FormatLoss::Vertices) > 100
                    && written.losses.count(FormatLoss::UnknownLabels) == 1
            );
        } else {
            assert_eq!(ours, theirs, "{}", format.name());
            for entry in original.images() {
                assert_eq!(shapes(&original, entry), shapes(&copy, entry), "{} {}", format.name(), entry.image_id);
            }
            assert_eq!(written.losses.count(FormatLoss::Vertices), 0);
        }
        for entry in original.images() {
            let pixels = |dataset: &Dataset| dataset.image_sha256(dataset.find(&entry.image_id).unwrap()).unwrap();
            assert_eq!(pixels(&original), pixels(&copy));
        }
    }
    // A copy of a copy.
    let [coco, labelme, again] = ["coco", "labelme", "again"].map(|name| folder.path().join(name));
    let chained = Dataset::open(&labelme).unwrap();
    converted(&chained, "coco", SegmentationForm::Rle, &again);
    let objects = |folder: &Path| {
        let text = fs::read_to_string(folder.join("train.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["annotations"].clone()
    };
    assert_eq!(objects(&coco).as_array().unwrap().len(), objects(&again).as_array().unwrap().len());
    assert_eq!(areas(&tables(&Dataset::open(&again).unwrap())), areas(&before));
}

#[test]
fn pycocotools_reads_the_same_areas() {
    let folder = data();
    let original = Dataset::open(&folder.path().join("data")).unwrap();
    let own = areas(&tables(&original));
    let out = folder.path().join("coco");
    converted(&original, "coco", SegmentationForm::Rle, &out);
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let random: Vec<RunMask> = (0..40)
        .map(|_| {
            let (width, height) = (rng.random_range(1..60), rng.random_range(1..60));
            let share = rng.random_range(0.02..0.98);
            let dense: Vec<u8> = (0..width * height).map(|_| u8::from(rng.random_bool(share))).collect();
            RunMask::from_dense(&dense, width, height)
        })
        .collect();
    let rows = |mask: &RunMask| mask.to_dense().chunks(mask.width() as usize).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let masks = folder.path().join("masks.txt");
    fs::write(&masks, json!(random.iter().map(rows).collect::<Vec<_>>()).to_string()).unwrap();
    let read = |arguments: &[&str]| -> Value { serde_json::from_str(&python::run("convert.py", arguments)).unwrap() };
    let reference = read(&[out.to_str().unwrap(), masks.to_str().unwrap()]);
    for (mask, counts) in random.iter().zip(reference["counts"].as_array().unwrap()) {
        let ours = coco::counts_text(&coco::counts(mask).unwrap());
        assert_eq!(ours, counts.as_str().unwrap());
        let back = coco::counts_of_text(&ours).unwrap();
        assert_eq!(&coco::mask_of_counts(&back, mask.width(), mask.height()).unwrap(), mask);
    }
    let objects = reference["objects"].as_array().unwrap();
    assert_eq!(objects.len(), own.len());
    for object in objects {
        let name = |key: &str| object[key].as_str().unwrap().to_owned();
        let area = own[&(name("image"), name("bone"))].0;
        for key in ["area", "stated_area", "pixels"] {
            assert_eq!(object[key].as_u64(), Some(area), "{object}");
        }
        assert!(area == 0 || object["box"] == object["stated_box"], "{object}");
    }
    // Polygons are filled differently: the file states COCO's own area, and the vertices are the same.
    let polygons = folder.path().join("polygons");
    let written = converted(&original, "coco", SegmentationForm::Polygon, &polygons);
    assert!(written.losses.count(FormatLoss::Pixels) > 50);
    let reference = read(&[polygons.to_str().unwrap()]);
    let mut smaller = 0;
    for object in reference["objects"].as_array().unwrap() {
        assert_eq!(object["area"], object["stated_area"], "{object}");
        let area = own[&(object["image"].as_str().unwrap().into(), object["bone"].as_str().unwrap().into())].0;
        smaller += usize::from(object["area"].as_u64().unwrap() < area);
    }
    assert!(smaller > 50);
    assert_eq!(areas(&tables(&Dataset::open(&polygons).unwrap())), own);
}

#[test]
fn corrections_are_in_the_copy_and_known_there() {
    let folder = data();
    let root = folder.path().join("data");
    let original = Dataset::open(&root).unwrap();
    let [first, second] = [&original.images()[0], &original.images()[1]];
    let read = original.annotation(first).unwrap().unwrap();
    let sha = read.sha256;
    let is_forearm = |label: &str| ["Radius", "Ulna"].contains(&label);
    let forearm = read.annotation.shapes.iter().filter(|shape| is_forearm(&shape.label));
    let forearm: Vec<Value> = forearm.map(|shape| json!({"index": shape.index, "label": shape.label})).collect();
    let file = folder.path().join("corrections.jsonl");
    let line = |id: &str, sha: Option<&str>, action: Value| {
        let mut line =
            json!({"version": 2, "image_id": id, "action": action, "reason": "", "author": "k", "time": "2026-11-29"});
        if let Some(sha) = sha {
            line["annotation_sha256"] = sha.into();
        }
        format!("{line}\n")
    };
    let text = line(
        &first.image_id,
        Some(&sha),
        json!({"do": "relabel", "labels": {"Radius": "Ulna", "Ulna": "Radius"}, "shapes": forearm}),
    ) + &line(&second.image_id, None, json!({"do": "exclude"}));
    fs::write(&file, text).unwrap();
    let corrections = Corrections::read(&file).unwrap();
    assert_eq!(corrections.problems(), []);
    let corrected = Dataset::open(&root).unwrap().with_corrections(corrections.clone());
    for format in FORMATS {
        let out = folder.path().join(format.name());
        let written = converted(&corrected, format.name(), SegmentationForm::Rle, &out);
        assert_eq!(written.losses.count(FormatLoss::ExcludedImages), 1);
        let copy = Dataset::open(&out).unwrap().with_corrections(corrections.clone());
        assert_eq!(copy.unfit_corrections(), []);
        assert_eq!(copy.images().len(), original.images().len() - 1);
        let masks = |dataset: &Dataset| {
            let read = dataset.annotation(dataset.find(&first.image_id).unwrap()).unwrap().unwrap();
            assert!(read.problems.iter().all(|p| !p.reason.contains("decided")), "{:?}", read.problems);
            read.annotation.masks(128, 128)
        };
        let [plain, ours, theirs] = [&original, &corrected, &copy].map(masks);
        assert_eq!(theirs, ours, "{}", format.name());
        assert_eq!(theirs[Bone::ULNA], plain[Bone::from_name("Radius").unwrap()]);
    }
}

/// The problems of the images in a folder, listed and read, as text.
fn problems_of(root: &Path) -> Vec<String> {
    let dataset = match Dataset::open(root) {
        Ok(dataset) => dataset,
        Err(error) => return vec![error.to_string()],
    };
    let mut problems: Vec<Problem> = dataset.problems().to_vec();
    for entry in dataset.images() {
        match dataset.annotation(entry) {
            Ok(read) => problems.extend(read.into_iter().flat_map(|read| read.problems)),
            Err(error) => return vec![error.to_string()],
        }
    }
    problems.into_iter().map(|p| format!("{} {}: {}; {}", p.file, p.place, p.reason, p.action)).collect()
}

fn picture(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(20, 10, |x, y| image::Luma([(x * y) as u8])).save(path).unwrap();
}

fn coco_file(annotation: Value) -> Value {
    json!({
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
        "categories": [{"id": 5, "name": "Ulna"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "segmentation": [[1, 1, 8, 1, 8, 8]]}, annotation],
    })
}

#[test]
fn faulty_coco_files_have_named_problems() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let with = |segmentation: Value| {
        coco_file(json!({"id": 2, "image_id": 1, "category_id": 5, "segmentation": segmentation})).to_string()
    };
    let runs = |size: [u64; 2], counts: Value| with(json!({"size": size, "counts": counts}));
    let second = |key: &str, value: Value| {
        let mut file =
            coco_file(json!({"id": 2, "image_id": 1, "category_id": 5, "segmentation": [[1, 1, 3, 1, 3, 3]]}));
        file["annotations"][1][key] = value;
        file.to_string()
    };
    let image = |record: Value| {
        let mut file = coco_file(json!({"id": 2}));
        file["images"].as_array_mut().unwrap().push(record);
        file.to_string()
    };
    let whole = coco_file(json!({})).to_string();
    let cases: Vec<(String, &str)> = vec![
        (whole[..whole.len() - 40].to_owned(), "not readable as COCO: EOF"),
        (second("category_id", json!(5)), "several annotations of Ulna"),
        (second("category_id", json!(6)), "no category has the id of `category_id`, 6"),
        (second("image_id", json!("x")), "no usable image has the id of `image_id`, \"x\""),
        (second("image_id", Value::Null), "`image_id`, missing"),
        (second("segmentation", json!({"a": 1})), "neither a list of polygons nor a mask"),
        (with(json!([])), "`segmentation` is an empty list"),
        (with(json!([[1, 2, 3]])), "expected [x, y]"),
        (with(json!([[1, 2, 1e300, 2, 3, 3]])), "expected coordinates from"),
        (runs([10, 20], json!([100, 101])), "the counts have 201 pixels, but the mask of 20x10 has 200"),
        (runs([10, 20], json!([100, 4_294_967_295u64])), "the counts have 4294967395 pixels"),
        (runs([20, 10], json!([200])), "the mask has the size 10x20, the image 20x10"),
        (runs([10, 20], json!("~~~")), "does not continue a run length"),
        (runs([10, 20], json!([-5, 205])), "neither a list of polygons nor a mask"),
        (runs([10, 20], json!([200])), "the mask is empty"),
        (image(json!({"id": 2, "file_name": "../outside.png"})), "leads out of the data folder"),
        (image(json!({"id": 2, "file_name": "/etc/passwd"})), "leads out of the data folder"),
        (image(json!({"id": 2, "file_name": "b.png"})), "there is no file \"b.png\""),
        (image(json!({"id": 2, "file_name": "x/a.png"})), "there is no file"),
        (image(json!({"id": 2, "file_name": 7})), "expected an image with `file_name`"),
        (image(json!({"file_name": "a.png"})), "expected an image with `id`"),
        (image(json!({"id": 2, "file_name": "a.png"})), "image names must be unique"),
    ];
    for (text, expected) in cases {
        fs::write(folder.path().join("train.json"), &text).unwrap();
        let problems = problems_of(folder.path());
        assert!(problems.iter().any(|p| p.contains(expected)), "{expected}\n{problems:#?}\n{text}");
        if !expected.contains("EOF") {
            let dataset = Dataset::open(folder.path()).unwrap();
            let read = dataset.annotation(dataset.find("a").unwrap()).unwrap().unwrap();
            assert!(!read.annotation.shapes.is_empty(), "the other shape is kept: {text}");
        }
    }
    // Large images are refused before memory is used.
    let mut file: Value = serde_json::from_str(&runs([1 << 30, 1 << 30], json!([1]))).unwrap();
    (file["images"][0]["width"], file["images"][0]["height"]) = (json!(1u32 << 30), json!(1u32 << 30));
    fs::write(folder.path().join("train.json"), file.to_string()).unwrap();
    assert!(problems_of(folder.path()).iter().any(|p| p.contains("at most 16384x16384")));
}

#[test]
fn a_mask_without_vertices_and_an_edited_one_are_traced() {
    let folder = data();
    let original = Dataset::open(&folder.path().join("data")).unwrap();
    let own = areas(&tables(&original));
    let out = folder.path().join("coco");
    converted(&original, "coco", SegmentationForm::Rle, &out);
    let path = out.join("train.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let annotations = file["annotations"].as_array_mut().unwrap();
    let size = annotations[0]["segmentation"]["size"].clone();
    for annotation in annotations.iter_mut().skip(1) {
        annotation.as_object_mut().unwrap().remove("carpus");
    }
    // Another program has redrawn the first one, and left the field of carpus.
    annotations[0]["segmentation"] = json!({"size": size, "counts": [128 * 3 + 7, 5, 128 * 125 - 12]});
    let (image, bone) = (annotations[0]["image_id"].clone(), annotations[0]["category_id"].as_u64().unwrap());
    let image = file["images"].as_array().unwrap().iter().find(|i| i["id"] == image).unwrap()["file_name"].clone();
    fs::write(&path, file.to_string()).unwrap();
    let copy = Dataset::open(&out).unwrap();
    let redrawn =
        (image.as_str().unwrap().replace(".png", ""), Bone::from_index(bone as usize - 1).unwrap().to_string());
    let now = areas(&tables(&copy));
    for (key, (area, ..)) in own.iter().filter(|(_, (area, ..))| *area > 0) {
        let expected = if *key == redrawn { 5 } else { *area };
        assert_eq!(now[key].0, expected, "{key:?}");
    }
    assert!(problems_of(&out).iter().any(|p| p.contains("the mask was changed after carpus wrote the file")));
}

#[test]
fn faulty_files_of_other_formats_have_named_problems() {
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str| {
        let root = folder.path().join(name);
        picture(&root.join("images/a.png"));
        picture(&root.join("a.png"));
        root
    };
    let cvat = root("cvat");
    let xml = |inside: &str| {
        format!(
            "<?xml version=\"1.0\"?>\n<annotations>\n<image id=\"0\" name=\"a.png\" width=\"20\" height=\"10\">{inside}</image>\n</annotations>"
        )
    };
    let cases = [
        (xml("<polygon label=\"Ulna\" points=\"1,1;x,2;3,3\"/>"), "\"x,2\" is not a point"),
        (xml("<polygon label=\"Ulna\"/>"), "no `points`"),
        (xml("<ellipse label=\"Ulna\" cx=\"1\"/>"), "a shape of type ellipse is not an outline"),
        (
            xml("<mask label=\"Ulna\" rle=\"1, 9\" left=\"18\" top=\"2\" width=\"5\" height=\"2\"/>"),
            "does not fit the image",
        ),
        (
            xml("<mask label=\"Ulna\" rle=\"1, 12\" left=\"1\" top=\"2\" width=\"5\" height=\"2\"/>"),
            "more than the 10 pixels",
        ),
        (xml("<polygon label=\"&evil;\" points=\"1,1;5,5;3,3\"/>"), "evil"),
        (
            xml("<polygon label=\"Ulna\" points=\"1,1;5,5;5,1\"/>")
                .replace("</image>", "")
                .replace("</annotations>", ""),
            "within an element",
        ),
        (xml("").replace("a.png", "../../a.png"), "not a path inside the data folder"),
        (xml("").replace("a.png", "missing.png"), "no such file"),
    ];
    for (text, expected) in cases {
        fs::write(cvat.join("annotations.xml"), &text).unwrap();
        let problems = problems_of(&cvat);
        assert!(problems.iter().any(|p| p.contains(expected)), "{expected}\n{problems:#?}");
    }
    let mask = "<mask label=\"Ulna\" rle=\"1, 3, 2, 2\" left=\"2\" top=\"3\" width=\"4\" height=\"2\"/>";
    fs::write(
        cvat.join("annotations.xml"),
        xml(&format!("{mask}<box label=\"Radius\" xtl=\"1\" ytl=\"1\" xbr=\"4\" ybr=\"3\"/>")),
    )
    .unwrap();
    let dataset = Dataset::open(&cvat).unwrap();
    let masks = dataset.annotation(&dataset.images()[0]).unwrap().unwrap().annotation.masks(20, 10);
    assert_eq!((masks[Bone::ULNA].area(), masks[Bone::from_name("Radius").unwrap()].area()), (5, 12));

    let labelme = folder.path().join("labelme");
    picture(&labelme.join("a.png"));
    let json_of = |shape: Value| json!({"imagePath": "a.png", "imageWidth": 20, "imageHeight": 10, "shapes": [shape]});
    let shape = |kind: &str, points: Value| json!({"label": "Ulna", "shape_type": kind, "points": points});
    let cases = [
        (json_of(shape("circle", json!([[1, 1], [3, 3]]))), "a shape of type \"circle\""),
        (json_of(shape("polygon", json!([[1, 1], [3]]))), "expected [x, y]"),
        (json_of(shape("rectangle", json!([[1, 1]]))), "without its two corners"),
        (
            json_of(json!({"label": "Ulna", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "%%"})),
            "not base64",
        ),
        (
            json_of(json!({"label": "Ulna", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "AAAA"})),
            "not a picture",
        ),
        (json_of(json!(7)), "expected a class name"),
        (json!({"imagePath": "b.png", "shapes": []}), "`imagePath` names another image"),
        (json!({"imagePath": "a.png", "imageWidth": 30, "imageHeight": 10, "shapes": []}), "for an image of 30x10"),
    ];
    for (file, expected) in cases {
        fs::write(labelme.join("a.json"), file.to_string()).unwrap();
        let problems = problems_of(&labelme);
        assert!(problems.iter().any(|p| p.contains(expected)), "{expected}\n{problems:#?}");
    }
    fs::write(labelme.join("a.json"), "{\"shapes\": [{\"label\": \"Ul").unwrap();
    assert!(problems_of(&labelme)[0].contains("line 1 column"), "{:?}", problems_of(&labelme));

    let masks = folder.path().join("masks");
    picture(&masks.join("images/a.png"));
    fs::create_dir_all(masks.join("masks/a")).unwrap();
    image::GrayImage::from_pixel(9, 9, image::Luma([1])).save(masks.join("masks/a/Ulna.png")).unwrap();
    fs::write(masks.join("masks/a/Radius.png"), "not a picture").unwrap();
    let problems = problems_of(&masks);
    for expected in ["the mask has 9x9 pixels, its image 20x10", "unknown format"] {
        assert!(problems.iter().any(|p| p.contains(expected)), "{expected}\n{problems:#?}");
    }
}

#[test]
fn dicom_files_have_the_levels_that_pydicom_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    fs::create_dir(&root).unwrap();
    let printed = python::run("dicom.py", &[root.to_str().unwrap(), &python::seed().to_string()]);
    let files: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let levels = |pixels: &GreyImage| -> Vec<u64> {
        match pixels.levels() {
            Levels::Eight(levels) => levels.iter().map(|v| u64::from(*v)).collect(),
            Levels::Sixteen(levels) => levels.iter().map(|v| u64::from(*v)).collect(),
        }
    };
    for file in &files {
        let path = root.join(file["file"].as_str().unwrap());
        let read = carpus::dataset::image::read(&path).unwrap();
        let size = (file["width"].as_u64().unwrap() as u32, file["height"].as_u64().unwrap() as u32);
        assert_eq!((read.pixels.dimensions(), carpus::dataset::image::dimensions(&path).unwrap()), (size, size));
        let expected: Vec<u64> = file["levels"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        assert_eq!(levels(&read.pixels), expected, "{}", file["file"]);
        assert_eq!(read.spacing_mm, file["spacing"].as_f64(), "{}", file["file"]);
        let bits = file["bits"].as_u64().unwrap() as u8;
        assert_eq!(read.significant_bits, (bits > 8).then_some(bits));
        assert_eq!(carpus::dataset::image::stored_bits(&path).unwrap(), if bits > 8 { 16 } else { 8 });
        let points = json!([[0, 0], [2, 0], [2, 2]]);
        let annotation = json!({"annotations": [{"type": "poly_seg", "label": "Ulna", "points": points}]});
        fs::write(path.with_extension("json"), annotation.to_string()).unwrap();
    }
    // A copy has PNGs of the same levels, and still knows the distances.
    let original = Dataset::open(&root).unwrap();
    assert_eq!((original.images().len(), original.problems()), (files.len(), &[][..]));
    let before = tables(&original);
    for format in FORMATS {
        let out = folder.path().join(format.name());
        let written = converted(&original, format.name(), SegmentationForm::Rle, &out);
        assert_eq!(written.losses.count(FormatLoss::DicomHeaders), files.len());
        let copy = Dataset::open(&out).unwrap();
        for entry in original.images() {
            let [ours, theirs] =
                [&original, &copy].map(|data| data.image(data.find(&entry.image_id).unwrap()).unwrap());
            assert_eq!(ours.pixels, theirs.pixels, "{}", entry.image_id);
            assert_eq!(ours.spacing_mm, theirs.spacing_mm);
        }
        let after = tables(&copy);
        let known =
            |tables: &Tables| tables.images.iter().map(|i| (i.image_id.clone(), i.spacing_mm)).collect::<Vec<_>>();
        assert_eq!(known(&after), known(&before));
    }
    // Truncated and unsupported files are named.
    let path = root.join("ID001_R.dcm");
    let whole = fs::read(&path).unwrap();
    for cut in [140, whole.len() / 2, whole.len() - 9] {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = carpus::dataset::image::read(&path).unwrap_err().to_string();
        assert!(error.contains("ID001_R.dcm: "), "{error}");
    }
}

fn carpus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).output().expect("the binary starts")
}

#[test]
fn the_command_prints_what_is_lost_and_writes_completely_or_not_at_all() {
    let folder = data();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text =
        |out: &Output| format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let made = carpus(&["convert", &at("data"), "--to", "coco", "--segmentation", "polygon", "--out", &at("out")]);
    let printed = text(&made);
    for expected in ["a label that is not a bone", "keys other than label and points", "areas of ", "differ"] {
        assert!(printed.contains(expected), "{expected}\n{printed}");
    }
    // Another format replaces the copy; nothing of the earlier one stays.
    fs::write(folder.path().join("out/notes.txt"), "mine").unwrap();
    let made = carpus(&["convert", &at("data"), "--to", "masks", "--out", &at("out"), "--json"]);
    let value: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&value["images"], &value["format"]), (&json!(6), &json!("masks")), "{}", text(&made));
    assert!(!folder.path().join("out/train.json").exists() && folder.path().join("out/notes.txt").exists());
    let files = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
    assert_eq!(files(folder.path().join("out/masks")), 4);
    let refused = [
        (vec!["convert", "DATA", "--to", "coco", "--out", "DATA"], "holds the original data"),
        (vec!["convert", "DATA", "--to", "coc", "--out", "OUT"], "did you mean coco?"),
        (vec!["convert", "DATA", "--to", "cvat", "--segmentation", "polygon", "--out", "OUT"], "has none"),
        (vec!["convert", "DATA", "--from", "cvat", "--to", "coco", "--out", "OUT"], "no data of the kind `cvat`"),
        (vec!["convert", "DATA", "--to", "coco", "--out", "HOME"], "did not write"),
    ];
    for (arguments, expected) in refused {
        let named = |word: &&str| match *word {
            "DATA" => at("data"),
            "OUT" => at("new"),
            "HOME" => at(""),
            other => other.to_owned(),
        };
        let arguments: Vec<String> = arguments.iter().map(named).collect();
        let out = carpus(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!out.status.success() && text(&out).contains(expected), "{expected}\n{}", text(&out));
        assert!(!folder.path().join("new").exists());
    }
    let labelme = carpus(&["convert", &at("out"), "--from", "masks", "--to", "labelme", "--out", &at("new")]);
    assert!(folder.path().join("new/conversion.jsonl").exists(), "{}", text(&labelme));
}
