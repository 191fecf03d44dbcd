use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dataset::{Problem, ProblemSeverity};

const FILE: &str = "train/outputs_json/ID001/image1_R.json";

fn parse_text(text: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    parse(text.as_bytes(), Path::new(FILE), FILE).map(|read| (read.content, read.problems))
}

fn document(annotations: Value) -> Value {
    json!({
        "annotations": annotations,
        "attributes": {},
        "file_id": "f",
        "filename": "image1_R.jpg",
        "parent_path": "/",
        "last_modifier_id": "m",
        "metadata": {"width": 3060, "height": 3060},
        "last_workers": [],
    })
}

fn entry(label: &str, points: Value) -> Value {
    json!({"id": "1", "type": "poly_seg", "attributes": {}, "points": points, "label": label})
}

/// The file of these entries, written again with the annotation read from it.
fn written(entries: Value, annotation: &Annotation) -> Value {
    let text = document(entries).to_string();
    Document::parse(text.as_bytes(), Path::new(FILE)).unwrap().with(annotation, (3060, 3060))
}

fn read_entries(annotations: Value) -> (Annotation, Vec<Problem>) {
    parse_text(&document(annotations).to_string()).unwrap()
}

#[test]
fn a_usual_file_has_no_problems() {
    let (annotation, problems) = read_entries(json!([
        entry("Ulna", json!([[1, 2], [3.0, 4], [5, -6]])),
        entry("finger-1", json!([[7, 8], [9, 8], [9, 9]]))
    ]));
    assert_eq!(problems, []);
    assert_eq!(annotation.shapes[0].points, [[1, 2], [3, 4], [5, -6]]);
    assert_eq!(annotation.shapes[0].bone, Some(Bone::ULNA));
    assert_eq!(annotation.shapes[1].index, 1);
    let file =
        json!([entry("Ulna", json!([[1, 2], [3.0, 4], [5, -6]])), entry("finger-1", json!([[7, 8], [9, 8], [9, 9]]))]);
    assert_eq!(
        written(file, &annotation).to_string(),
        document(json!([
            entry("Ulna", json!([[1, 2], [3, 4], [5, -6]])),
            entry("finger-1", json!([[7, 8], [9, 8], [9, 9]]))
        ]))
        .to_string()
    );
}

#[test]
fn a_bad_shape_is_a_problem_and_the_rest_is_kept() {
    let good = entry("Radius", json!([[0, 0], [9, 0], [9, 9]]));
    let cases = [
        (json!("text"), "annotations[1]"),
        (json!({"type": "poly_seg", "points": [[1, 2], [3, 4], [5, 6]]}), "annotations[1]"),
        (json!({"type": "poly_seg", "label": "Ulna"}), "annotations[1]"),
        (json!({"type": "poly_seg", "label": 3, "points": [[1, 2], [3, 4], [5, 6]]}), "annotations[1].label"),
        (json!({"type": "box", "label": "Ulna", "points": [[1, 2], [3, 4], [5, 6]]}), "annotations[1].type"),
        (entry("Ulna", json!([])), "annotations[1].points"),
        (entry("Ulna", json!("1,2")), "annotations[1].points"),
        (entry("Ulna", json!([[1, 2], [3]])), "annotations[1].points[1]"),
        (entry("Ulna", json!([[1, 2], [3, 4, 5]])), "annotations[1].points[1]"),
        (entry("Ulna", json!([[1, 2], [3, 4], [null, 5]])), "annotations[1].points[2]"),
        (entry("Ulna", json!([["1", "2"]])), "annotations[1].points[0]"),
        (entry("Ulna", json!([[1, 1_000_001]])), "annotations[1].points[0]"),
        (entry("Ulna", json!([[-1e300, 1]])), "annotations[1].points[0]"),
        (entry("Ulna", json!([1, 2, 3, 4])), "annotations[1].points[0]"),
    ];
    for (bad, place) in cases {
        let (annotation, problems) = read_entries(json!([good, bad, good]));
        assert_eq!(annotation.shapes.iter().map(|s| s.index).collect::<Vec<_>>(), [0, 2], "{bad}");
        assert_eq!(problems.len(), 1, "{bad}");
        let p = &problems[0];
        assert_eq!(
            (p.place.as_str(), p.severity, p.action.as_str()),
            (place, ProblemSeverity::Error, "shape left out")
        );
        assert_eq!((p.file.as_str(), p.image_id.as_deref()), (FILE, Some("image1_R")));
        // An unusable entry is written back unchanged.
        assert_eq!(written(json!([good, bad, good]), &annotation)["annotations"][1], bad);
    }
}

