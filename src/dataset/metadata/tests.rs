use std::fs;

use proptest::prelude::*;
use rust_xlsxwriter::{Formula, Workbook};

use super::*;

type Read = Result<(Vec<Patient>, Vec<Problem>), MetadataError>;

fn read_bytes_as(name: &str, bytes: &[u8]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path, name).map(|read| (read.content, read.problems))
}

fn csv(text: &str) -> (Vec<Patient>, Vec<Problem>) {
    read_bytes_as("meta_data.csv", text.as_bytes()).unwrap()
}

fn summary(problems: &[Problem]) -> Vec<(&str, &str, &str, &str)> {
    problems.iter().map(|p| (p.place.as_str(), p.raw.as_str(), p.action.as_str(), p.severity.name())).collect()
}

fn only(text: &str) -> Patient {
    let (patients, _) = csv(text);
    assert_eq!(patients.len(), 1, "{patients:?}");
    patients.into_iter().next().unwrap()
}

#[test]
fn every_spelling_of_an_id_gives_the_same_id() {
    for raw in ["1", "1.0", "001", "ID001", " id 1 ", "ID_001", "０01", "_x0008_1", "id-1"] {
        assert_eq!(normalise_patient_id(raw).as_deref(), Some("001"), "{raw}");
    }
    assert_eq!(normalise_patient_id("ID1234").as_deref(), Some("1234"));
    assert_eq!(normalise_patient_id("000").as_deref(), Some("000"));
    assert_eq!(normalise_patient_id("P-7").as_deref(), Some("P-7"));
    assert_eq!(normalise_patient_id("환자 3").as_deref(), Some("환자 3"));
    assert_eq!(normalise_patient_id("1.5").as_deref(), Some("1.5"));
    for raw in ["", "  ", "ID", "id "] {
        assert_eq!(normalise_patient_id(raw), None, "{raw}");
    }
}

#[test]
fn the_workbook_of_the_data_set() {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet().set_name("ID").unwrap();
    for (column, name) in ["ID", "나이", "성별", "체중(몸무게)", "키(신장)"].iter().enumerate() {
        sheet.write(0, column as u16, *name).unwrap();
    }
    let sexes = ["\u{8}여", "\u{8}남", "남", "여", " 여", " 남"];
    for (row, sex) in (1..).zip(sexes) {
        sheet.write(row, 0, format!("{row:03}")).unwrap();
        sheet.write(row, 1, 30 + row).unwrap();
        sheet.write(row, 2, sex).unwrap();
        sheet.write(row, 3, 60.5).unwrap();
        sheet.write(row, 4, 170).unwrap();
    }
    sheet.write(2, 5, "네일있음").unwrap();
    sheet.write(551, 25, " ").unwrap();
    let (patients, problems) = read_bytes_as("meta_data.xlsx", &workbook.save_to_buffer().unwrap()).unwrap();
    let sexes: Vec<_> = patients.iter().map(|p| (p.sex_raw.as_str(), p.sex.map(Sex::name))).collect();
    let (f, m) = (Some("F"), Some("M"));
    assert_eq!(sexes, [("_x0008_여", f), ("_x0008_남", m), ("남", m), ("여", f), (" 여", f), (" 남", m)]);
    let first = &patients[0];
    assert_eq!((first.patient_id.as_str(), first.row, first.note.as_str()), ("001", Some(2), ""));
    assert_eq!((first.age, first.weight_kg, first.height_cm), (Some(31.0), Some(60.5), Some(170.0)));
    assert_eq!(patients[1].note, "네일있음");
    assert_eq!(
        summary(&problems),
        [
            ("ID!C2", "_x0008_여", "read as F", "info"),
            ("ID!C3", "_x0008_남", "read as M", "info"),
            ("ID!F3", "네일있음", "kept as note", "info"),
            ("ID!C6", " 여", "read as F", "info"),
            ("ID!C7", " 남", "read as M", "info"),
        ]
    );
    assert_eq!(problems[0].reason, "stray character code _x0008_ removed; cleaned text: 여");
    assert_eq!(problems[0].patient_id.as_deref(), Some("001"));
}

