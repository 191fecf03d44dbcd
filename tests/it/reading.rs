//! Images and workbooks against the libraries that made them.

use std::collections::BTreeMap;

use carpus::dataset::{image, metadata};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rust_xlsxwriter::Workbook;

use crate::python;

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn images_are_decoded_as_opencv_and_pillow_do() {
    let folder = tempfile::tempdir().unwrap();
    let printed = python::run("image_decode.py", &[&python::seed().to_string(), folder.path().to_str().unwrap()]);
    let mut worst = BTreeMap::new();
    for line in printed.lines() {
        let [name, width, height, bits] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let read = image::read(&folder.path().join(name)).unwrap();
        assert_eq!(read.pixels.dimensions(), (width.parse().unwrap(), height.parse().unwrap()), "{name}");
        assert_eq!(read.bits.to_string(), bits, "{name}");
        let expected = std::fs::read(folder.path().join(format!("{name}.grey"))).unwrap();
        let levels = read.pixels.to_eight_bit();
        assert_eq!(levels.len(), expected.len());
        let off = levels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        // Grey is stored as it is. Colour differs by the rounding of the weights. A JPEG's cosine transform may
        // round each channel by one either way, and colour is turned to RGB and then to grey on top of that.
        let allowed = match name {
            name if name.starts_with("colour") && name.ends_with(".jpg") => 3,
            name if name.ends_with(".jpg") => 1,
            name if name.starts_with("colour") || name.starts_with("alpha") || name.contains("palette") => 1,
            _ => 0,
        };
        assert!(off <= allowed, "{name}: off by {off}, allowed {allowed}");
        worst.insert(name.to_owned(), off);
    }
    assert_eq!(worst.len(), 23, "{worst:?}");

    // Fill bytes may come before a restart mark; marks come in their order.
    let file = std::fs::read(folder.path().join("grey_restart.jpg")).unwrap();
    let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let first = scan + file[scan..].windows(2).position(|pair| pair == [0xff, 0xd0]).expect("a restart mark");
    let filled = [&file[..first], &[0xff, 0xff], &file[first..]].concat();
    assert_eq!(image::decode(&filled).unwrap(), image::decode(&file).unwrap());
    let mut disordered = file.clone();
    disordered[first + 1] = 0xd3;
    assert!(image::decode(&disordered).unwrap_err().contains("restart mark"));

    // A progressive file without its last scans shows a blurred image as if it were the whole.
    for name in ["grey_progressive.jpg", "colour_progressive.jpg"] {
        let file = std::fs::read(folder.path().join(name)).unwrap();
        let scans: Vec<usize> = (0..file.len() - 1).filter(|at| file[*at..*at + 2] == [0xff, 0xda]).collect();
        assert!(scans.len() > 3, "{name}: {} scans", scans.len());
        for at in &scans[1..] {
            let cut = [&file[..*at], &[0xff, 0xd9]].concat();
            let error = image::decode(&cut).expect_err(name);
            assert!(error.contains("last scans"), "{name} cut at {at}: {error}");
        }
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn workbook_cells_are_those_of_openpyxl() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet().set_name("ID").unwrap();
    for (column, name) in ["ID", "나이", "성별", "체중(몸무게)", "키(신장)"].iter().enumerate() {
        sheet.write(0, column as u16, *name).unwrap();
    }
    let sexes = ["\u{8}여", "\u{8}남", "남", "여", " 여", " 남 ", "female", "M", "_x0008_여", "<&여>", "?"];
    let rows = rng.random_range(50..300);
    for row in 1..=rows {
        if rng.random_bool(0.5) {
            sheet.write(row, 0, format!("{row:03}")).unwrap();
        } else {
            sheet.write(row, 0, row).unwrap();
        }
        if rng.random_bool(0.9) {
            sheet.write(row, 1, rng.random_range(19..=69)).unwrap();
        }
        sheet.write(row, 2, sexes[rng.random_range(0..sexes.len())]).unwrap();
        // As many digits as a double has: the value must come through exactly.
        sheet.write(row, 3, rng.random_range(42.0..118.0)).unwrap();
        sheet.write(row, 4, (rng.random_range(150.0f64..187.0) * 10.0).round() / 10.0).unwrap();
        if rng.random_bool(0.1) {
            sheet.write(row, 5, "네일있음").unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta_data.xlsx");
    workbook.save(&path).unwrap();

    let patients = metadata::read(&path, "meta_data.xlsx").unwrap().content;
    let printed: Vec<Vec<serde_json::Value>> =
        serde_json::from_str(&python::run("workbook_cells.py", &[path.to_str().unwrap()])).unwrap();
    assert_eq!((patients.len(), printed.len()), (rows as usize, rows as usize + 1));
    for (patient, cells) in patients.iter().zip(&printed[1..]) {
        let id = cells[0].as_str().map_or_else(|| cells[0].to_string(), str::to_owned);
        assert_eq!(Some(&patient.patient_id), metadata::normalise_patient_id(&id).as_ref());
        assert_eq!(patient.age, cells[1].as_f64());
        assert_eq!(patient.sex_raw.replace("_x0008_", "\u{8}"), cells[2].as_str().unwrap());
        // Values are rounded to 1e-6 of a kilogram.
        assert!((patient.weight_kg.unwrap() - cells[3].as_f64().unwrap()).abs() <= 5.1e-7);
        assert_eq!(patient.height_cm, cells[4].as_f64());
        assert_eq!(patient.note, cells.get(5).and_then(|c| c.as_str()).unwrap_or_default());
    }
}
