//! The server of the review page by plain HTTP: what it decides, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::Command;

use carpus::dataset::{Corrections, Dataset};
use serde_json::{Value, json};

use super::review_server::{ReviewServer, contents, study};

/// A folder with the corrections file of a test.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("corrections.jsonl")
    }

    fn read(&self) -> Corrections {
        Corrections::read(&self.file()).unwrap()
    }

    /// The actions of all lines.
    fn actions(&self) -> Vec<String> {
        self.read().history().iter().map(|(decision, _)| decision.action.name()).collect()
    }
}

fn decide(server: &ReviewServer, finding: &Value, choice: &str, author: &str) -> (u16, Value) {
    let version = &server.image(finding["image"].as_str().unwrap())["version"];
    let body =
        json!({ "finding": finding["id"], "choice": choice, "author": author, "reason": "seen", "version": version });
    let answer = server.post("/api/decide", &body);
    (answer.status, answer.json())
}

fn state(server: &ReviewServer, finding: &Value) -> Value {
    server.get("/api/states").json()["states"][finding["id"].as_str().unwrap()].clone()
}

#[test]
fn decisions_are_appended_and_undone() {
    let (desk, before) = (Desk::new(), contents(&study().join("data")));
    let server = ReviewServer::start(&desk.file(), 0);
    assert!(!desk.file().exists(), "nothing is written before the first decision");
    let swap = server.finding("swapped_labels");
    assert!(!swap["proposal"].as_object().unwrap().is_empty(), "{swap}");

    let (status, added) = decide(&server, &swap, "accept", "kim");
    assert_eq!(status, 200, "{added}");
    assert_eq!(desk.actions(), ["relabel"]);
    assert_eq!(state(&server, &swap)["state"], "corrected");
    // The decision does what the finding proposes.
    let data = Dataset::open(&study().join("data")).unwrap().with_corrections(desk.read());
    let entry = data.find(swap["image"].as_str().unwrap()).unwrap();
    let read = data.annotation(entry).unwrap().unwrap();
    let stored = Dataset::open(&study().join("data")).unwrap().annotation(entry).unwrap().unwrap();
    for (shape, old) in read.annotation.shapes.iter().zip(&stored.annotation.shapes) {
        let expected = swap["proposal"].get(&old.label).map_or(old.label.as_str(), |new| new.as_str().unwrap());
        assert_eq!(shape.label, expected);
    }

    let undo = json!({ "decision": added["added"][0], "author": "kim" });
    let undone = server.post("/api/undo", &undo);
    assert_eq!(undone.status, 200, "{}", undone.text());
    assert!(desk.read().is_empty() && state(&server, &swap).is_null());
    assert_eq!(server.post("/api/undo", &undo).status, 422, "undone twice");
    let redo = json!({ "decision": undone.json()["added"][0], "author": "kim" });
    assert_eq!(server.post("/api/undo", &redo).status, 200);
    assert_eq!(state(&server, &swap)["state"], "corrected");

    // Accepted again by another curator, it is agreement; by the same one, it is refused. The labels stay.
    assert_eq!(decide(&server, &swap, "accept", "kim").0, 422);
    assert_eq!(decide(&server, &swap, "accept", "lee").0, 200);
    let labels = |server: &ReviewServer| {
        let shapes = server.image(swap["image"].as_str().unwrap())["shapes"].as_array().unwrap().clone();
        shapes.into_iter().map(|shape| shape["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&server), read.annotation.shapes.iter().map(|s| s.label.clone()).collect::<Vec<_>>());
    assert_eq!(state(&server, &swap)["disputed"], false);

    let bright = server.finding("bright_pixels");
    for (choice, expected) in [("keep", "kept"), ("flag", "kept"), ("exclude", "excluded")] {
        assert_eq!(decide(&server, &bright, choice, if choice == "flag" { "lee" } else { "kim" }).0, 200);
        assert_eq!(state(&server, &bright)["state"], expected, "{choice}");
    }
    assert_eq!(decide(&server, &bright, "exclude", "kim").0, 422, "decided already");
    assert_eq!(contents(&study().join("data")), before, "the data is never written to");
}

#[test]
fn curators_agree_or_are_shown_their_conflict() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let findings: Vec<Value> = server.findings().into_iter().filter(|f| f["in_data"] == true).collect();
    let swap = server.finding("swapped_labels");
    // Both keep: agreement, not a conflict.
    assert_eq!(decide(&server, &swap, "keep", "kim").0, 200);
    assert_eq!(decide(&server, &swap, "keep", "lee").0, 200);
    assert_eq!(state(&server, &swap)["disputed"], false);
    // Lee saw the image before kim's correction.
    let old = server.image(swap["image"].as_str().unwrap())["version"].clone();
    assert_eq!(decide(&server, &swap, "accept", "kim").0, 200);
    let late = json!({ "finding": swap["id"], "choice": "accept", "author": "lee", "version": old });
    let refused = server.post("/api/decide", &late);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json()["conflict"]["author"], "kim");
    assert_eq!(state(&server, &swap)["disputed"], true);

    // Bulk: what is kept already is skipped, and an unknown finding refuses all.
    let ids: Vec<&Value> = findings.iter().map(|f| &f["id"]).collect();
    let lines = desk.read().history().len();
    let unknown = json!({ "findings": [findings[0]["id"], "0123456789ab"], "author": "lee" });
    assert_eq!(server.post("/api/keep", &unknown).status, 404);
    assert_eq!(desk.read().history().len(), lines);
    let kept = server.post("/api/keep", &json!({ "findings": ids, "author": "lee", "reason": "looked through" }));
    assert_eq!(kept.status, 200, "{}", kept.text());
    assert!(kept.json()["added"].as_array().unwrap().len() < findings.len());
    let again = server.post("/api/keep", &json!({ "findings": ids, "author": "lee" }));
    assert_eq!(again.json()["added"], json!([]));

    let progress = server.get("/api/progress").json();
    assert!(progress["disputed"].as_u64().unwrap() >= 1, "{progress}");
    let pair = &progress["agreement"][0];
    assert_eq!((&pair["authors"], &pair["same"]), (&json!(["kim", "lee"]), &json!(0)));
    assert!(pair["both"].as_u64().unwrap() >= 1, "{progress}");
    let csv = server.get("/api/summary/csv").text();
    assert_eq!(csv.lines().count(), server.findings().len() + 1);
    assert!(csv.contains("corrected") && csv.contains("looked through"), "{csv}");
    let html = server.get("/api/summary/html").text();
    assert!(
        html.contains("disputed") && html.contains("Cohen&#x27;s kappa") || html.contains("Cohen's kappa"),
        "{html}"
    );
}

#[test]
fn decisions_of_other_programs_appear() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let bright = server.finding("bright_pixels");
    let version = server.get("/api/states").json()["version"].as_u64().unwrap();
    let unchanged = server.get(&format!("/api/states?since={version}")).json();
    assert!(unchanged.get("states").is_none(), "{unchanged}");
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args([
            "corrections",
            "add",
            "--action",
            "exclude",
            "--author",
            "lee",
            "--image",
            bright["image"].as_str().unwrap(),
        ])
        .arg("--corrections")
        .arg(desk.file())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let now = server.get(&format!("/api/states?since={version}")).json();
    assert_eq!(now["states"][bright["id"].as_str().unwrap()]["judgements"][0]["author"], "lee", "{now}");
}