#[test]
fn titles_order_names_and_types_vary() {
    let mut workbook = Workbook::new();
    workbook.add_worksheet().set_name("notes").unwrap().write(0, 0, "hello").unwrap();
    let sheet = workbook.add_worksheet().set_name("환자").unwrap();
    sheet.merge_range(0, 1, 0, 4, "손 엑스레이 연구 대상자", &rust_xlsxwriter::Format::new()).unwrap();
    for (column, name) in ["비고", "Height (m)", "연령", "Gender", "Patient No.", "Weight"].iter().enumerate() {
        sheet.write(3, column as u16, *name).unwrap();
    }
    sheet.write(4, 0, "반지").unwrap();
    sheet.write(4, 1, 1.72).unwrap();
    sheet.write(4, 2, "만 35세").unwrap();
    sheet.write(4, 3, "Male").unwrap();
    sheet.write(4, 4, 7).unwrap();
    sheet.write(4, 5, "６５ kg").unwrap();
    sheet.write(6, 4, "ID008").unwrap();
    sheet.write_formula(6, 5, Formula::new("=1/0").set_result("#DIV/0!")).unwrap();
    sheet.write(6, 3, 2).unwrap();
    sheet.write(6, 2, true).unwrap();
    let (patients, problems) = read_bytes_as("m.xlsx", &workbook.save_to_buffer().unwrap()).unwrap();
    let p = &patients[0];
    assert_eq!((p.patient_id.as_str(), p.row, p.note.as_str()), ("007", Some(5), "비고: 반지"));
    assert_eq!((p.height_cm, p.age, p.sex, p.weight_kg), (Some(172.0), Some(35.0), Some(Sex::M), Some(65.0)));
    let p = &patients[1];
    assert_eq!((p.patient_id.as_str(), p.age, p.sex, p.height_cm), ("008", None, None, None));
    let found = summary(&problems);
    for expected in [
        ("notes", "", "sheet left out; 환자 is read", "info"),
        ("환자!1", "손 엑스레이 연구 대상자", "skipped", "info"),
        ("환자!C5", "만 35세", "read as 35 years", "info"),
        ("환자!F5", "６５ kg", "read as 65 kg", "info"),
        ("환자!6", "", "skipped", "info"),
        ("환자!C7", "true", "left empty", "error"),
        ("환자!D7", "2", "left empty", "error"),
        ("환자!B7", "", "left empty", "info"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:#?}");
    }
    assert!(problems.iter().any(|p| p.place == "환자!F7" && p.severity == ProblemSeverity::Error), "{found:#?}");
}

#[test]
fn text_in_every_encoding_and_delimiter() {
    let table = "번호;환자번호;성별;나이;키;몸무게\n1;ID010;여;30;160,5;55\n";
    let cp949 = encoding_rs::EUC_KR.encode(table).0.into_owned();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(table.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let marked = format!("\u{feff}{table}").into_bytes();
    let tabs = table.replace(';', "\t").into_bytes();
    let hinted = format!("sep=;\r\n{table}").into_bytes();
    for (what, bytes, line) in
        [("949", cp949, 2), ("16", utf16, 2), ("mark", marked, 2), ("tabs", tabs, 2), ("hint", hinted, 3)]
    {
        let (patients, problems) = read_bytes_as("m.csv", &bytes).unwrap();
        let p = &patients[0];
        assert_eq!((p.patient_id.as_str(), p.sex, p.row), ("010", Some(Sex::F), Some(line)), "{what}");
        assert_eq!((p.height_cm, p.weight_kg, p.age), (Some(160.5), Some(55.0), Some(30.0)), "{what}");
        assert_eq!(p.note, "번호: 1");
        assert_eq!(problems.iter().any(|p| p.action.contains("949")), what == "949");
        let comma = problems.iter().find(|p| p.reason == "decimal comma").unwrap();
        assert_eq!(comma.place, format!("line {line} column 키"));
    }
    assert_eq!(only("id,height\n1,\"172,5\"\n").height_cm, Some(172.5));
    // Neither UTF-8 nor Korean: read as far as possible, with a warning.
    let (patients, problems) = read_bytes_as("m.csv", b"id,sex\n1,F\n2,\xff\xff\n").unwrap();
    assert_eq!(patients[0].sex, Some(Sex::F));
    assert!(problems.iter().any(|p| p.severity == ProblemSeverity::Warning && p.action.contains("UTF-8")));
}

#[test]
fn units_and_unusual_values() {
    for (height, expected, severity) in [
        ("172cm", Some(172.0), "info"),
        ("1.72 m", Some(172.0), "info"),
        ("1.72", Some(172.0), "warning"),
        ("1720", Some(172.0), "warning"),
        ("5'8\"", Some(172.72), "info"),
        ("약 172", Some(172.0), "warning"),
        ("120", Some(120.0), "warning"),
        ("260", None, "error"),
        ("-172", None, "error"),
        ("tall", None, "error"),
        ("170~172", None, "error"),
        ("35세", None, "error"),
        ("65kg", None, "error"),
        ("", None, "info"),
        ("미상", None, "info"),
    ] {
        let quoted = height.replace('"', "\"\"");
        let (patients, problems) = csv(&format!("id,sex,age,height,weight\n1,F,30,\"{quoted}\",\n"));
        assert_eq!(patients[0].height_cm, expected, "{height}");
        let problem = problems.iter().find(|p| p.place == "line 2 column height").unwrap();
        assert_eq!((problem.severity.name(), problem.raw.as_str()), (severity, height));
        assert_eq!(problem.action == "left empty", expected.is_none(), "{height}");
    }
    let clean = csv("id,sex,age,height,weight\n1,F,30,160,55\n").1;
    assert_eq!(clean, []);
    assert_eq!(only("id,age,weight (lb)\n1,36개월,143\n").age, Some(3.0));
    assert_eq!(only("id,age,weight (lb)\n1,36,143\n").weight_kg, Some(64.863709));
    assert_eq!(only("id,age\n1,121\n").age, None);
    let reason = |row: &str| csv(&format!("id,sex,age,height,weight\n{row}\n")).1.remove(0).reason;
    assert_eq!(reason("1,F,30,170,560"), "implausible weight: 560 kg; expected 2 to 300");
    assert_eq!(reason("1,F,30,170,30"), "unusual weight for an adult; 35 to 150 kg is usual");
    assert_eq!(reason("1,F,30,170,35 years"), "unit in the cell; wrong unit for weight");
}

#[test]
fn swapped_values_and_columns_are_swapped_back() {
    for (height, weight) in [("65", "172"), ("65kg", "172"), ("65", "172cm"), ("65kg", "1.72m")] {
        let (patients, problems) = csv(&format!("id,sex,age,height,weight\n1,F,30,160,50\n2,F,30,{height},{weight}\n"));
        assert_eq!((patients[1].height_cm, patients[1].weight_kg), (Some(172.0), Some(65.0)), "{height} {weight}");
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().all(|p| p.severity == ProblemSeverity::Warning && p.reason.contains("swapped")));
    }
    let (_, problems) = csv("id,sex,age,height,weight\n2,F,30,70,175\n");
    let texts: Vec<(&str, &str)> = problems.iter().map(|p| (p.reason.as_str(), p.action.as_str())).collect();
    let reason = "height and weight look swapped (height 70, weight 175)";
    assert_eq!(texts, [(reason, "height read as 175 cm"), (reason, "weight read as 70 kg")]);
    // Values are not swapped if their units contradict it.
    let (patients, problems) = csv("id,sex,age,height,weight\n1,F,30,65cm,172kg\n");
    assert_eq!((patients[0].height_cm, patients[0].weight_kg), (Some(65.0), Some(172.0)));
    assert!(problems.iter().all(|p| p.severity == ProblemSeverity::Warning && p.reason.contains("unusual")));

    let (patients, problems) = csv("id,sex,age,height (cm),weight (kg)\n1,F,30,55,160\n2,M,31,70,175\n3,M,32,80,180\n");
    assert_eq!((patients[2].height_cm, patients[2].weight_kg), (Some(180.0), Some(80.0)));
    assert_eq!(
        summary(&problems),
        [("line 1 column height (cm)", "height (cm); weight (kg)", "the two columns are read as swapped", "warning")]
    );

    let (patients, problems) = csv("id,sex,age,height,weight\n1,30,F,160,55\n2,31,M,175,70\n3,32,M,180,80\n");
    assert_eq!((patients[0].sex, patients[0].age), (Some(Sex::F), Some(30.0)));
    assert_eq!(problems.len(), 1);
}

#[test]
fn rows_without_a_new_patient_are_left_out() {
    let (patients, problems) = csv(
        "id,sex,age,height,weight\n1,F,30,160,55\n,,,,\n1,여,30,160,55\n1,M,30,160,56\n,F,1,1,1\nID,sex,age,height,weight\n\n평균,,30,160,55\n2,M,30,170,70\n",
    );
    assert_eq!(patients.iter().map(|p| p.patient_id.as_str()).collect::<Vec<_>>(), ["001", "002"]);
    assert_eq!(
        summary(&problems),
        [
            ("line 3", "", "skipped", "info"),
            ("line 4 column id", "001", "row left out; row 2 is read", "info"),
            ("line 5 column id", "001", "row left out; row 2 is read", "warning"),
            ("line 6 column id", "F; 1; 1; 1", "row left out", "error"),
            ("line 7 column id", "ID", "row left out", "info"),
            ("line 8", "", "skipped", "info"),
            ("line 9 column id", "평균", "row left out", "warning"),
        ]
    );
    assert!(problems[2].reason.ends_with("sex M instead of F, weight 56 instead of 55"));
}

#[test]
fn headers_may_be_split_missing_or_repeated() {
    let split = "인적사항,,신체,,\nID,성별,나이,키,체중\n1,F,30,160,55\n";
    assert_eq!(only(split).weight_kg, Some(55.0));
    let merged = "ID,인적사항,,신체,\n,성별,나이,키,체중\n1,F,30,160,55\n";
    let p = only(merged);
    assert_eq!((p.patient_id.as_str(), p.sex, p.weight_kg, p.row), ("001", Some(Sex::F), Some(55.0), Some(3)));

    let (patients, problems) = csv("ID,sex,age,height,체중,몸무게\n1,F,30,160,55,56\n");
    assert_eq!((patients[0].weight_kg, patients[0].note.as_str()), (Some(55.0), "몸무게: 56"));
    assert!(problems.iter().any(|p| p.place == "line 1 column 몸무게" && p.severity == ProblemSeverity::Warning));

    let (_, problems) = csv("ID,sex\n1,F\n");
    assert_eq!(problems.iter().filter(|p| p.action == "left empty for all patients").count(), 3);

    let error = read_bytes_as("m.csv", "이름,나이\n가,3\n".as_bytes()).unwrap_err();
    assert!(matches!(&error, MetadataError::NoIdColumn { found, .. } if found == &["이름", "나이"]));
    assert!(read_bytes_as("m.csv", b"").is_err());
    let (patients, problems) = csv("ID,sex,age,height,weight\n");
    assert!(patients.is_empty() && problems.iter().any(|p| p.severity == ProblemSeverity::Error));
}

#[test]
fn of_two_sheets_the_one_with_more_columns_is_read() {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet().set_name("old").unwrap();
    sheet.write(0, 0, "ID").unwrap();
    sheet.write(1, 0, 1).unwrap();
    let sheet = workbook.add_worksheet().set_name("new").unwrap();
    for (column, text) in ["ID", "sex"].iter().enumerate() {
        sheet.write(0, column as u16, *text).unwrap();
    }
    sheet.write(1, 0, 2).unwrap();
    sheet.write(1, 1, "F").unwrap();
    let (patients, problems) = read_bytes_as("m.xlsx", &workbook.save_to_buffer().unwrap()).unwrap();
    assert_eq!(patients[0].patient_id, "002");
    assert!(problems.iter().any(|p| p.place == "old" && p.severity == ProblemSeverity::Warning));
}

#[test]
fn a_file_that_is_no_table_is_an_error_that_says_how_to_fix_it() {
    for (name, bytes, expected) in [
        ("m.xls", &b"\xd0\xcf\x11\xe0"[..], "save it as .xlsx"),
        ("m.xlsx", b"\xd0\xcf\x11\xe0", "without password"),
        ("m.xlsx", b"PK\x03\x04", "not a workbook"),
        ("m.xlsx", b"", "not a workbook"),
        ("m.csv", b"id,sex\n1,\0\n", "not text"),
        ("m.ods", b"x", ".ods cannot be read"),
    ] {
        let message = read_bytes_as(name, bytes).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains(name), "{message}");
    }
    assert!(read(Path::new("/no/such.csv"), "such.csv").unwrap_err().to_string().contains("cannot be read"));
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "[idIDsex성별나이키체중0-9,;\t\n\" ._x{8}-]{0,200}|.{0,100}") {
        let _ = read_bytes_as("m.csv", text.as_bytes());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes_as("m.csv", &bytes);
    }

    #[test]
    fn damaged_tables_keep_their_invariants(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = "ID,성별,나이,키,체중\n1,_x0008_여,30,160cm,55\n2,남,31,1.75,70\n3,F,32,60,175\n".as_bytes().to_vec();
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok((patients, _)) = read_bytes_as("m.csv", &bytes) {
            for p in &patients {
                prop_assert!(p.age.is_none_or(|v| (0.0..=120.0).contains(&v)));
                prop_assert!(p.height_cm.is_none_or(|v| (50.0..=250.0).contains(&v)));
                prop_assert!(p.weight_kg.is_none_or(|v| (2.0..=300.0).contains(&v)));
            }
            let mut ids: Vec<_> = patients.iter().map(|p| &p.patient_id).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), patients.len());
        }
    }
}

