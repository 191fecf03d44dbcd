//! Annotations that are plausible hands but do not follow the bones of their image: shifted, turned, mirrored, another patient's.

use std::path::Path;

use carpus::audit::FindingRow;
use carpus::audit::{self, AuditSettings, Pictures};
use carpus::dataset::{Dataset, phantom};
use carpus::progress::Silent;
use carpus::scan::{ScanSettings, scan};
use carpus::tables::{ImageRow, Tables};
use serde_json::Value;

const SIZE: u32 = 256;

fn scanned(data: &Path, tables: &Path) -> Tables {
    scan(&Dataset::open(data).unwrap(), tables, &ScanSettings::default(), &Silent).unwrap().tables
}

/// Image and suggestion of each finding of the check, in the order of the images.
fn found(tables: &Tables) -> Vec<(&ImageRow, String)> {
    let findings = audit::audit(tables, None, &AuditSettings::default()).unwrap();
    let rows: Vec<FindingRow> =
        findings.iter().map(|f| f.row(tables)).filter(|r| r.check.name == "misaligned").collect();
    let of = |image: &str| rows.iter().find(|r| r.image_id == image).map(|r| r.suggestion.clone());
    tables.images.iter().filter_map(|image| Some((image, of(&image.image_id)?))).collect()
}

/// Moves every point of an annotation.
fn change_points(data: &Path, image: &ImageRow, change: impl Fn(i64, i64) -> (i64, i64)) {
    let file = data.join(image.annotation_path.as_ref().unwrap());
    let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for shape in document["annotations"].as_array_mut().unwrap() {
        for point in shape["points"].as_array_mut().unwrap() {
            let (x, y) = change(point[0].as_i64().unwrap(), point[1].as_i64().unwrap());
            *point = serde_json::json!([x, y]);
        }
    }
    std::fs::write(file, document.to_string()).unwrap();
}

fn exchange_annotations(data: &Path, one: &ImageRow, other: &ImageRow) {
    let [one, other] = [one, other].map(|image| data.join(image.annotation_path.as_ref().unwrap()));
    let text = std::fs::read(&one).unwrap();
    std::fs::copy(&other, &one).unwrap();
    std::fs::write(other, text).unwrap();
}

#[test]
fn outlines_off_their_bones_are_found_and_no_others() {
    for seed in [1, 2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (data, tables) = (folder.path().join("data"), folder.path().join("tables"));
        let settings = phantom::PhantomSettings {
            patients: 7,
            test_patients: 0,
            size: SIZE,
            seed,
            defects: false,
            jobs: 2,
            force: false,
        };
        phantom::generate(&settings, &data, &Silent).unwrap();
        let clean = scanned(&data, &tables);
        assert_eq!(clean.images.len(), 14);
        assert!(found(&clean).is_empty(), "seed {seed}: {:?}", found(&clean));
        assert!(clean.bones.iter().all(|b| b.grey_inside.unwrap() > 0.0 && b.edge.is_some()));
        let rings: Vec<(f64, f64)> = clean.bones.iter().filter_map(|b| b.grey_inside.zip(b.grey_ring)).collect();
        let brighter = rings.iter().filter(|(inside, ring)| inside > ring).count();
        assert!(rings.len() > clean.bones.len() * 9 / 10 && brighter > rings.len() * 95 / 100, "{brighter}");

        let (images, last) = (&clean.images, i64::from(SIZE) - 1);
        change_points(&data, &images[0], |x, y| (x + 30, y));
        change_points(&data, &images[1], |x, y| (x - 14, y - 14));
        // The picture as a viewer turned it; the annotation is of the picture as stored.
        let picture = data.join(&images[2].path);
        image::imageops::rotate90(&image::open(&picture).unwrap().to_luma8()).save(&picture).unwrap();
        change_points(&data, &images[3], |x, y| (last - x, last - y));
        change_points(&data, &images[4], |x, y| (last - x, y));
        exchange_annotations(&data, &images[6], &images[8]);
        exchange_annotations(&data, &images[9], &images[11]);

        let planted = scanned(&data, &tables);
        let findings = found(&planted);
        let ids: Vec<&str> = findings.iter().map(|(image, _)| &*image.image_id).collect();
        let expected: Vec<&str> = [0, 1, 2, 3, 4, 6, 8, 9, 11].iter().map(|i| &*images[*i].image_id).collect();
        assert_eq!(ids, expected, "seed {seed}");
        let fits = ["", "", "turned by 90° clockwise", "turned by 180°", "mirrored left to right", "", "", "", ""];
        for ((image, suggestion), fits) in findings.iter().zip(fits) {
            let change = suggestion.split("fits with all outlines ").nth(1).and_then(|s| s.split(':').next());
            assert_eq!(change.unwrap_or_default(), fits, "seed {seed}, {}: {suggestion}", image.image_id);
        }
        if seed == 1 {
            the_picture_shows_all_outlines(&data, &planted, folder.path());
        }
    }
}

fn the_picture_shows_all_outlines(data: &Path, tables: &Tables, folder: &Path) {
    let findings = audit::audit(tables, None, &AuditSettings::default()).unwrap();
    let (out, dataset) = (folder.join("audit"), Dataset::open(data).unwrap());
    let written = audit::write(&out, &findings, tables, Some(&dataset), Pictures::All, &Silent).unwrap();
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    let row =
        written.rows.iter().find(|r| r.check.name == "misaligned" && r.image_id == tables.images[0].image_id).unwrap();
    let picture = image::open(out.join(&row.evidence)).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (SIZE, SIZE), "the whole image");
    let coloured = picture.pixels().filter(|p| p.0[0].abs_diff(p.0[2]) > 60).count();
    assert!(coloured > 500, "{coloured}");
}