#[test]
fn outlines_and_labels_are_corrected_together() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let image = server.finding("swapped_labels")["image"].as_str().unwrap().to_owned();
    let detail = server.image(&image);
    let shapes = detail["shapes"].as_array().unwrap();
    let (a, b, c) = (&shapes[0], &shapes[1], &shapes[2]);
    let correct = |changes: Value, version: &Value| {
        server.post("/api/correct", &json!({ "image": image, "version": version, "author": "kim", "changes": changes }))
    };
    let changes = json!([
        { "index": a["index"], "label": b["label"], "points": [[10, 10], [60, 10], [10, 60]] },
        { "index": b["index"], "label": a["label"] },
        { "index": c["index"], "drop": true },
    ]);
    let saved = correct(changes.clone(), &detail["version"]);
    assert_eq!(saved.status, 200, "{}", saved.text());
    assert_eq!(desk.actions(), ["replace", "drop", "relabel"]);
    let now = server.image(&image);
    let find = |shape: &Value| now["shapes"].as_array().unwrap().iter().find(|s| s["index"] == shape["index"]).cloned();
    let (new_a, new_b) = (find(a).unwrap(), find(b).unwrap());
    assert_eq!((&new_a["label"], &new_b["label"], find(c)), (&b["label"], &a["label"], None));
    assert_eq!(new_a["points"], json!([[10, 10], [60, 10], [10, 60]]));
    assert_eq!(correct(changes, &detail["version"]).status, 409, "the page has an old version");

    let version = &now["version"];
    let index = &b["index"];
    for (change, reason) in [
        (json!([]), "nothing was changed"),
        (json!([{ "index": 999, "drop": true }]), "no shape 999"),
        (json!([{ "index": index, "label": "Elbow" }]), "not a bone"),
        (json!([{ "index": index, "points": [[0, 0], [1, 1]] }]), "fewer than 3"),
        (json!([{ "index": index, "points": [[0, 0], [9, 0], [300, 9]] }]), "outside the image"),
        (json!([{ "index": index, "drop": true }, { "index": index, "label": "Ulna" }]), "twice"),
        (json!([{ "index": c["index"], "drop": true }]), "no shape"),
        (json!([{ "index": index, "colour": "red" }]), "unknown field"),
    ] {
        let answer = correct(change, version);
        assert!(
            answer.status == 422 && answer.text().contains(reason),
            "{reason}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(desk.read().history().len(), 3);
}

#[test]
fn drafts_survive_a_killed_server() {
    let desk = Desk::new();
    let mut server = ReviewServer::start(&desk.file(), 0);
    let image = server.finding("bright_pixels")["image"].as_str().unwrap().to_owned();
    let put = |server: &ReviewServer, draft: Value| {
        server
            .send("PUT", &format!("/api/draft/{image}"), &json!({ "author": "kim", "draft": draft }).to_string())
            .status
    };
    assert_eq!(put(&server, json!({ "steps": [1] })), 204);
    server.kill();
    let server = ReviewServer::start(&desk.file(), 0);
    assert_eq!(server.image(&image)["draft"], json!({ "steps": [1] }));
    assert_eq!(put(&server, Value::Null), 204);
    assert_eq!(server.image(&image)["draft"], Value::Null);
    assert_eq!(std::fs::read_dir(desk.folder.path()).unwrap().count(), 0, "no draft, no file");
}

#[test]
fn pictures_and_references_show_the_data() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let image = server.finding("swapped_labels")["image"].as_str().unwrap().to_owned();
    let png = server.get(&format!("/api/pixels/{image}"));
    assert_eq!(png.status, 200);
    let data = Dataset::open(&study().join("data")).unwrap();
    let expected = data.image(data.find(&image).unwrap()).unwrap().pixels.into_eight_bit();
    assert_eq!(image::load_from_memory(&png.body).unwrap().into_luma8(), expected);
    let part = server.get(&format!("/api/pixels/{image}?box=10,20,109,69&max=50"));
    let part = image::load_from_memory(&part.body).unwrap();
    assert_eq!((part.width(), part.height()), (50, 25));
    for parameters in ["box=0,0,256,10", "box=5,5,1,1", "box=a", "max=0", "max=999999", "box=1,2,3"] {
        let status = server.get(&format!("/api/pixels/{image}?{parameters}")).status;
        assert_eq!(status, 422, "{parameters}");
    }
    let reference = server.get(&format!("/api/reference/Scaphoid?image={image}")).json();
    let hands = reference["hands"].as_array().unwrap();
    let patient = server.image(&image)["patient"].clone();
    assert!(hands.len() == 5 && reference["median"]["shapes"].as_array().unwrap().len() > 20, "{}", hands.len());
    for hand in hands {
        assert_ne!(server.image(hand["image"].as_str().unwrap())["patient"], patient, "another patient");
    }
    let mask = server.post("/api/mask", &json!({ "image": image, "points": [[2, 3], [6, 3], [6, 5], [2, 5]] })).json();
    assert_eq!(mask, json!({ "rows": [[3, 2, 7], [4, 2, 7], [5, 2, 7]], "area": 15 }));
}

