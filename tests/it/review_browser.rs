//! The review page in a real headless Chromium: judged by keyboard, corrected by mouse, reloaded, killed.

use std::path::Path;

use carpus::dataset::Corrections;
use carpus::dataset::corrections::Action;
use serde_json::Value;

use super::devtools::{Chromium, Tab};
use super::review_server::ReviewServer;

/// A page with a curator.
fn enter(browser: &Chromium, person: &str, server: &ReviewServer, author: &str) -> Tab {
    let tab = browser.open(person, &server.url);
    tab.until("document.querySelector('dialog.who input') !== null");
    tab.eval("document.querySelector('dialog.who input').value = ''");
    tab.type_text(author);
    tab.key("Enter");
    ready(&tab);
    tab
}

/// Waits until the page shows an image, with all its decisions.
fn ready(tab: &Tab) {
    tab.until("document.body.dataset.ready === 'true' && document.querySelector('#stage').dataset.image !== ''");
}

/// Waits until the page shows a finding's image.
fn shows(tab: &Tab, finding: &Value) {
    let (id, image) = (finding["id"].as_str().unwrap(), finding["image"].as_str().unwrap());
    tab.until(&format!(
        "carpus.finding.id === '{id}' && document.querySelector('#stage').dataset.image === '{image}' && \
         document.querySelector('#stage').dataset.finding === '{id}'"
    ));
}

fn go(tab: &Tab, finding: &Value) {
    tab.eval(&format!("location.hash = 'finding={}'", finding["id"].as_str().unwrap()));
    shows(tab, finding);
}

fn actions(file: &Path) -> Vec<String> {
    let read = Corrections::read_any(file).unwrap();
    read.history().iter().map(|(decision, _)| decision.action.name()).collect()
}

/// Waits until the page has saved and seen so many lines.
fn saved(tab: &Tab, file: &Path, expected: &[&str]) {
    tab.until("document.querySelector('#saved').className === 'saved'");
    assert_eq!(actions(file), expected);
}

/// Where the centroid of the shape with this label is in the window.
fn centre(tab: &Tab, label: &str) -> [f64; 2] {
    let expression = format!(
        "(() => {{ const s = carpus.editing.shapes().find((s) => s.label === '{label}'); \
         const mean = (a) => s.points.reduce((t, p) => t + p[a], 0) / s.points.length; \
         const at = carpus.viewer.toView([mean(0), mean(1)]); const box = document.querySelector('#view').getBoundingClientRect(); \
         return [at[0] + box.x, at[1] + box.y]; }})()"
    );
    tab.point(&expression)
}

/// Where a vertex of the selected shape is in the window.
fn vertex(tab: &Tab, at: usize) -> [f64; 2] {
    tab.point(&format!(
        "(() => {{ const s = carpus.editing.shape(carpus.viewer.selected); const at = carpus.viewer.toView(s.points[{at}]); \
         const box = document.querySelector('#view').getBoundingClientRect(); return [at[0] + box.x, at[1] + box.y]; }})()"
    ))
}