#[test]
fn missing_units_are_inferred_from_the_columns() {
    let values = |text: &str| {
        let (patients, problems) = csv(text);
        let values: Vec<_> = patients.iter().map(|p| (p.weight_kg.unwrap(), p.height_cm.unwrap())).collect();
        (values, problems.iter().any(|p| p.severity == ProblemSeverity::Warning))
    };
    let near = |found: &[(f64, f64)], expected: &[(f64, f64)]| {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| (a.0 - b.0).abs() < 0.06 && (a.1 - b.1).abs() < 0.06)
    };
    let (imperial, warned) = values("ID,Age,Sex,Weight,Height\n1,31,F,131,65\n2,40,M,176,70\n3,25,F,140,63\n");
    assert!(warned && near(&imperial, &[(59.4, 165.1), (79.8, 177.8), (63.5, 160.0)]), "{imperial:?}");
    let (pounds, warned) = values("ID,Weight,Height\n1,131,165\n2,176,178\n3,140,160\n");
    assert!(warned && near(&pounds, &[(59.4, 165.0), (79.8, 178.0), (63.5, 160.0)]), "{pounds:?}");
    // Swapped columns have each other's spread.
    let (swapped, warned) = values("ID,Weight,Height\n1,165,52\n2,178,80\n3,160,61\n");
    assert!(warned && near(&swapped, &[(52.0, 165.0), (80.0, 178.0), (61.0, 160.0)]), "{swapped:?}");
    let (grams, warned) = values("ID,체중(g),키(mm)\n1,\"52,000\",\"1,605\"\n2,\"71,000\",\"1,750\"\n");
    assert!(!is_any_implausible(&grams) && near(&grams, &[(52.0, 160.5), (71.0, 175.0)]), "{grams:?} {warned}");
    let (dicom, _) = csv("PatientID,PatientSex,PatientAge,PatientSize,PatientWeight\n001,F,031Y,1.6,52\n");
    let p = &dicom[0];
    assert_eq!((p.sex, p.age, p.height_cm, p.weight_kg), (Some(Sex::F), Some(31.0), Some(160.0), Some(52.0)));
}