#[test]
fn repairs_are_reported() {
    let (annotation, problems) = read_entries(json!([
        entry(" FINGER_16", json!([[0.5, 1.5], [2.5, 3], [9, 9]])),
        entry("finger-20", json!([[1, 1]])),
        {"label": "Ulna", "points": [[1, 2], [3, 4], [5, 6]]},
    ]));
    assert_eq!(annotation.shapes[0].bone, Some(Bone::FINGER_16));
    assert_eq!(annotation.shapes[0].label, " FINGER_16");
    assert_eq!(annotation.shapes[0].points, [[0, 2], [2, 3], [9, 9]], "halves to even");
    assert_eq!((annotation.shapes[1].bone, annotation.shapes[1].label.as_str()), (None, "finger-20"));
    assert_eq!(annotation.shapes[2].bone, Some(Bone::ULNA));
    let reported: Vec<_> = problems.iter().map(|p| (p.place.as_str(), p.severity, p.action.as_str())).collect();
    assert_eq!(
        reported,
        [
            ("annotations[0].points", ProblemSeverity::Info, "rounded, halves to even"),
            ("annotations[0].label", ProblemSeverity::Info, "read as finger-16"),
            (
                "annotations[1].points",
                ProblemSeverity::Warning,
                "drawn as a point or a line; draw it again or drop the shape"
            ),
            ("annotations[1].label", ProblemSeverity::Warning, "kept as a shape without class"),
            ("annotations[2]", ProblemSeverity::Info, "read as poly_seg"),
        ]
    );
}

#[test]
fn the_file_may_name_another_image() {
    for (name, expected) in
        [(json!("C:\\x\\image1_R.png"), 0), (json!(null), 0), (json!("image2_R.jpg"), 1), (json!(5), 1)]
    {
        let mut document = document(json!([]));
        document["filename"] = name;
        let (_, problems) = parse_text(&document.to_string()).unwrap();
        assert_eq!(problems.len(), expected, "{document}");
        assert!(problems.iter().all(|p| p.place == "filename" && p.severity == ProblemSeverity::Warning));
    }
}

#[test]
fn a_file_that_is_no_annotation_is_an_error_with_its_place() {
    let message = |bytes: &[u8]| parse(bytes, Path::new(FILE), FILE).unwrap_err().to_string();
    assert!(message(b"{\n \"annotations\": [,]}").starts_with(&format!("{FILE} line 2 column 18: ")));
    assert!(message(b"").contains("line 1 column 0: EOF"));
    assert!(message(b"{\"a\": 1,\n\"b\": \"\xb3\xaa\"}").contains("line 2 column 7: not UTF-8"));
    for text in ["[]", "{}", "3", "{\"annotations\": {}}", "null"] {
        assert!(message(text.as_bytes()).ends_with("no array `annotations` at the top level"), "{text}");
    }
    assert!(message("[".repeat(100_000).as_bytes()).contains("EOF"));
    let deep = format!("{{\"annotations\": [{{\"label\": {}}}]}}", "[".repeat(100_000));
    assert!(message(deep.as_bytes()).contains("recursion"));
    assert!(matches!(read(Path::new("/no/such.json"), FILE), Err(AnnotationError::Io { .. })));
}