#[test]
fn findings_are_judged_by_keyboard() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.jsonl");
    let server = ReviewServer::start(&file, 0);
    let browser = Chromium::start();
    let kim = browser.person();
    let tab = enter(&browser, &kim, &server, "kim");
    assert_eq!(tab.eval("location.search"), "", "the token is gone from the address");
    let findings: Vec<Value> = server.findings();
    shows(&tab, &findings[0]);

    // Next and previous; the link names the finding.
    tab.key("j");
    shows(&tab, &findings[1]);
    assert!(tab.eval("location.hash").as_str().unwrap().contains(findings[1]["id"].as_str().unwrap()));
    tab.key("k");
    shows(&tab, &findings[0]);
    // Keep goes on to the next open finding.
    tab.key("o");
    shows(&tab, &findings[1]);
    saved(&tab, &file, &["keep"]);
    tab.until("document.querySelectorAll('#rows .row[data-state=\"kept\"]').length === 1");
    // Undo and redo of a decision.
    tab.key("Ctrl+z");
    shows(&tab, &findings[0]);
    tab.until("carpus.states.size === 0");
    tab.key("Ctrl+Shift+z");
    tab.until("carpus.states.size === 1");
    saved(&tab, &file, &["keep", "undo", "undo"]);

    // Enter accepts a proposal.
    let swap = server.finding("swapped_labels");
    go(&tab, &swap);
    tab.key("c");
    tab.until("document.querySelector('#stage').dataset.comparing === 'true'");
    tab.key("Enter");
    tab.until(&format!("carpus.states.get('{}')?.state === 'corrected'", swap["id"].as_str().unwrap()));
    tab.until("document.querySelector('#saved').className === 'saved'");
    let read = Corrections::read(&file).unwrap();
    let last = &read.history().last().unwrap().0;
    assert!(matches!(last.action, Action::Relabel(_)) && last.author == "kim");
    // Exclude.
    let bright = server.finding("bright_pixels");
    go(&tab, &bright);
    tab.key("x");
    tab.until(&format!("carpus.states.get('{}')?.state === 'excluded'", bright["id"].as_str().unwrap()));

    // Filters, and keeping what they show.
    tab.eval("(() => { const s = document.querySelector('select[name=check]'); s.value = 'bright_pixels'; s.dispatchEvent(new Event('change')); })()");
    tab.until("carpus.queue.shown.length > 0 && carpus.queue.shown.every((f) => f.check === 'bright_pixels')");
    let shown = tab.eval("carpus.queue.shown.length").as_u64().unwrap();
    tab.press("#keepshown");
    tab.press("#confirm-ok");
    tab.until("carpus.queue.shown.every((f) => carpus.queue.state(f.id).judgements.some((j) => j.kind === 'kept' || j.kind === 'excluded'))");
    assert!(actions(&file).iter().filter(|name| *name == "keep").count() as u64 >= shown.min(2));

    assert_eq!(tab.eval(TEXTS), serde_json::json!([]));
    // Help, Korean, a keymap of another program.
    tab.key("?");
    tab.until("document.querySelector('dialog.help') !== null");
    tab.key("Escape");
    tab.until("document.querySelector('dialog') === null");
    tab.press("#language");
    tab.until(
        "document.querySelector('#do-keep').textContent.startsWith('유지') && document.documentElement.lang === 'ko'",
    );
    tab.press("#settings");
    tab.eval("(() => { const s = document.querySelector('#preset'); s.value = 'cvat'; s.dispatchEvent(new Event('change')); })()");
    tab.press("#keys-ok");
    tab.eval("carpus.queue.reset()");
    go(&tab, &findings[0]);
    tab.key("f");
    shows(&tab, &findings[1]);
    tab.key("d");
    shows(&tab, &findings[0]);
    // Nothing came from elsewhere.
    let outside = tab.eval(
        "performance.getEntriesByType('resource').map((r) => r.name).filter((n) => !n.startsWith(location.origin))",
    );
    assert_eq!(outside, serde_json::json!([]));
}

/// Keys, placeholders and actions whose texts differ between the languages, and keymaps with conflicts.
const TEXTS: &str = "(async () => {
  const { LANGUAGES: { en, ko } } = await import('/assets/texts.js');
  const { ACTIONS, PRESETS, conflicts } = await import('/assets/keys.js');
  const marks = (text) => (typeof text === 'string' ? text.match(/\\{\\w+\\}/g) ?? [] : Object.keys(text)).sort().join();
  const differ = [...new Set([...Object.keys(en), ...Object.keys(ko)])].filter((key) => key !== 'checks' && (!en[key] && en[key] !== '' || marks(en[key]) !== marks(ko[key] ?? [])));
  const nameless = ACTIONS.filter((action) => !en.keys[action]);
  return [...differ, ...nameless, ...Object.values(PRESETS).flatMap(conflicts)];
})()";

/// Paints random strokes with the page's own mask, and compares what it traces with how the data set's masks are filled.
const TRACED: &str = "(async () => {
  const { Mask, cleaned } = await import('/assets/geometry.js');
  const { send } = await import('/assets/api.js');
  const [width, height] = carpus.editing.size;
  const wrong = [];
  for (let round = 0; round < 40; round++) {
    const mask = new Mask(width, height);
    let at = [width * Math.random(), height * Math.random()];
    for (let i = 0; i < 5; i++) {
      const to = [at[0] + 60 * (Math.random() - 0.5), at[1] + 60 * (Math.random() - 0.5)];
      mask.stroke(at, to, 12 * Math.random(), 1);
      at = to;
    }
    mask.stroke([width / 2, 0], [width / 2, height], 2, 0);
    const outline = cleaned(mask.outline(), width, height);
    if (new Set(outline.map(String)).size < 3) continue;
    const { rows } = await send(['mask'], { image: carpus.detail.image, points: outline });
    const filled = Mask.fromRows(rows, width, height);
    // Every pixel of the largest part is filled, and what is filled besides are holes: the outline stays.
    const again = cleaned(filled.outline(), width, height);
    const { first, count } = mask.largestPart();
    const all = filled.pixels.reduce((sum, value) => sum + value, 0);
    if (JSON.stringify(again) !== JSON.stringify(outline) || !filled.pixels[first] || all < count) wrong.push({ outline, again, count, all });
  }
  return wrong.slice(0, 1);
})()";

#[test]
fn painted_masks_become_outlines_that_fill_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = ReviewServer::start(&folder.path().join("c.jsonl"), 0);
    let browser = Chromium::start();
    let tab = enter(&browser, &browser.person(), &server, "kim");
    assert_eq!(tab.eval(TRACED), serde_json::json!([]));
}

