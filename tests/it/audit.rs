//! From a phantom data set with planted faults to findings with pictures.

use std::path::Path;

use carpus::audit::FindingRow;
use carpus::audit::{self, AuditSettings, Pictures};
use carpus::dataset::{Dataset, phantom};
use carpus::progress::Silent;
use carpus::scan::{ScanSettings, scan};

/// Gives two bones each other's name.
fn swap_labels(json: &Path, a: &str, b: &str) {
    let text = std::fs::read_to_string(json).unwrap();
    let (a, b) = (format!("\"{a}\""), format!("\"{b}\""));
    assert!(text.contains(&a) && text.contains(&b));
    std::fs::write(json, text.replace(&a, "\"?\"").replace(&b, &a).replace("\"?\"", &b)).unwrap();
}

#[test]
fn a_swap_on_disk_becomes_a_finding_with_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (data, tables, out) = (folder.path().join("data"), folder.path().join("tables"), folder.path().join("audit"));
    let settings = phantom::PhantomSettings {
        patients: 3,
        test_patients: 0,
        size: 192,
        seed: 5,
        defects: false,
        jobs: 2,
        force: false,
    };
    phantom::generate(&settings, &data, &Silent).unwrap();
    let clean = scan(&Dataset::open(&data).unwrap(), &tables, &ScanSettings::default(), &Silent).unwrap().tables;
    let swaps = |tables: &carpus::tables::Tables| -> Vec<(String, String)> {
        let findings = audit::audit(tables, None, &AuditSettings::default()).unwrap();
        let rows = findings.iter().map(|f| f.row(tables));
        rows.filter(|r| r.check.name == "swapped_labels").map(|r| (r.image_id, r.label)).collect()
    };
    assert!(swaps(&clean).is_empty(), "{:?}", swaps(&clean));

    let image = &clean.images[3];
    swap_labels(&data.join(image.annotation_path.as_ref().unwrap()), "Pisiform", "Trapezoid");
    // An image that cannot be read when pictures are drawn costs its pictures and no others.
    let swapped = scan(&Dataset::open(&data).unwrap(), &tables, &ScanSettings::default(), &Silent).unwrap().tables;
    assert_eq!(swaps(&swapped), [(image.image_id.clone(), "Trapezoid|Pisiform".to_owned())]);
    let mut findings = audit::audit(&swapped, None, &AuditSettings::default()).unwrap();
    let mut of_broken = findings[0].clone();
    of_broken.image = Some(5);
    findings.push(of_broken);
    std::fs::write(data.join(&swapped.images[5].path), b"no picture").unwrap();
    let dataset = Dataset::open(&data).unwrap();
    let audit::WrittenFindings { rows, failed, .. } =
        audit::write(&out, &findings, &swapped, Some(&dataset), Pictures::All, &Silent).unwrap();
    assert_eq!(failed.iter().map(|f| f.image_id.as_str()).collect::<Vec<_>>(), [swapped.images[5].image_id.as_str()]);
    let swap = rows.iter().find(|r| r.check.name == "swapped_labels" && !r.evidence.is_empty()).unwrap();
    let picture = image::open(out.join(&swap.evidence)).unwrap().to_rgb8();
    let coloured = picture.pixels().filter(|p| p.0[0].abs_diff(p.0[2]) > 60).count();
    assert!(picture.width() > 100 && coloured > 200, "{:?}, {coloured} coloured px", picture.dimensions());
    assert_eq!(carpus::tables::read::<FindingRow>(&out.join("findings.csv")).unwrap(), rows);
}

