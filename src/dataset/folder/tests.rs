use std::fs;
use std::path::Path;

use super::*;

/// Creates the files, each with its own path as content.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    root
}

fn images(layout: &Listing) -> Vec<&str> {
    layout.images.iter().map(|i| i.image.as_str()).collect()
}

fn problem<'a>(layout: &'a Listing, file: &str) -> &'a Problem {
    let found: Vec<_> = layout.problems.iter().filter(|p| p.file == file).collect();
    assert_eq!(found.len(), 1, "{file}: {:?}", layout.problems);
    found[0]
}

#[test]
fn subset_folders_with_patients() {
    let root = tree(&[
        "train/DCM/ID002/image1661144206667.png",
        "train/DCM/ID002/image1661144200000.png",
        "train/DCM/ID001/image1661130828152_R.png",
        "train/DCM/ID001/image1661130828999_L.PNG",
        "train/outputs_json/ID001/image1661130828152_R.json",
        "train/outputs_json/ID001/image1661130828999_L.json",
        "train/outputs_json/ID002/image1661144206667.json",
        "train/outputs_json/ID002/image1661144200000.JSON",
        "test/DCM/ID040/image1661319116107.png",
        "test/DCM/ID040/.DS_Store",
        "test/DCM/ID040/._image1661319116107.png",
        "__MACOSX/train/DCM/ID001/image1.png",
        "report/figure.png",
        "meta_data.xlsx",
        "~$meta_data.xlsx",
    ]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(
        images(&layout),
        [
            "train/DCM/ID001/image1661130828152_R.png",
            "train/DCM/ID001/image1661130828999_L.PNG",
            "train/DCM/ID002/image1661144200000.png",
            "train/DCM/ID002/image1661144206667.png",
            "test/DCM/ID040/image1661319116107.png",
        ]
    );
    assert_eq!(layout.metadata.as_deref(), Some("meta_data.xlsx"));
    assert_eq!(layout.problems, []);
    let first = &layout.images[0];
    assert_eq!((first.image_id.as_str(), first.patient_id.as_str()), ("image1661130828152_R", "001"));
    assert_eq!(first.annotation.as_deref(), Some("train/outputs_json/ID001/image1661130828152_R.json"));
    assert_eq!(first.timestamp, Some(1_661_130_828_152));
    let sides: Vec<_> = layout.images.iter().map(|i| (i.side, i.side_in_name)).collect();
    let (l, r) = (Some(Side::L), Some(Side::R));
    assert_eq!(sides, [(r, r), (l, l), (r, None), (l, None), (None, None)]);
    assert_eq!(layout.images[4].annotation, None);
    assert_eq!(layout.images[4].subset, Subset::Test);
}

#[test]
fn only_one_subset_and_korean_names() {
    let root = tree(&["Test/엑스레이/환자 3/손 사진.TIFF", "환자정보.csv"]);
    let layout = discover(root.path()).unwrap();
    let entry = &layout.images[0];
    assert_eq!(entry.image, "Test/엑스레이/환자 3/손 사진.TIFF");
    assert_eq!((entry.patient_id.as_str(), entry.subset), ("환자 3", Subset::Test));
    assert_eq!(layout.metadata.as_deref(), Some("환자정보.csv"));
    assert_eq!(layout.problems, []);
}

#[test]
fn flat_folder_with_annotations_in_it_or_in_a_sibling() {
    let in_it =
        tree(&["ID7_R.jpg", "ID7_R.json", "ID7_L.jpeg", "ID7_L.json", "other_R.tif", "other_R.json", "data.csv"]);
    let layout = discover(in_it.path()).unwrap();
    let ids: Vec<_> = layout.images.iter().map(|i| (i.patient_id.as_str(), i.side)).collect();
    assert_eq!(ids, [("007", Some(Side::L)), ("007", Some(Side::R)), ("other", Some(Side::R))]);
    assert!(layout.images.iter().all(|i| i.subset == Subset::Train && i.annotation.is_some()));
    assert_eq!(layout.problems, []);

    for [pictures, outlines] in [["images", "labels"], ["DCM", "outputs_json"], ["사진", "윤곽"]] {
        let root = tree(&[&format!("{pictures}/a.png"), &format!("{outlines}/a.json"), "metadata.csv"]);
        let layout = discover(root.path()).unwrap();
        assert_eq!(layout.images[0].annotation, Some(format!("{outlines}/a.json")));
        assert_eq!((layout.images[0].subset, layout.images[0].patient_id.as_str()), (Subset::Train, "a"));
        assert_eq!(layout.problems, []);
    }

    let bare = tree(&["3/a.png", "ID004/b.png", "metadata.csv"]);
    let layout = discover(bare.path()).unwrap();
    let ids: Vec<_> = layout.images.iter().map(|i| (i.patient_id.as_str(), i.subset)).collect();
    assert_eq!(ids, [("003", Subset::Test), ("004", Subset::Test)]);
}

#[test]
fn files_that_do_not_fit_are_problems() {
    let root = tree(&[
        "train/DCM/ID001/a.png",
        "train/DCM/ID001/b.png",
        "train/DCM/ID002/b.png",
        "train/DCM/ID002/a.jpg",
        "train/DCM/ID003/d.bmp",
        "train/outputs_json/ID001/a.json",
        "train/outputs_json/ID002/b.json",
        "train/outputs_json/ID002/orphan.json",
        "test/DCM/ID001/c.png",
    ]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(images(&layout), ["train/DCM/ID001/a.png", "train/DCM/ID001/b.png", "test/DCM/ID001/c.png"]);
    assert!(problem(&layout, "train/DCM/ID002/b.png").reason.contains("train/DCM/ID001/b.png"));
    assert_eq!(problem(&layout, "train/DCM/ID002/a.jpg").severity, ProblemSeverity::Error);
    assert!(problem(&layout, "train/DCM/ID003/d.bmp").reason.contains("1 file ending in .bmp"));
    assert_eq!(problem(&layout, "train/outputs_json/ID002/orphan.json").action, "annotation left out");
    let without = problem(&layout, "train/DCM/ID001/b.png");
    assert_eq!((without.image_id.as_deref(), without.patient_id.as_deref()), (Some("b"), Some("001")));
    assert_eq!((layout.metadata.as_deref(), layout.problems.len()), (None, 5));
    let paths: Vec<_> = layout.problems.iter().map(|p| &p.file).collect();
    assert!(paths.is_sorted());
}

#[test]
fn annotation_in_the_wrong_patients_folder_is_used_with_a_warning() {
    let root = tree(&["train/DCM/ID001/a.png", "train/outputs_json/ID002/a.json", "meta_data.csv"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.images[0].annotation.as_deref(), Some("train/outputs_json/ID002/a.json"));
    assert_eq!(problem(&layout, "train/outputs_json/ID002/a.json").severity, ProblemSeverity::Warning);

    let root = tree(&["train/DCM/ID001/a.png", "train/j/ID002/a.json", "train/j/ID003/a.json", "meta_data.csv"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.images[0].annotation, None);
    assert_eq!(layout.problems.iter().filter(|p| p.severity == ProblemSeverity::Error).count(), 2);
}

#[test]
fn names_match_in_composed_and_decomposed_form() {
    // The same name as stored by macOS and by Windows.
    let (decomposed, composed) = ("\u{1109}\u{1169}\u{11ab}", "\u{c190}");
    let root = tree(&[
        &format!("train/DCM/{decomposed}/{decomposed}1.png"),
        &format!("train/labels/{composed}/{composed}1.json"),
        "train/DCM/ID001/a.png",
        "train/labels/ID001/a.png.json",
        "meta_data.xlsx",
    ]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.problems, []);
    let ids: Vec<_> = layout.images.iter().map(|i| (i.image_id.clone(), i.patient_id.clone())).collect();
    assert_eq!(ids, [("a".into(), "001".into()), (format!("{composed}1"), composed.into())]);
    assert!(layout.images.iter().all(|i| i.annotation.is_some() && root.path().join(&i.image).is_file()));
}

#[test]
fn two_annotations_of_one_image() {
    let root = tree(&["images/a.png", "images/a.json", "labels/a.json", "meta_data.csv"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.images[0].annotation.as_deref(), Some("images/a.json"));
    assert!(problem(&layout, "labels/a.json").reason.contains("images/a.json"));
}

#[test]
fn a_side_that_the_other_image_has_in_its_name_is_left_empty() {
    let root = tree(&["ID1/x1661130828152.png", "ID1/x1661130829999_R.png", "meta_data.csv"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.images[0].side, None);
    assert_eq!(layout.images[1].side, Some(Side::R));
    assert!(problem(&layout, "ID1/x1661130828152.png").reason.contains("x1661130829999_R"));
}

#[test]
fn the_metadata_file_is_chosen_by_name() {
    let root = tree(&["a.png", "aaa.xlsx", "Meta_Data.CSV", "patients.xlsx"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.metadata.as_deref(), Some("Meta_Data.CSV"));
    let found = problem(&layout, "Meta_Data.CSV");
    assert_eq!(found.severity, ProblemSeverity::Info);
    assert!(found.reason.contains("patients.xlsx, aaa.xlsx"));

    let root = tree(&["a.png", "b.xlsx", "a.xlsx"]);
    let layout = discover(root.path()).unwrap();
    assert_eq!(layout.metadata.as_deref(), Some("a.xlsx"));
    assert_eq!(problem(&layout, "a.xlsx").severity, ProblemSeverity::Warning);

    let root = tree(&["a.png"]);
    fs::write(root.path().join("pred.csv"), "image_name,class,rle\n").unwrap();
    assert_eq!(discover(root.path()).unwrap().metadata, None);
}

#[test]
fn no_images_and_no_folder() {
    let root = tree(&["train/outputs_json/ID001/a.json"]);
    assert!(matches!(discover(root.path()), Err(DatasetError::NoImages { .. })));
    assert!(matches!(discover(Path::new("/no/such/folder")), Err(DatasetError::Io { .. })));
}

#[cfg(unix)]
#[test]
fn links_sockets_and_invalid_names_are_problems() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let root = tree(&["train/DCM/ID001/a.png", "train/outputs_json/ID001/a.json", "meta_data.csv"]);
    let folder = root.path().join("train/DCM/ID001");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xb0\xa1.png")), "x").unwrap();
    symlink("loop.png", folder.join("loop.png")).unwrap();
    symlink(root.path(), folder.join("up")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.join("s.png")).unwrap();
    let layout = discover(root.path()).unwrap();
    assert_eq!(images(&layout), ["train/DCM/ID001/a.png"]);
    assert!(problem(&layout, "train/DCM/ID001/\u{fffd}\u{fffd}.png").reason.contains("UTF-8"));
    assert!(problem(&layout, "train/DCM/ID001/loop.png").reason.contains("cannot be read"));
    assert!(problem(&layout, "train/DCM/ID001/s.png").reason.contains("socket"));
    assert!(problem(&layout, "train/DCM/ID001/up").reason.contains("listed already"));
    assert_eq!(layout.problems.len(), 4);
}