#[test]
fn an_edit_survives_a_reload_and_a_killed_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.jsonl");
    let mut server = ReviewServer::start(&file, 0);
    let browser = Chromium::start();
    let kim = browser.person();
    let tab = enter(&browser, &kim, &server, "kim");
    let finding = server.finding("swapped_labels");
    go(&tab, &finding);
    let label = finding["labels"][0].as_str().unwrap().to_owned();

    // Select a bone by a click, move a vertex, add one, take that back, restore it.
    tab.eval(&format!("carpus.viewer.fitShapes(carpus.editing.shapes().filter((s) => s.label === '{label}'), 0.5)"));
    tab.click(centre(&tab, &label));
    tab.until("carpus.viewer.selected !== null");
    tab.eval(&format!("carpus.select(carpus.editing.shapes().find((s) => s.label === '{label}').index)"));
    let points = "carpus.editing.shape(carpus.viewer.selected).points.length";
    let before = tab.eval(points).as_u64().unwrap();
    tab.key("e");
    let [x, y] = vertex(&tab, 0);
    tab.drag(&[[x, y], [x - 10.0, y - 12.0], [x - 25.0, y - 30.0]]);
    tab.until("document.querySelector('#stage').dataset.steps === '1'");
    let moved = tab.eval("carpus.editing.shape(carpus.viewer.selected).points[0]");
    let [a, b] = [vertex(&tab, 1), vertex(&tab, 0)];
    tab.drag(&[[(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0], [(a[0] + b[0]) / 2.0 + 15.0, (a[1] + b[1]) / 2.0 - 15.0]]);
    tab.until(&format!("document.querySelector('#stage').dataset.steps === '2' && {points} === {}", before + 1));
    tab.key("Ctrl+z");
    tab.until(&format!("document.querySelector('#stage').dataset.steps === '1' && {points} === {before}"));
    tab.key("Ctrl+Shift+z");
    tab.until(&format!("{points} === {}", before + 1));
    // Paint with the brush: the outline grows.
    let area = "(() => { const p = carpus.editing.shape(carpus.viewer.selected).points; let s = 0; \
                p.forEach(([x, y], i) => { const [u, v] = p[(i + 1) % p.length]; s += x * v - u * y; }); return Math.abs(s) / 2; })()";
    let size = tab.eval(area).as_f64().unwrap();
    tab.key("b");
    let [x, y] = vertex(&tab, 0);
    tab.drag(&[[x, y], [x - 8.0, y - 8.0], [x - 16.0, y - 10.0]]);
    tab.until("document.querySelector('#stage').dataset.steps === '3'");
    assert!(tab.eval(area).as_f64().unwrap() > size + 20.0);
    tab.until("document.querySelector('#stage').dataset.drafted === 'true'");
    assert!(!file.exists(), "an unsaved edit is no decision");

    // The page is loaded again: the edit and its steps are there.
    tab.reload();
    ready(&tab);
    tab.until(
        "document.querySelector('#stage').dataset.steps === '3' && document.querySelector('#draft-discard') !== null",
    );
    tab.key("Ctrl+z");
    tab.key("Ctrl+z");
    tab.until("document.querySelector('#stage').dataset.steps === '1'");
    let index = format!("carpus.editing.shapes().find((s) => s.label === '{label}').index");
    assert_eq!(tab.eval(&format!("carpus.editing.shape({index}).points[0]")), moved);

    // The server is killed: the page says so, and the edit goes on.
    let port = server.port;
    server.kill();
    tab.until("document.body.classList.contains('offline')");
    tab.key("Ctrl+Shift+z");
    tab.until("document.querySelector('#stage').dataset.steps === '2'");
    tab.key("Ctrl+s");
    tab.until("document.querySelector('#saved').className === 'offline'");
    // Another server on the same port has another token: the page opens by its link, with the edit.
    let server = ReviewServer::start(&file, port);
    tab.go(&server.url);
    ready(&tab);
    go(&tab, &finding);
    tab.until("document.querySelector('#stage').dataset.steps === '2'");
    tab.key("Ctrl+s");
    tab.until("document.querySelector('#saved').className === 'saved' && !carpus.editing.isDirty()");
    assert_eq!(actions(&file), ["replace"]);
    let read = Corrections::read(&file).unwrap();
    let Action::Replace { points, shape } = &read.history()[0].0.action else { panic!("no outline") };
    assert_eq!((points.len() as u64, shape.label.as_str()), (before + 1, label.as_str()));
    tab.until("document.querySelector('#stage').dataset.drafted === 'false'");
    assert!(!folder.path().join("c.jsonl.drafts").exists());

    // Exchange two labels by clicking the bones, and draw one again with the pen.
    tab.eval("carpus.viewer.fit()");
    tab.key("s");
    tab.click(centre(&tab, "finger-6"));
    tab.click(centre(&tab, "finger-10"));
    tab.until("document.querySelector('#stage').dataset.steps === '1' && carpus.editing.changes().length === 2");
    tab.eval("carpus.select(carpus.editing.shapes().find((s) => s.label === 'Radius').index)");
    tab.key("p");
    let [x, y] = centre(&tab, "Radius");
    for [dx, dy] in [[-40.0, -30.0], [40.0, -30.0], [30.0, 20.0]] {
        tab.click([x + dx, y + dy]);
    }
    tab.key("Enter");
    tab.until("document.querySelector('#stage').dataset.steps === '2'");
    tab.key("Enter");
    tab.until("document.querySelector('#saved').className === 'saved' && !carpus.editing.isDirty()");
    assert_eq!(actions(&file), ["replace", "replace", "relabel"]);

    // A round trip to labelme: an outline was changed there, and a shape removed.
    tab.eval(
        "(async () => { const { toLabelme } = await import('/assets/labelme.js'); const e = carpus.editing; \
         const file = toLabelme(e.image, e.size, e.shapes()); carpus.readLabelme(JSON.stringify(file)); \
         if (e.isDirty()) throw new Error('the same file changes something'); \
         file.shapes = file.shapes.filter((s) => s.label !== 'Ulna'); file.shapes[0].points = [[5, 5], [40.4, 5], [5, 40]]; \
         carpus.readLabelme(JSON.stringify(file)); })()",
    );
    let changes = tab.eval("carpus.editing.changes().map((c) => c.drop ?? c.points)");
    assert!(changes.as_array().unwrap().contains(&true.into()), "{changes}");
    assert!(changes.as_array().unwrap().contains(&serde_json::json!([[5, 5], [40, 5], [5, 40]])), "{changes}");
    tab.key("Ctrl+s");
    tab.until("document.querySelector('#saved').className === 'saved' && !carpus.editing.isDirty()");
    assert_eq!(actions(&file).len(), 5);
}