#[test]
fn requests_without_the_right_host_origin_and_token_are_refused() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let (port, token) = (server.port, &server.token);
    let host = format!("Host: 127.0.0.1:{port}");
    let bearer = format!("Authorization: Bearer {token}");
    let page = server.bare("GET", &format!("/?token={token}"), &[&host], "");
    assert_eq!(page.status, 200);
    let headers = page.headers.to_lowercase();
    for header in [
        "content-security-policy: default-src 'self'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "httponly; samesite=strict",
    ] {
        assert!(headers.contains(header), "{header}\n{headers}");
    }
    let cookie = headers.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    assert!(!cookie.contains(token.as_str()));
    assert_eq!(server.bare("GET", "/", &[&host, &cookie], "").status, 200, "the page loads again");
    assert_eq!(server.bare("GET", "/api/queue", &[&host, &cookie], "").status, 401, "the cookie opens no data");

    let paths = [
        "/",
        "/assets/app.js",
        "/api/queue",
        "/api/states",
        "/api/image/a",
        "/api/pixels/a",
        "/api/progress",
        "/nothing",
    ];
    let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
    for path in paths {
        assert_eq!(server.bare("GET", path, &[&host], "").status, 401, "{path} without a token");
        assert_eq!(server.bare("GET", path, &[&host, &wrong], "").status, 401, "{path} with a wrong token");
        for name in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
        ] {
            let status = server.bare("GET", path, &[&format!("Host: {name}"), &bearer], "").status;
            assert_eq!(status, 421, "{path} from {name}");
        }
    }
    let without = server.bare("GET", "/api/queue", &[&bearer], "").status;
    assert!((400..500).contains(&without), "without a host: {without}");
    let bright = server.finding("bright_pixels");
    let version = &server.image(bright["image"].as_str().unwrap())["version"];
    let body = json!({ "finding": bright["id"], "choice": "exclude", "author": "kim", "version": version }).to_string();
    for origin in
        ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
    {
        let origin = format!("Origin: {origin}");
        let status = server
            .bare("POST", "/api/decide", &[&host, &bearer, &origin, "Content-Type: application/json"], &body)
            .status;
        assert_eq!(status, 403, "{origin}");
    }
    let form = server.bare("POST", &format!("/api/decide?token={token}"), &[&host, "Content-Type: text/plain"], &body);
    assert_eq!(form.status, 415, "a form of another page cannot send JSON");
    assert!(!desk.file().exists());
}