fn is_any_implausible(values: &[(f64, f64)]) -> bool {
    values.iter().any(|(kg, cm)| !(2.0..300.0).contains(kg) || !(50.0..250.0).contains(cm))
}

#[test]
fn cells_marked_as_text_for_excel_and_old_line_ends_are_read() {
    for text in ["ID,Age\r001,31\r", "ID,Age\n=\"001\",31\n", "ID,Age\n'001,31\n", "ID,Age\n\"=\"\"001\"\"\",31\n"] {
        let (patients, _) = read_bytes_as("m.csv", text.as_bytes()).unwrap();
        assert_eq!((patients[0].patient_id.as_str(), patients[0].age), ("001", Some(31.0)), "{text:?}");
    }
}

#[test]
fn a_hidden_sheet_is_not_read() {
    let mut workbook = rust_xlsxwriter::Workbook::new();
    for (name, ages) in [("ID", &[31.0][..]), ("2019", &[28.0, 50.0])] {
        let sheet = workbook.add_worksheet().set_name(name).unwrap();
        if name == "2019" {
            sheet.set_hidden(true);
        }
        sheet.write(0, 0, "ID").unwrap();
        sheet.write(0, 1, "나이").unwrap();
        for (row, age) in (1..).zip(ages) {
            sheet.write(row, 0, format!("{row:03}")).unwrap();
            sheet.write(row, 1, *age).unwrap();
        }
    }
    let (patients, problems) = read_bytes_as("m.xlsx", &workbook.save_to_buffer().unwrap()).unwrap();
    assert_eq!(patients.iter().map(|p| p.age).collect::<Vec<_>>(), [Some(31.0)]);
    assert!(problems.iter().any(|p| p.reason.contains("hidden") && p.place == "2019"), "{problems:?}");
}

#[test]
fn text_with_too_many_cells_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta_data.csv");
    let read = |text: String| {
        std::fs::write(&path, text).unwrap();
        read(&path, "meta_data.csv").map(|read| read.content.len()).map_err(|e| e.to_string())
    };
    let columns = |n: usize| format!("ID,sex\n001,F{}\n", ",".repeat(n - 2));
    assert_eq!(read(columns(16_384)), Ok(1));
    assert!(read(columns(16_385)).unwrap_err().contains("line 2: 16385 fields"));
    let message = read(format!("ID\n{}", "1,2,3,4,5,6,7,8,9,10\n".repeat(100_000))).unwrap_err();
    assert!(message.contains("line 100001: more than 1000000 filled cells"), "{message}");
}