#[test]
fn tabs_and_curators_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.jsonl");
    let server = ReviewServer::start(&file, 0);
    let browser = Chromium::start();
    let kim = browser.person();
    let first = enter(&browser, &kim, &server, "kim");
    // A second tab of the same curator knows the token and the name.
    let second = browser.open(&kim, &format!("http://127.0.0.1:{}/", server.port));
    ready(&second);
    let lee = enter(&browser, &browser.person(), &server, "lee");
    let stranger = browser.open(&browser.person(), &format!("http://127.0.0.1:{}/", server.port));
    stranger.until("document.body.innerText.includes('token')");

    let swap = server.finding("swapped_labels");
    for tab in [&first, &second, &lee] {
        go(tab, &swap);
    }
    // An edit appears in the other tab of the same curator, and its undo too.
    first.eval("carpus.editing.relabel(carpus.editing.shapes()[0].index, 'Ulna')");
    second.until("carpus.editing.isDirty() && carpus.editing.shapes()[0].label === 'Ulna'");
    second.key("Ctrl+z");
    first.until("!carpus.editing.isDirty()");
    assert_eq!(lee.eval("carpus.editing.isDirty()"), false);
    // Lee edits while kim accepts.
    let label = swap["labels"][0].as_str().unwrap();
    lee.eval(&format!(
        "carpus.editing.relabel(carpus.editing.shapes().find((s) => s.label === '{label}').index, 'Ulna')"
    ));
    first.key("Enter");
    let corrected = format!("carpus.states.get('{}')?.state === 'corrected'", swap["id"].as_str().unwrap());
    for tab in [&first, &second, &lee] {
        tab.until(&corrected);
    }
    lee.until("document.querySelector('#look-again') !== null");
    lee.key("Ctrl+s");
    lee.until("document.querySelector('#banner').innerText.includes('kim')");
    assert_eq!(actions(&file), ["relabel"], "lee's edit of an old state is not saved");
    lee.press("#look-again");
    lee.until("document.querySelector('#draft-apply') !== null && !carpus.editing.isDirty()");
    lee.press("#draft-discard");
    lee.until("document.querySelector('#banner').hidden");
    // The second tab shows the new labels without being asked.
    second.until("carpus.detail.decisions.length === 1");
    lee.key("o");
    let disputed = format!("carpus.states.get('{}')?.disputed === true", swap["id"].as_str().unwrap());
    for tab in [&first, &second, &lee] {
        tab.until(&disputed);
    }
    assert_eq!(actions(&file), ["relabel", "keep"]);
    first.press("#progress");
    first.until("document.querySelector('dialog.progress table.agreement td')?.textContent === 'kim, lee'");
}
