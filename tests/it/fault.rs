//! Damaged, hostile and missing inputs: an error or a problem that names them, and the rest goes on.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use carpus::dataset::annotation::{self, AnnotationError};
use carpus::dataset::{Dataset, image, metadata};
use carpus::progress::Silent;
use carpus::scan::{Scan, ScanSettings, scan};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;

use crate::python;

/// A PNG of random grey levels.
fn png(rng: &mut ChaCha8Rng, side: u32) -> Vec<u8> {
    let pixels = ::image::GrayImage::from_fn(side, side, |_, _| ::image::Luma([rng.random()]));
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, ::image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn annotation(label: &str) -> String {
    format!(r#"{{"annotations": [{{"type": "poly_seg", "points": [[2, 2], [20, 2], [20, 30]], "label": "{label}"}}]}}"#)
}

fn put(root: &Path, file: &str, content: impl AsRef<[u8]>) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_png_cut_or_spoilt_anywhere_is_an_error_with_its_path() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let folder = tempfile::tempdir().unwrap();
    let whole = png(&mut rng, 64);
    let path = folder.path().join("손.png");
    for _ in 0..200 {
        let cut = rng.random_range(0..whole.len());
        fs::write(&path, &whole[..cut]).unwrap();
        let message = image::read(&path).unwrap_err().to_string();
        assert!(message.starts_with(path.to_str().unwrap()), "{cut}: {message}");
        assert!(cut < 8 || message.contains("truncated"), "{cut}: {message}");
    }
    for _ in 0..200 {
        // Each chunk carries a checksum: a changed byte of the pixels is noticed.
        let data = whole.windows(4).position(|w| w == b"IDAT").unwrap() + 4;
        let at = rng.random_range(data..whole.len() - 16);
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1 << rng.random_range(0..8);
        fs::write(&path, &spoilt).unwrap();
        assert!(image::read(&path).is_err(), "byte {at}");
    }
}

#[test]
fn invalid_json_is_an_error_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    fs::write(&path, "{\n  \"annotations\": [\n    {\"label\": \"Ulna\",}\n  ]\n}\n").unwrap();
    let error = annotation::read(&path, "a.json").unwrap_err();
    assert!(matches!(error, AnnotationError::Json { line: 3, column: 22, .. }), "{error}");
    assert!(error.to_string().contains("a.json line 3 column 22: trailing comma"), "{error}");
}

/// A workbook with these parts and what else a reader asks for.
fn workbook(sheet: &[u8], strings: Option<&[u8]>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut part = |name: &str, content: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    };
    part(
        "_rels/.rels",
        br#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
    );
    part(
        "xl/workbook.xml",
        br#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="ID" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
    );
    part(
        "xl/_rels/workbook.xml.rels",
        br#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#,
    );
    if let Some(strings) = strings {
        part("xl/sharedStrings.xml", strings);
    }
    part("xl/worksheets/sheet1.xml", sheet);
    zip.finish().unwrap().into_inner()
}

fn sheet(dimension: &str, rows: &str) -> Vec<u8> {
    format!(
        r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="{dimension}"/><sheetData>{rows}</sheetData></worksheet>"#
    )
    .into_bytes()
}

fn read_workbook(bytes: &[u8]) -> Result<Vec<metadata::Patient>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta_data.xlsx");
    fs::write(&path, bytes).unwrap();
    metadata::read(&path, "meta_data.xlsx").map(|read| read.content).map_err(|e| e.to_string())
}

const ROWS: &str =
    r#"<row r="1"><c r="A1" t="inlineStr"><is><t>ID</t></is></c></row><row r="2"><c r="A2"><v>7</v></c></row>"#;