#[test]
fn a_byte_order_mark_and_nan_from_python_are_read() {
    let text = "\u{feff}{\"annotations\": [{\"type\": \"poly_seg\", \"label\": \"Ulna\", \"points\": [[1, NaN]]},
          {\"type\": \"poly_seg\", \"label\": \"Radius\", \"points\": [[-Infinity, 2]], \"note\": \"a \\\"NaN\\\"\"},
          {\"type\": \"poly_seg\", \"label\": \"Radius\", \"points\": [[1, 2], [3, 4], [5, 6]]}]}";
    let (annotation, problems) = parse_text(text).unwrap();
    assert_eq!(annotation.shapes.len(), 1);
    assert_eq!(
        problems.iter().map(|p| p.place.as_str()).collect::<Vec<_>>(),
        ["annotations[0].points[0]", "annotations[1].points[0]"]
    );
    let document = Document::parse(text.as_bytes(), Path::new(FILE)).unwrap().with(&annotation, (1, 1));
    assert_eq!(document["annotations"][1]["note"], "a \"NaN\"");
}

#[test]
fn changes_are_written_back() {
    let file = json!([
        entry("Ulna", json!([[1, 2]])),
        entry("Radius", json!([[3, 4]])),
        {"type": "line", "label": "x"},
    ]);
    let (mut annotation, _) = read_entries(file.clone());
    annotation.shapes.remove(0);
    annotation.shapes[0].label = "Ulna".into();
    annotation.shapes[0].points = vec![[5, 6]];
    annotation.shapes.push(Shape {
        index: 3,
        label: "Lunate".into(),
        bone: Bone::from_name("Lunate"),
        points: vec![[7, 8]],
    });
    let document = document(file).to_string();
    let written = Document::parse(document.as_bytes(), Path::new(FILE)).unwrap().with(&annotation, (512, 256));
    assert_eq!(
        written["annotations"],
        json!([
            entry("Ulna", json!([[5, 6]])),
            {"type": "line", "label": "x"},
            {"type": "poly_seg", "attributes": {}, "points": [[7, 8]], "label": "Lunate"},
        ])
    );
    assert_eq!(written["metadata"], json!({"width": 512, "height": 256}));
}

proptest! {
    #[test]
    fn damage_never_panics(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let text = document(json!([entry("Ulna", json!([[1, 2], [3.5, 4]])), entry("뼈", json!([[7, 8]]))])).to_string();
        let mut bytes = text.into_bytes();
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(WithProblems { content: annotation, .. }) = parse(&bytes, Path::new(FILE), FILE) {
            let document = Document::parse(&bytes, Path::new(FILE)).unwrap().with(&annotation, (1, 1));
            let again = parse(document.to_string().as_bytes(), Path::new(FILE), FILE);
            prop_assert!(again.is_ok_and(|again| again.content.shapes.len() == annotation.shapes.len()));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, Path::new(FILE), FILE);
    }
}

#[test]
fn a_repeated_key_is_a_problem_and_the_last_value_is_read() {
    let shape = |keys: &str| format!(r#"{{"type":"poly_seg","label":"Ulna","points":[[1,2],[3,4],[5,6]]{keys}}}"#);
    let read = |text: &str| {
        let (annotation, problems) = parse_text(text).unwrap();
        let reported: Vec<(String, ProblemSeverity)> = problems.into_iter().map(|p| (p.place, p.severity)).collect();
        (annotation.shapes, reported)
    };
    let one = |text: &str| read(&format!(r#"{{"annotations":[{}]}}"#, shape(text)));
    let (shapes, reported) = one(r#","label":"Lunate","points":[[3,4],[5,6],[7,8]],"points":[[5,6],[7,8],[9,10]]"#);
    assert_eq!((&*shapes[0].label, &shapes[0].points[..]), ("Lunate", &[[5, 6], [7, 8], [9, 10]][..]));
    let at = |key: &str| (format!("annotations[0].{key}"), ProblemSeverity::Warning);
    assert_eq!(reported, [at("label"), at("points")]);
    // Also reported if the last value makes the shape unusable.
    let (shapes, reported) = one(r#","points":7,"type":"poly_seg""#);
    assert!(shapes.is_empty());
    assert_eq!(reported, [at("points"), at("type"), ("annotations[0].points".into(), ProblemSeverity::Error)]);

    let whole =
        format!(r#"{{"annotations":[{0},{0}],"filename":"b","filename":"image1_R","annotations":[{0}]}}"#, shape(""));
    let (shapes, reported) = read(&whole);
    assert_eq!(shapes.len(), 1);
    let expected = [("filename".into(), ProblemSeverity::Warning), ("annotations".into(), ProblemSeverity::Warning)];
    assert_eq!(reported, expected);
}

#[test]
fn too_many_shapes_are_refused() {
    let text = |n: usize| format!("{{\"annotations\":[{}0]}}", "0,".repeat(n - 1));
    assert!(parse_text(&text(20_000)).is_ok());
    let message = parse_text(&text(100_001)).unwrap_err().to_string();
    assert!(message.contains("line 1") && message.contains("more than 100000 shapes"), "{message}");
}

#[test]
fn shapes_of_one_bone_are_united() {
    let square = |x: i32| json!([[x, 1], [x + 3, 1], [x + 3, 4], [x, 4]]);
    let (annotation, _) =
        read_entries(json!([entry("Ulna", square(1)), entry("Radius", square(9)), entry("Ulna", square(3))]));
    let masks = annotation.masks(16, 8);
    let one = |x: i32| RunMask::from_polygon(&[[x, 1], [x + 3, 1], [x + 3, 4], [x, 4]], 16, 8);
    assert_eq!(masks[Bone::ULNA], one(1).union(&one(3)).unwrap());
    assert_eq!(masks[Bone::RADIUS], one(9));
}