#[test]
fn paths_and_bodies_of_attackers_reach_nothing() {
    let desk = Desk::new();
    let server = ReviewServer::start(&desk.file(), 0);
    let bright = server.finding("bright_pixels");
    let image = bright["image"].as_str().unwrap();
    for name in [
        "..%2f..%2fmeta_data.xlsx",
        "%2fetc%2fpasswd",
        "../../../etc/passwd",
        "..%5c..%5cx",
        "%00",
        "%ff",
        "",
        "a%0d%0ab",
        "train%2fDCM%2fID001",
        &format!("x%2f{image}.png"),
        &format!("{image}.png"),
        "%2e%2e",
        &"a".repeat(5000),
    ] {
        for start in ["/api/pixels/", "/api/image/", "/assets/"] {
            let answer = server.get(&format!("{start}{name}"));
            assert!((400..500).contains(&answer.status), "{start}{name}: {} {}", answer.status, answer.text());
            assert!(!answer.text().contains("root:"), "{start}{name}");
        }
    }
    let version = &server.image(image)["version"];
    let too_long = "a".repeat(3000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |author: &str, reason: &str| {
        json!({ "finding": bright["id"], "choice": "keep", "author": author, "reason": reason, "version": version })
            .to_string()
    };
    for (body, what) in [
        (String::new(), "empty"),
        ("{".to_owned(), "not JSON"),
        ("[]".to_owned(), "another type"),
        ("{\"finding\":7}".to_owned(), "a number"),
        ("\u{feff}{}".to_owned(), "a mark"),
        (deep.clone(), "deeply nested"),
        (with("", "x"), "no author"),
        (with("  ", "x"), "a blank author"),
        (with("kim\nlee", "x"), "a line break"),
        (with(&too_long, "x"), "a long name"),
        (with("kim", &too_long), "a long reason"),
        (json!({ "finding": "../x", "choice": "keep", "author": "kim" }).to_string(), "unknown finding"),
        (json!({ "finding": bright["id"], "choice": "delete", "author": "kim" }).to_string(), "unknown choice"),
        (json!({ "finding": bright["id"], "choice": "exclude", "author": "kim" }).to_string(), "no version"),
    ] {
        for path in ["/api/decide", "/api/correct", "/api/keep", "/api/undo", "/api/mask"] {
            let status = server.send("POST", path, &body).status;
            assert!((400..500).contains(&status), "{path}: {what}: {status}");
        }
    }
    // The length alone is enough.
    let (host, bearer) =
        (format!("Host: 127.0.0.1:{}", server.port), format!("Authorization: Bearer {}", server.token));
    let large = format!(
        "POST /api/correct HTTP/1.1\r\n{host}\r\n{bearer}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 5000000\r\n\r\n"
    );
    assert_eq!(server.raw(large.as_bytes()).status, 413);
    for request in ["\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\x16\x03\x01\x02"] {
        server.abuse(request.as_bytes());
    }
    for (method, path) in [("DELETE", "/api/decide"), ("GET", "/api/decide"), ("PUT", "/api/queue"), ("TRACE", "/")] {
        assert_eq!(server.send(method, path, "").status, 405, "{method} {path}");
    }
    let draft = json!({ "author": "kim", "draft": deep }).to_string();
    assert_eq!(server.send("PUT", "/api/draft/..%2fx", &draft).status, 404);
    assert!(!desk.file().exists() && std::fs::read_dir(desk.folder.path()).unwrap().count() == 0);
    assert_eq!(server.get("/api/queue").status, 200, "it still serves");
    // Text of people is data on the page and escaped in the summary.
    let markup = "<script>alert(1)</script>";
    assert_eq!(server.send("POST", "/api/decide", &with(markup, markup)).status, 200);
    let html = server.get("/api/summary/html").text();
    assert!(!html.contains(markup) && html.contains("&lt;script&gt;"), "{html}");
}

#[test]
fn files_that_are_no_corrections_are_left_alone() {
    let desk = Desk::new();
    let run = |file: &Path| {
        let arguments = ["review", "tables", "--data", "data", "--audit", "audit", "--no-browser", "--corrections"];
        let out =
            Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).arg(file).current_dir(study()).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    std::fs::write(desk.file(), "mine\n").unwrap();
    let (code, text) = run(&desk.file());
    assert!(code == Some(1) && text.contains("corrections"), "{text}");
    let (code, text) = run(&study().join("data/train/outputs_json/c.jsonl"));
    assert!(code == Some(1) && text.contains("data"), "{text}");
    std::fs::remove_file(desk.file()).unwrap();
    std::fs::write(desk.file().with_extension("jsonl.drafts"), "mine").unwrap();
    let (code, text) = run(&desk.file());
    assert!(code == Some(1) && text.contains("move it away"), "{text}");
}