#[test]
fn a_sheet_that_claims_to_be_endless_is_read_all_the_same() {
    let patients = read_workbook(&workbook(&sheet("A1:XFD1048576", ROWS), None)).unwrap();
    assert_eq!(patients[0].patient_id, "007");
    // The last cell there can be: 17 thousand million cells, were they all laid out.
    let far = format!(r#"{ROWS}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#);
    assert_eq!(read_workbook(&workbook(&sheet("A1", &far), None)).unwrap().len(), 1);
}

#[test]
fn a_workbook_that_unpacks_without_end_is_refused() {
    let mut endless = sheet("A1", ROWS);
    endless.resize(80 << 20, b' ');
    let packed = workbook(&endless, None);
    assert!(packed.len() < 1 << 20);
    let message = read_workbook(&packed).unwrap_err();
    assert!(message.contains("unpacks to more than 64 MiB"), "{message}");

    for claim in ["18446744073709551615", "4000000000", "99999999999999999999999"] {
        let strings = format!(r#"<sst count="1" uniqueCount="{claim}"><si><t>ID</t></si></sst>"#);
        let message = read_workbook(&workbook(&sheet("A1", ROWS), Some(strings.as_bytes()))).unwrap_err();
        assert!(message.contains("more shared strings than it can hold"), "{message}");
    }
    // One long string in many cells.
    let long = format!(r#"<sst uniqueCount="1"><si><t>{}</t></si></sst>"#, "x".repeat(1 << 20));
    let cells: String = (3..200).map(|r| format!(r#"<row r="{r}"><c r="A{r}" t="s"><v>0</v></c></row>"#)).collect();
    let message = read_workbook(&workbook(&sheet("A1", &format!("{ROWS}{cells}")), Some(long.as_bytes()))).unwrap_err();
    assert!(message.contains("MiB of text"), "{message}");
}

#[test]
fn a_damaged_workbook_is_an_error_or_keeps_what_it_can() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let strings = r#"<sst uniqueCount="1"><si><t>ID</t></si></sst>"#;
    let good = workbook(&sheet("A1:B2", ROWS), Some(strings.as_bytes()));
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(bytes.len() / 2..=bytes.len() * 2).min(bytes.len()));
        match read_workbook(&bytes) {
            Ok(patients) => assert_eq!(patients.len(), 1),
            Err(message) => assert!(message.contains("meta_data.xlsx: "), "{message}"),
        }
    }
    // Damage inside a part whose checksum is right: XML changed before it is packed.
    let xml = sheet("A1:B2", ROWS);
    for _ in 0..300 {
        let mut spoilt = xml.clone();
        let at = rng.random_range(0..spoilt.len());
        spoilt[at] = rng.random();
        if let Err(message) = read_workbook(&workbook(&spoilt, Some(strings.as_bytes()))) {
            assert!(message.contains("meta_data.xlsx: "), "{message}");
        }
    }
    let cut = sheet("A1", &format!("{ROWS}<row r=\"3\"><c r=\"A3\"><v>8</"));
    assert_eq!(read_workbook(&workbook(&cut[..cut.len() - 25], None)).unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn one_bad_file_of_each_kind_leaves_the_rest_of_the_batch() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let data = tempfile::tempdir().unwrap();
    let root = data.path();
    let whole = png(&mut rng, 48);
    let (images, outlines) = ("train/DCM", "train/outputs_json");
    for (patient, name) in
        [("ID001", "good"), ("ID001", "cut"), ("ID002", "nojson"), ("ID002", "mute"), ("ID009", "absent")]
    {
        let cut = if name == "cut" { whole.len() / 2 } else { whole.len() };
        put(root, &format!("{images}/{patient}/{name}.png"), &whole[..cut]);
        put(root, &format!("{outlines}/{patient}/{name}.json"), annotation("Ulna"));
    }
    put(root, "train/outputs_json/ID002/nojson.json", "{\"annotations\": [");
    // A file that opens and cannot be read, whoever runs the test.
    let mute = root.join("train/outputs_json/ID002/mute.json");
    fs::remove_file(&mute).unwrap();
    symlink("/proc/self/mem", &mute).unwrap();
    let odd = root.join(images).join("ID002").join(std::ffi::OsStr::from_bytes(b"\xbc\xd5.png"));
    fs::write(odd, &whole).unwrap();
    put(root, "meta_data.csv", "ID,sex,age,height,weight\n1,F,30,160,55\n2,M,31,175,70\n");

    let dataset = Dataset::open(root).unwrap();
    assert_eq!(dataset.images().len(), 5);
    let out = tempfile::tempdir().unwrap();
    let settings = ScanSettings { jobs: 2, ..ScanSettings::default() };
    let Scan { tables, summary } = scan(&dataset, out.path(), &settings, &Silent).unwrap();
    assert_eq!(summary.images, 5);
    let problem = |part: &str| {
        let found: Vec<_> = tables.problems.iter().filter(|p| p.file.contains(part)).collect();
        assert_eq!(found.len(), 1, "{part}: {:?}", tables.problems);
        found[0]
    };
    assert!(problem("cut.png").reason.contains("truncated"));
    assert!(problem("nojson.json").reason.contains("line 1"));
    assert_eq!(problem("mute.json").severity, carpus::dataset::ProblemSeverity::Error);
    assert!(problem("\u{fffd}").reason.contains("UTF-8"));
    assert!(tables.problems.iter().any(|p| p.patient_id.as_deref() == Some("009")), "the patient without a row");
    assert_eq!(tables.patient("009").unwrap().sheet_row, None);
    let bones: Vec<_> = tables.bones.iter().map(|b| b.image_id.as_str()).collect();
    assert_eq!(bones, ["good", "absent"]);
}