#[test]
fn a_fault_that_repeats_draws_a_limited_number_of_pictures() {
    let bench = crate::corrections::Bench::new();
    let annotation = bench.at("data").join(bench.images[0].annotation.as_ref().unwrap());
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&annotation).unwrap()).unwrap();
    let shapes = json["annotations"].as_array_mut().unwrap();
    let strange = |i: usize| serde_json::json!({"type": "poly_seg", "label": format!("ring {i}"), "points": [[1, 1], [9, 1], [9, 9]]});
    shapes.extend((0..audit::PICTURES_PER_CHECK + 50).map(strange));
    std::fs::write(&annotation, json.to_string()).unwrap();
    assert_eq!(bench.run(&["scan", "data", "--out", "tables"]).status.code(), Some(3));
    let audit = |more: &[&str]| -> (serde_json::Value, usize, String) {
        let out = bench.run(&[&["--json", "audit", "tables", "--data", "data", "--out", "audit"], more].concat());
        let pictures = std::fs::read_dir(bench.at("audit/evidence")).unwrap();
        let of_label = pictures.filter(|p| p.as_ref().unwrap().file_name().to_string_lossy().contains("unknown_label"));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (serde_json::from_slice(&out.stdout).unwrap(), of_label.count(), said)
    };
    let (value, drawn, said) = audit(&[]);
    assert_eq!((value["by_check"]["unknown_label"].as_u64(), drawn), (Some(250), 200));
    assert_eq!(value["pictures_left_out"], 50);
    assert!(said.contains("50 findings without a picture: at most 200 per check"), "{said}");
    let eda = bench.run(&["eda", "tables", "--findings", "audit", "--out", "report"]);
    let page = std::fs::read_to_string(bench.at("report/index.html")).unwrap();
    assert!(page.contains("left out 50: "), "{}", String::from_utf8_lossy(&eda.stderr));
    assert_eq!(audit(&["--evidence", "3"]).1, 3.min(drawn));
    assert_eq!(audit(&["--evidence", "all"]).1, 250);
}

#[test]
fn unsuitable_scores_are_a_warning_and_an_unsuitable_truth_an_error() {
    let bench = crate::corrections::Bench::new();
    assert_eq!(bench.run(&["scan", "data", "--out", "tables"]).status.code(), Some(0));
    let audit = |more: &[&str]| -> (Option<i32>, String) {
        let out = bench.run(&[&["audit", "tables", "--out", "audit"], more].concat());
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let with_scores = |rows: &str| {
        std::fs::write(bench.at("dice.csv"), format!("image_id,Ulna\n{rows}")).unwrap();
        audit(&["--scores", "dice.csv"])
    };
    let (code, stderr) = with_scores(&format!("train/{}.png,0.9\n", bench.id(0)));
    assert!(code == Some(0) && !stderr.contains("dice.csv"), "{stderr}");
    let (code, stderr) = with_scores(&format!("{},0.9\nother,0.9\n", bench.id(0)));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("dice.csv: 1 of 2 scored images are not in the tables (first: other)"), "{stderr}");
    for (rows, expected) in [
        ("other,0.9\n".to_owned(), "no score belongs to an image of the tables"),
        (format!("{},nan\n", bench.id(0)), "every score is empty or NaN"),
        (String::new(), "the file lists no image"),
    ] {
        let (code, stderr) = with_scores(&rows);
        assert_eq!(code, Some(3), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }

    std::fs::write(bench.at("other.json"), "{}").unwrap();
    let (code, stderr) = audit(&["--truth", "other.json"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("other.json: expected the truth.json that `carpus phantom` writes"), "{stderr}");
}

/// Another data folder with images of the same IDs gives no pictures of the wrong images.
#[test]
fn images_that_were_not_scanned_get_no_picture() {
    let bench = crate::corrections::Bench::new();
    let annotation = bench.at("data").join(bench.images[0].annotation.as_ref().unwrap());
    let text = std::fs::read_to_string(&annotation).unwrap();
    assert!(text.contains("\"Pisiform\""));
    std::fs::write(&annotation, text.replace("\"Pisiform\"", "\"ring\"")).unwrap();
    assert_eq!(bench.run(&["scan", "data", "--out", "tables"]).status.code(), Some(3));
    let audit = |data: &str| -> (Option<i32>, usize, String) {
        let out = bench.run(&["--json", "audit", "tables", "--data", data, "--out", "audit"]);
        let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let without = value["without_picture"].as_array().unwrap().len();
        (out.status.code(), without, String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, without, said) = audit("data");
    assert_eq!((code, without), (Some(0), 0), "{said}");
    type Change = fn(image::DynamicImage) -> image::DynamicImage;
    let changes: [(Change, &str); 2] = [
        (
            |image| image.crop_imm(0, 0, 96, 80),
            "other is 96 x 80 px; the tables were made from one of 128 x 128 px: give the data folder",
        ),
        (|image| image.fliph(), "other is not the one that was scanned: give the data folder"),
    ];
    for (change, expected) in changes {
        for entry in &bench.images {
            let to = bench.at("other").join(&entry.image);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            change(image::open(bench.at("data").join(&entry.image)).unwrap()).save(to).unwrap();
        }
        let (code, without, said) = audit("other");
        assert!(code == Some(3) && without > 0 && said.contains(expected), "{code:?} {without} {said}");
        assert_eq!(std::fs::read_dir(bench.at("audit/evidence")).unwrap().count(), 0);
    }
}
