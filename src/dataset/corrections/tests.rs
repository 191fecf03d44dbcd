use super::*;
use crate::bones::Bone;
use crate::dataset::annotation::{Annotation, Shape};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn line(target: &str, action: &str) -> String {
    let hash = if ["relabel", "drop", "replace"].iter().any(|a| action.contains(&format!(r#""do":"{a}""#))) {
        format!(r#""annotation_sha256":"{HASH}","#)
    } else {
        String::new()
    };
    format!(r#"{{"version":2,{target},"action":{action},{hash}"reason":"seen","author":"kim","time":"2026-03-01"}}"#)
}

fn of_image(id: &str, action: &str) -> String {
    line(&format!(r#""image_id":"{id}""#), action)
}

fn parse(lines: &[String]) -> Corrections {
    Corrections::parse("c.jsonl", lines.join("\n").as_bytes())
}

fn id(line: &str) -> String {
    Decision::parse(line.as_bytes(), 1).unwrap().id()
}

fn undo(of: &str) -> String {
    of_image("a", &format!(r#"{{"do":"undo","decision":"{}"}}"#, id(of)))
}

fn reasons(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|p| p.reason.as_str()).collect()
}

#[test]
fn every_action_is_read_and_written() {
    let more = [
        r#"{"do":"keep"}"#,
        r#"{"do":"keep","check":"swapped_labels","label":"Pisiform|Trapezoid"}"#,
        r#"{"do":"note"}"#,
        r#"{"do":"flag"}"#,
        r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[1,2],[3,-4],[5,6]]}"#,
    ];
    let mut names = HashSet::new();
    for action in ACTIONS.iter().map(|(_, action)| *action).chain(more) {
        let target = if action.contains("metadata") { r#""patient_id":"040""# } else { r#""image_id":"image1""# };
        let text = line(target, action);
        let decision = Decision::parse(text.as_bytes(), 1).unwrap_or_else(|e| panic!("{action}: {e}"));
        assert_eq!(decision.to_line(), text, "written as read");
        names.insert(decision.action.name());
    }
    assert_eq!(names.len(), 10, "`ACTIONS` has every action: {names:?}");
    Decision::parse(line(r#""patient_id":"040""#, r#"{"do":"exclude"}"#).as_bytes(), 1).unwrap();
}

#[test]
fn invalid_lines_are_refused_with_the_reason() {
    let image = r#""image_id":"image1""#;
    let patient = r#""patient_id":"1""#;
    for (target, action, reason) in [
        (image, r#"{"do":"delete"}"#, "unknown action `delete`; actions: exclude, "),
        (image, r#"{"do":"exclude","shape":3}"#, "unknown field"),
        (image, r#"{"do":"relabel","shape":{"index":3,"label":"Ulna"},"to":"Elbow"}"#, "is not a bone"),
        (image, r#"{"do":"relabel","shape":{"index":3,"label":"Ulna"}}"#, "either `shape` and `to`, or `labels`"),
        (image, r#"{"do":"relabel","shape":{"index":3,"label":"Ulna"},"to":"Ulna"}"#, "has the label Ulna already"),
        (image, r#"{"do":"relabel","shape":{"index":3,"label":"Ulna"},"to":"Radios"}"#, "did you mean Radius?"),
        (image, r#"{"do":"relabel","labels":{"Ulna":"Radius"}}"#, "needs `shapes`"),
        (image, r#"{"do":"relabel","labels":{"Ulna":"Radius"},"shapes":[]}"#, "no shape is labelled Ulna"),
        (
            image,
            r#"{"do":"relabel","labels":{"Ulna":"Radius"},"shapes":[{"index":0,"label":"Ulna"},{"index":1,"label":"Hamate"}]}"#,
            "\"Hamate\", which is not renamed",
        ),
        (
            image,
            r#"{"do":"relabel","labels":{"Ulna":"Radius"},"shapes":[{"index":0,"label":"Ulna"},{"index":0,"label":"Ulna"}]}"#,
            "shape 0 twice",
        ),
        (
            image,
            r#"{"do":"relabel","shape":{"index":3,"label":"Ulna"},"to":"Radius","labels":{"Ulna":"Radius"}}"#,
            "either `shape` and `to`, or `labels`",
        ),
        (image, r#"{"do":"relabel","shape":{"index":3},"to":"Ulna"}"#, "missing field `label`"),
        (image, r#"{"do":"relabel","shape":{"index":3,"label":"Ulna","x":1},"to":"Ulna"}"#, "unknown field"),
        (image, r#"{"do":"relabel","labels":{},"shapes":[]}"#, "empty"),
        (image, r#"{"do":"relabel","labels":{"Ulna":"Ulna"},"shapes":[]}"#, "itself"),
        (image, r#"{"do":"relabel","labels":{"Ulna":"Hamate","Radius":"Hamate"},"shapes":[]}"#, "would merge"),
        (image, r#"{"do":"relabel","labels":{"Ulna":"Elbow"},"shapes":[]}"#, "is not a bone"),
        (image, r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[1,1],[2,2]]}"#, "at least 3"),
        (
            image,
            r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[1,1],[1,1],[1,1]]}"#,
            "1 point: an outline",
        ),
        (
            image,
            r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[1,1],[2,2],[2000000,3]]}"#,
            "1,000,000",
        ),
        (image, r#"{"do":"set-metadata","field":"age","value":3}"#, "patient_id"),
        (image, r#"{"do":"set-side","side":"left"}"#, "unknown side \"left\"; expected one of L, R"),
        (image, r#"{"do":"keep","check":""}"#, "leave it out"),
        (image, r#"{"do":"flag","label":"Ulna|Elbow"}"#, "is not a bone"),
        (image, r#"{"do":"undo","decision":"3"}"#, "no decision id"),
        (patient, r#"{"do":"keep"}"#, "keep needs an image_id"),
        (patient, r#"{"do":"set-metadata","field":"sex","value":"W"}"#, "expected F or M"),
        (patient, r#"{"do":"set-metadata","field":"age","value":"3"}"#, "age \"3\": expected a number from 0 to 120"),
        (patient, r#"{"do":"set-metadata","field":"age","value":444}"#, "from 0 to 120"),
        (patient, r#"{"do":"set-metadata","field":"height_cm","value":1.7}"#, "from 50 to 250"),
        (patient, r#"{"do":"set-metadata","field":"weight_kg","value":301}"#, "from 2 to 300"),
        (r#""patient_id":"1","image_id":"a""#, r#"{"do":"exclude"}"#, "either"),
        (r#""image_id":"""#, r#"{"do":"exclude"}"#, "empty"),
    ] {
        let error = Decision::parse(line(target, action).as_bytes(), 1).unwrap_err();
        assert!(error.contains(reason), "{action}: {error}");
    }
    let good = of_image("a", r#"{"do":"drop","shape":{"index":0,"label":"Ulna"}}"#);
    for (from, to, reason) in [
        (format!(r#""annotation_sha256":"{HASH}","#), String::new(), "drop needs annotation_sha256"),
        (HASH.to_owned(), "12ab".to_owned(), "64 hex digits"),
        ("kim".to_owned(), " ".to_owned(), "author"),
        (
            r#""version":2"#.to_owned(),
            r#""version":1"#.to_owned(),
            "version 1: this program reads version 2; add the decision again with `carpus corrections add`",
        ),
        (r#""version":2"#.to_owned(), r#""version":3"#.to_owned(), "a newer carpus"),
        (r#""version":2,"#.to_owned(), String::new(), "no `version`"),
        (r#""time":"2026-03-01""#.to_owned(), r#""date":"2026-03-01""#.to_owned(), "unknown field `date`"),
    ] {
        let error = Decision::parse(good.replace(&from, &to).as_bytes(), 1).unwrap_err();
        assert!(error.contains(reason), "{from} -> {to}: {error}");
    }
    let note = of_image("a", r#"{"do":"note"}"#).replace("seen", " ");
    assert!(Decision::parse(note.as_bytes(), 1).unwrap_err().contains("a note needs a text"));
}

#[test]
fn times_are_dates_or_utc() {
    let text = of_image("a", r#"{"do":"exclude"}"#);
    let read = |time: &str| Decision::parse(text.replace("2026-03-01", time).as_bytes(), 1);
    for good in ["2026-03-01", "2026-12-31T10:00:00Z", "2026-12-31T10:00:00.25Z", "2026-12-31T10:00:00+00:00"] {
        assert!(read(good).is_ok(), "{good}");
    }
    for wrong in [
        "",
        "2026-3-1",
        "01.03.2026",
        "2026-13-01",
        "2026-02-30",
        "2026-03-01x",
        "2026-12-31T10:00:00+09:00",
        "2026-12-31 10:00",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn invalid_lines_are_problems_and_the_others_are_active() {
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(of_image("a", r#"{"do":"exclude"}"#).as_bytes());
    bytes.extend(b"\r\n{\"version\":9}\n\n\xff\xfe\nnot json\n{\"version\":2,\"image_id\":\"b\"\n");
    bytes.extend(of_image("c", r#"{"do":"exclude"}"#).as_bytes());
    let read = Corrections::parse("c.jsonl", &bytes);
    assert!(read.excludes("a", "") && read.excludes("c", "") && !read.excludes("b", ""));
    assert_eq!(read.decisions().map(|d| d.line).collect::<Vec<_>>(), [1, 7]);
    let places: Vec<&str> = read.problems().iter().map(|p| p.place.as_str()).collect();
    assert_eq!(places, ["line 2", "line 4", "line 5", "line 6"]);
    for problem in read.problems() {
        assert_eq!((problem.severity, problem.file.as_str()), (ProblemSeverity::Error, "c.jsonl"));
        assert_eq!(problem.action, "line skipped");
        assert!(!problem.reason.contains("at line") && !problem.raw.is_empty(), "{problem:?}");
    }
    assert_eq!(read.sha256(), sha256(&bytes));
    let none = Corrections::default();
    assert!(none.is_empty() && none.file().is_empty() && none.sha256().is_empty() && none.problems().is_empty());
}

#[test]
fn an_undo_makes_a_decision_inactive_and_can_be_undone() {
    let exclude = of_image("a", r#"{"do":"exclude"}"#);
    let (first, second) = (undo(&exclude), undo(&undo(&exclude)));
    let excluded = |lines: &[&String]| {
        let read = parse(&lines.iter().map(|l| (*l).clone()).collect::<Vec<_>>());
        assert_eq!(read.problems(), []);
        assert!(read.decisions().all(|d| !matches!(d.action, Action::Undo { .. })));
        assert_eq!(read.is_empty(), !read.excludes("a", "1"));
        read.excludes("a", "1")
    };
    assert!(excluded(&[&exclude]));
    assert!(!excluded(&[&exclude, &first]));
    assert!(excluded(&[&exclude, &first, &second]));
    assert!(!excluded(&[&exclude, &first, &second, &undo(&second)]));
    // Two files that begin with the same lines, concatenated: lines that occur twice count once.
    assert!(!excluded(&[&exclude, &first, &exclude]));
    assert!(!excluded(&[&exclude, &exclude, &first, &first]));
    let read = parse(&[exclude.clone(), first.clone(), exclude.clone()]);
    let states: Vec<State> = read.history().iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [State::Undone, State::Active, State::Repeated]);

    // An undo before its decision, of another image, and of a line that does not exist.
    let of_other = first.replace(r#""image_id":"a""#, r#""image_id":"b""#);
    let read = parse(&[first.clone(), exclude.clone(), of_other, undo(&of_image("x", r#"{"do":"exclude"}"#))]);
    assert!(read.excludes("a", "1"));
    let places: Vec<&str> = read.problems().iter().map(|p| p.place.as_str()).collect();
    assert_eq!(places, ["line 1", "line 3", "line 4"]);
    assert!(reasons(read.problems())[0].contains("no earlier line has this id"));
    assert!(reasons(read.problems())[1].contains("which is about a"));
}

#[test]
fn ids_do_not_depend_on_the_file() {
    let exclude = of_image("a", r#"{"do":"exclude"}"#);
    let spaced = exclude.replace(",\"", " , \"");
    assert_eq!(id(&exclude), id(&spaced));
    assert_eq!(id(&exclude).len(), 12);
    let other = of_image("b", r#"{"do":"exclude"}"#);
    let (kim, lee) = (parse(&[exclude.clone(), undo(&exclude)]), parse(std::slice::from_ref(&other)));
    let joined = parse(&[other, exclude.clone(), undo(&exclude)]);
    let ids = |c: &Corrections| c.history().iter().map(|(d, _)| d.id()).collect::<Vec<_>>();
    assert_eq!(ids(&joined), [ids(&lee), ids(&kim)].concat());
    assert!(joined.excludes("b", "") && !joined.excludes("a", ""));
    assert_eq!(
        parse(std::slice::from_ref(&exclude)).with(&[Decision::parse(undo(&exclude).as_bytes(), 0).unwrap()]).history(),
        kim.history()
    );
}

#[test]
fn names_are_compared_in_composed_form_without_folder_and_ending() {
    // The same syllable, decomposed and composed.
    let (decomposed, composed) = ("\u{1109}\u{1169}\u{11ab}_R", "\u{c190}_R");
    let read = parse(&[of_image(&format!("train/{decomposed}.PNG"), r#"{"do":"set-side","side":"L"}"#)]);
    assert_eq!((read.side(composed), read.side(decomposed)), (Some(Side::L), Some(Side::L)));
    assert_eq!(read.targets().collect::<Vec<_>>(), [(&Target::Image(composed.into()), 1)]);
    let patient = parse(&[line(r#""patient_id":"ID40""#, r#"{"do":"exclude"}"#)]);
    assert!(patient.excludes("any", "040") && !patient.excludes("any", "041"));
}

#[test]
fn decisions_are_found_by_image_and_patient() {
    let read = parse(&[
        of_image("a", r#"{"do":"set-side","side":"L"}"#),
        of_image("a", r#"{"do":"set-side","side":"R"}"#),
        of_image("a", r#"{"do":"keep","check":"size","label":"Ulna"}"#),
        of_image("b", r#"{"do":"keep","check":"size"}"#),
        of_image("c", r#"{"do":"keep"}"#),
        line(r#""patient_id":"040""#, r#"{"do":"set-metadata","field":"age","value":30}"#),
        line(r#""patient_id":"040""#, r#"{"do":"set-metadata","field":"age","value":null}"#),
    ]);
    assert_eq!(read.problems(), []);
    assert_eq!(read.side("a"), Some(Side::R));
    assert!(read.keeps("a", "size", "Ulna") && !read.keeps("a", "size", "Radius") && !read.keeps("a", "place", "Ulna"));
    assert!(read.keeps("b", "size", "Radius") && !read.keeps("b", "place", ""));
    assert!(read.keeps("c", "place", "") && !read.keeps("d", "place", ""));
    assert_eq!(
        read.metadata("040"),
        [(CorrectableField::Age, &Value::from(30)), (CorrectableField::Age, &Value::Null)]
    );
    assert_eq!(read.metadata("041"), []);
}

fn annotation(labels: &[&str]) -> Annotation {
    let shape = |(index, label): (usize, &&str)| Shape {
        index,
        label: (*label).to_owned(),
        bone: Bone::all().find(|b| b.name().eq_ignore_ascii_case(label)),
        points: vec![[index as i32, 0], [9, 9], [0, 9]],
    };
    Annotation::new(labels.iter().enumerate().map(shape).collect())
}

fn apply(actions: &[&str], labels: &[&str]) -> (Annotation, Vec<Problem>) {
    let read = parse(&actions.iter().map(|action| of_image("a", action)).collect::<Vec<_>>());
    assert_eq!(read.problems(), []);
    let mut corrected = annotation(labels);
    let problems = read.apply("a", Some(HASH), &mut corrected);
    (corrected, problems)
}

fn labels(annotation: &Annotation) -> Vec<&str> {
    annotation.shapes.iter().map(|s| s.label.as_str()).collect()
}

const SWAP: &str = r#"{"do":"relabel","labels":{"Hamate":"Lunate","Lunate":"Hamate"},"shapes":[{"index":0,"label":"Hamate"},{"index":1,"label":"Lunate"}]}"#;

#[test]
fn equal_decisions_of_two_people_are_applied_once() {
    let drop = r#"{"do":"drop","shape":{"index":2,"label":"Ulna"}}"#;
    let one = r#"{"do":"relabel","shape":{"index":3,"label":"x"},"to":"Radius"}"#;
    let kim = [SWAP, drop, one].map(|action| of_image("a", action));
    let lee = kim.clone().map(|line| line.replace("kim", "lee"));
    let read = parse(&[&kim[..], &lee[..]].concat());
    let mut corrected = annotation(&["Hamate", "Lunate", "Ulna", "x"]);
    assert_eq!(read.apply("a", Some(HASH), &mut corrected), []);
    assert_eq!(labels(&corrected), ["Lunate", "Hamate", "Radius"]);
    // Swapping back is another decision.
    let back = SWAP.replace(r#":0,"label":"Hamate""#, r#":0,"label":"Lunate""#);
    let back = back.replace(r#":1,"label":"Lunate""#, r#":1,"label":"Hamate""#);
    let (after, problems) = apply(&[SWAP, &back], &["Hamate", "Lunate"]);
    assert_eq!((problems, labels(&after)), (Vec::new(), vec!["Hamate", "Lunate"]));
    // If one person undoes the decision, that of the other stays active.
    let undone = parse(&[&kim[..], &[undo(&kim[0])], &lee[..]].concat());
    let mut corrected = annotation(&["Hamate", "Lunate", "Ulna", "x"]);
    assert_eq!(undone.apply("a", Some(HASH), &mut corrected), []);
    assert_eq!(labels(&corrected), ["Lunate", "Hamate", "Radius"]);
}

#[test]
fn an_equal_decision_is_found_unless_a_later_one_changed_it() {
    let patient = |value: &str| {
        line(r#""patient_id":"040""#, &format!(r#"{{"do":"set-metadata","field":"age","value":{value}}}"#))
    };
    let image = |action: &str| of_image("a", action);
    let read = parse(&[
        image(r#"{"do":"exclude"}"#),
        image(r#"{"do":"set-side","side":"L"}"#),
        image(r#"{"do":"set-side","side":"R"}"#),
        patient("41"),
        patient("44"),
        image(SWAP),
        image(r#"{"do":"drop","shape":{"index":2,"label":"Ulna"}}"#),
        image(r#"{"do":"replace","shape":{"index":3,"label":"x"},"points":[[1,2],[3,4],[5,6]]}"#),
        image(r#"{"do":"keep","check":"size"}"#),
        image(r#"{"do":"flag"}"#),
        image(r#"{"do":"note"}"#),
    ]);
    assert_eq!(read.problems(), []);
    let by = |text: String| {
        let text = text.replace("kim", "lee").replace("2026-03-01", "2026-03-02");
        read.decided_by(&Decision::parse(text.as_bytes(), 0).unwrap()).map(|d| d.line)
    };
    assert_eq!(by(image(r#"{"do":"exclude"}"#)), Some(1));
    assert_eq!(by(of_image("b", r#"{"do":"exclude"}"#)), None);
    assert_eq!(by(image(r#"{"do":"set-side","side":"L"}"#)), None);
    assert_eq!(by(image(r#"{"do":"set-side","side":"R"}"#)), Some(3));
    assert_eq!((by(patient("41")), by(patient("44.0"))), (None, Some(5)));
    let back = SWAP.replace(r#":0,"label":"Hamate""#, r#":0,"label":"Lunate""#);
    assert_eq!(by(image(&back.replace(r#":1,"label":"Lunate""#, r#":1,"label":"Hamate""#))), Some(6));
    assert_eq!(by(image(SWAP).replace(HASH, &HASH.replace('0', "1"))), None);
    assert_eq!(by(image(r#"{"do":"drop","shape":{"index":2,"label":"Ulna"}}"#)), Some(7));
    assert_eq!(by(image(r#"{"do":"replace","shape":{"index":3,"label":"x"},"points":[[1,2],[3,4],[5,6]]}"#)), Some(8));
    assert_eq!(by(image(r#"{"do":"replace","shape":{"index":3,"label":"x"},"points":[[1,2],[3,4],[5,7]]}"#)), None);
    assert_eq!((by(image(r#"{"do":"keep","check":"size"}"#)), by(image(r#"{"do":"keep"}"#))), (Some(9), None));
    assert_eq!((by(image(r#"{"do":"flag"}"#)), by(image(r#"{"do":"note"}"#))), (None, None));

    let contradictions = read.contradictions();
    let places: Vec<(&str, ProblemSeverity)> = contradictions.iter().map(|p| (p.place.as_str(), p.severity)).collect();
    assert_eq!(places, [("line 3", ProblemSeverity::Warning), ("line 5", ProblemSeverity::Warning)]);
    assert_eq!(contradictions[1].reason, "age is set to 44 here and to 41 in line 4");
    assert_eq!(parse(&[patient("41"), patient("41.0")]).contradictions(), []);
    assert_eq!(parse(&[patient("41"), patient("44")]).with(&[]).contradictions().len(), 1);
}

#[test]
fn a_file_without_any_decision_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.jsonl");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Corrections::read(&path)
    };
    assert!(read("").unwrap().is_empty() && read("\n").unwrap().is_empty());
    let error = read("image_id,label\na,b\n").unwrap_err();
    assert!(matches!(&error, CorrectionsError::NoDecision { .. }));
    assert!(error.to_string().contains("c.jsonl holds no decision that can be read; the first line: "), "{error}");
    assert!(read("{\"a\":1}\n").unwrap_err().to_string().contains("no `version`"));
    let good = of_image("a", r#"{"do":"exclude"}"#);
    assert_eq!(read(&format!("no JSON\n{good}\n")).unwrap().problems().len(), 1);
    assert_eq!(read(&undo(&good)).unwrap().problems().len(), 1);
    assert_eq!(Corrections::read_any(&path).unwrap().problems().len(), 1);
    let none = Corrections::read(&folder.path().join("none.jsonl")).unwrap_err().to_string();
    assert!(none.starts_with("no corrections file ") && none.contains("`carpus corrections add` makes one"), "{none}");
}

#[test]
fn shapes_are_corrected_in_order() {
    let actions = [
        r#"{"do":"relabel","labels":{"Hamate":"Lunate","Lunate":"Hamate"},"shapes":[{"index":0,"label":"Hamate"},{"index":1,"label":"Lunate"}]}"#,
        r#"{"do":"relabel","shape":{"index":3,"label":"finger-20"},"to":"finger-2"}"#,
        r#"{"do":"drop","shape":{"index":1,"label":"Hamate"}}"#,
        r#"{"do":"replace","shape":{"index":2,"label":"Ulna"},"points":[[5,5],[6,5],[5,6]]}"#,
        r#"{"do":"set-side","side":"L"}"#,
    ];
    let (after, problems) = apply(&actions, &["Hamate", "Lunate", "Ulna", "finger-20"]);
    assert_eq!(problems, []);
    assert_eq!(labels(&after), ["Lunate", "Ulna", "finger-2"]);
    assert_eq!(after.shapes[2].bone, Bone::from_name("finger-2"));
    assert_eq!(after.shapes[1].points, [[5, 5], [6, 5], [5, 6]]);
}

#[test]
fn labels_are_renamed_at_once_and_never_merged() {
    // A decision with the shapes that have the old labels.
    let relabel = |labels: &str, present: &[&str]| {
        let old: std::collections::BTreeMap<String, String> = serde_json::from_str(labels).unwrap();
        let shapes = present.iter().enumerate().filter(|(_, label)| old.contains_key(**label));
        let shapes: Vec<String> = shapes.map(|(i, label)| format!(r#"{{"index":{i},"label":"{label}"}}"#)).collect();
        format!(r#"{{"do":"relabel","labels":{labels},"shapes":[{}]}}"#, shapes.join(","))
    };
    let cycle = r#"{"Hamate":"Lunate","Lunate":"Ulna","Ulna":"Hamate"}"#;
    let cycle = &relabel(cycle, &["Hamate", "Lunate", "Ulna", "Hamate", "Radius"]);
    let (after, problems) = apply(&[cycle], &["Hamate", "Lunate", "Ulna", "Hamate", "Radius"]);
    assert_eq!(problems, []);
    assert_eq!(labels(&after), ["Lunate", "Ulna", "Hamate", "Lunate", "Radius"]);

    let chain = &relabel(r#"{"old":"Lunate","Lunate":"Ulna"}"#, &["old", "Lunate"]);
    assert_eq!(labels(&apply(&[chain], &["old", "Lunate"]).0), ["Lunate", "Ulna"]);
    // "ulna" is read as the class Ulna; correcting its spelling merges nothing.
    let spelling = &relabel(r#"{"ulna":"Ulna"}"#, &["ulna"]);
    assert_eq!(labels(&apply(&[spelling], &["ulna"]).0), ["Ulna"]);

    for (present, reason) in [
        (&["old", "Lunate", "Ulna"], "Lunate would merge with the shapes labelled Ulna"),
        (&["old", "Lunate", "ulna"], "Lunate would merge with the shapes labelled Ulna"),
        (&["old", "Ulna", "Radius"], "no shape is labelled Lunate"),
        (&["Lunate", "old", "Radius"], "the shapes with these labels are 0 Lunate, 1 old; expected 0 old, 1 Lunate"),
        (&["old", "Lunate", "old"], "0 old, 1 Lunate, 2 old; expected 0 old, 1 Lunate"),
    ] {
        let (after, problems) = apply(&[chain], present);
        assert_eq!(after, annotation(present));
        assert!(problems[0].reason.contains(reason), "{problems:?}");
    }
}

#[test]
fn a_decision_that_does_not_fit_is_a_problem_and_changes_nothing() {
    let actions = [
        r#"{"do":"relabel","shape":{"index":0,"label":"Lunate"},"to":"Ulna"}"#,
        r#"{"do":"drop","shape":{"index":7,"label":"Ulna"}}"#,
    ];
    let (after, problems) = apply(&actions, &["Hamate", "Lunate"]);
    assert_eq!(after, annotation(&["Hamate", "Lunate"]));
    assert_eq!(
        reasons(&problems),
        ["shape 0 is labelled \"Hamate\", expected \"Lunate\"", "the annotation has no shape 7"]
    );
    let drop = r#"{"do":"drop","shape":{"index":0,"label":"Hamate"}}"#;
    let later = r#"{"do":"relabel","shape":{"index":0,"label":"Hamate"},"to":"Ulna"}"#;
    assert_eq!(reasons(&apply(&[drop, later], &["Hamate"]).1), ["shape 0 was dropped by line 1"]);
    assert_eq!((problems[1].place.as_str(), problems[1].image_id.as_deref()), ("line 2", Some("a")));
    assert!(problems[1].raw.contains("drop"));
}

#[test]
fn a_changed_annotation_is_not_corrected() {
    let read = parse(&[of_image("a", SWAP)]);
    let mut corrected = annotation(&["Hamate", "Lunate"]);
    for hash in [None, Some("of another file")] {
        let problems = read.apply("a", hash, &mut corrected);
        assert_eq!(corrected, annotation(&["Hamate", "Lunate"]));
        let reason = if hash.is_none() { "unknown" } else { "has changed since" };
        assert!(problems[0].reason.contains(reason), "{problems:?}");
    }
    assert_eq!(read.apply("b", None, &mut corrected), []);
    assert_eq!(read.apply("a", Some(HASH), &mut corrected), []);
    assert_eq!(labels(&corrected), ["Lunate", "Hamate"]);
}

fn exclude(image: &str) -> Decision {
    Decision::parse(of_image(image, r#"{"do":"exclude"}"#).as_bytes(), 0).unwrap()
}

#[test]
fn two_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corrections.jsonl");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for i in 0..10 {
                    append(path, &[exclude(&format!("{writer}-{i}a")), exclude(&format!("{writer}-{i}b"))]).unwrap();
                }
            });
        }
    });
    let read = Corrections::read(&path).unwrap();
    assert_eq!((read.problems(), read.history().len()), (&[][..], 80));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["corrections.jsonl"], "no lock is left");
    // Decisions that were appended together are on adjacent lines.
    for pair in read.history().chunks(2) {
        let [a, b] = [&pair[0].0, &pair[1].0].map(|d| d.target.id());
        assert_eq!(a.trim_end_matches('a'), b.trim_end_matches('b'));
    }
}

#[test]
fn lines_are_added_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/corrections.jsonl");
    let bad = Decision { time: "yesterday".into(), ..exclude("a") };
    let unknown = Decision::parse(undo(&of_image("x", r#"{"do":"exclude"}"#)).as_bytes(), 0).unwrap();
    for (decisions, reason) in [
        ([exclude("b"), bad], "time"),
        ([exclude("b"), unknown], "no earlier line"),
        ([exclude("b"), exclude("b")], "in the file already"),
    ] {
        let error = append(&path, &decisions).unwrap_err();
        assert!(matches!(&error, CorrectionsError::Refused { reason: r } if r.contains(reason)), "{error}");
    }
    assert!(!path.exists());
    assert!(matches!(Corrections::read(&path), Err(CorrectionsError::Missing { .. })));
    assert_eq!(append(&path, &[exclude("a.png")]).unwrap(), 1);
    // An unfinished last line gets a line end; the new line does not continue it.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(b"{\"version\":2,");
    std::fs::write(&path, bytes).unwrap();
    let undo = Decision::parse(undo(&of_image("a", r#"{"do":"exclude"}"#)).as_bytes(), 0).unwrap();
    assert_eq!(append(&path, &[undo]).unwrap(), 3);
    let read = Corrections::read(&path).unwrap();
    assert_eq!((read.problems().len(), read.history().len(), read.is_empty()), (1, 2, true));
}

#[test]
fn a_line_that_is_too_long_is_skipped_and_the_rest_is_read() {
    let line = |reason: &str| {
        format!(
            r#"{{"version":2,"image_id":"a","action":{{"do":"exclude"}},"reason":"{reason}","author":"kim","time":"2026-11-29"}}"#
        )
    };
    let text = format!("{}\n{}\n", line(&"x".repeat(1 << 20)), line("ring"));
    let read = Corrections::parse("c.jsonl", text.as_bytes());
    assert_eq!((read.history().len(), read.problems().len()), (1, 1));
    let problem = &read.problems()[0];
    assert!(problem.place == "line 1" && problem.reason.contains("at most 1048576"), "{problem:?}");
}

/// Place, severity and action of the problems with patients' metadata, from a scan of the spreadsheet `sheet` and one
/// image of each of `patients`, with `corrections` applied.
fn metadata_problems(sheet: &str, patients: &[&str], corrections: &[String]) -> Vec<(String, ProblemSeverity, String)> {
    use crate::dataset::Dataset;
    use crate::scan::{ScanSettings, scan};
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for patient in patients {
        let folder = root.path().join("test/DCM").join(format!("ID{patient}"));
        std::fs::create_dir_all(&folder).unwrap();
        image::GrayImage::from_pixel(8, 8, image::Luma([9])).save(folder.join(format!("image{patient}.png"))).unwrap();
    }
    std::fs::write(root.path().join("meta_data.csv"), format!("ID,sex,age,height,weight\n{sheet}")).unwrap();
    let dataset = Dataset::open(root.path()).unwrap().with_corrections(parse(corrections));
    let settings = ScanSettings { jobs: 1, ..ScanSettings::default() };
    let tables = scan(&dataset, out.path(), &settings, &crate::progress::Silent).unwrap().tables;
    let of_metadata = tables.problems.into_iter().filter(|p| p.patient_id.is_some() && p.image_id.is_none());
    of_metadata.map(|p| (p.place, p.severity, p.action)).collect()
}

fn set(patient: &str, field: &str, value: &str) -> String {
    let action = format!(r#"{{"do":"set-metadata","field":"{field}","value":{value}}}"#);
    line(&format!(r#""patient_id":"{patient}""#), &action)
}

#[test]
fn a_correction_settles_only_the_problem_of_its_field() {
    let problem = |place: &str, severity, action: &str| (place.to_owned(), severity, action.to_owned());
    let (height, weight) = (set("2", "height_cm", "175"), set("2", "weight_kg", "70"));
    let swapped = |corrections: &[String]| metadata_problems("2,M,31,70,175\n", &["002"], corrections);
    let height_read = problem("line 2 column height", ProblemSeverity::Warning, "height read as 175 cm");
    let height_set = problem("line 2 column height", ProblemSeverity::Info, "set by line 1 of c.jsonl");
    let weight_read = problem("line 2 column weight", ProblemSeverity::Warning, "weight read as 70 kg");
    let weight_set = problem("line 2 column weight", ProblemSeverity::Info, "set by line 2 of c.jsonl");
    assert_eq!(swapped(&[]), [height_read, weight_read.clone()]);
    assert_eq!(swapped(std::slice::from_ref(&height)), [height_set.clone(), weight_read]);
    assert_eq!(swapped(&[height, weight]), [height_set, weight_set]);

    // The text of the problem need not name the field.
    let unreadable = |correction: String| metadata_problems("2,x,31,175,70\n", &["002"], &[correction]);
    let sex = |severity, action| [problem("line 2 column sex", severity, action)];
    assert_eq!(unreadable(set("2", "age", "30")), sex(ProblemSeverity::Error, "left empty"));
    assert_eq!(unreadable(set("2", "sex", "\"M\"")), sex(ProblemSeverity::Info, "set by line 1 of c.jsonl"));

    // A second row of a patient leaves each field in doubt that differs.
    let repeated =
        |corrections: &[String]| metadata_problems("2,M,31,175,70\n2,F,31,175,71\n", &["002"], corrections).remove(0);
    let (sex, weight) = (set("2", "sex", "\"M\""), set("2", "weight_kg", "70"));
    let left_out = problem("line 3 column ID", ProblemSeverity::Warning, "row left out; row 2 is read");
    assert_eq!(repeated(std::slice::from_ref(&sex)), left_out);
    let settled = problem("line 3 column ID", ProblemSeverity::Info, "set by lines 1, 2 of c.jsonl");
    assert_eq!(repeated(&[sex, weight]), settled);
}

#[test]
fn a_missing_row_is_settled_only_if_all_four_fields_are_set() {
    let all = [
        set("3", "sex", "\"F\""),
        set("3", "age", "30"),
        set("3", "height_cm", "160"),
        // Empty is a decision as well.
        set("3", "weight_kg", "null"),
    ];
    let missing = |corrections: &[String]| {
        let found = metadata_problems("2,M,31,175,70\n", &["002", "003"], corrections);
        let [(place, severity, action)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(place, "");
        (*severity, action.clone())
    };
    assert_eq!(missing(&[]), (ProblemSeverity::Error, "metadata left empty".into()));
    assert_eq!(missing(&[set("3", "note", "\"ring\"")]), (ProblemSeverity::Error, "metadata left empty".into()));
    assert_eq!(missing(&all[..1]), (ProblemSeverity::Error, "age, height and weight left empty".into()));
    assert_eq!(missing(&all[..3]), (ProblemSeverity::Error, "weight left empty".into()));
    assert_eq!(missing(&all), (ProblemSeverity::Info, "set by lines 1, 2, 3, 4 of c.jsonl".into()));
}
