//! The report in a real headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::report;

/// The browser: `CARPUS_BROWSER`, or the first of the usual names on the path.
pub fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("CARPUS_BROWSER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    found
        .into_iter()
        .find(|p| p.is_file())
        .expect("Chromium is needed: apt-get install chromium, or set CARPUS_BROWSER")
}

/// Opens a page and returns its DOM once it has settled.
fn dom(page: &Path, profile: &Path) -> String {
    let out = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-default-apps", "--disable-extensions", "--virtual-time-budget=5000"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("a DOM is UTF-8")
}

/// Asks the browser itself: which resources were loaded, whether the embedded family draws Hangul, whether
/// anything is wider than its place.
const PROBE: &str = r#"<script>
Promise.resolve().then(async () => {
  await document.fonts.load('16px "Carpus Sans"', '가');
  await document.fonts.load('bold 16px "Carpus Sans Bold"', 'A');
  const wide = [...document.querySelectorAll('main p, main figure, main h2, main .tiles, main .pictures')]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.tagName + ' ' + e.textContent.slice(0, 40));
  const broken = [...document.images].filter(i => i.complete && i.naturalWidth === 0).length;
  const outside = performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith('data:'));
  const said = { title: document.title, fonts: [...document.fonts].map(f => f.family.replaceAll('"', '') + ' ' + f.status), wide, broken, outside,
    sections: document.querySelectorAll('main section[id]').length, figures: document.querySelectorAll('main figure .wide > svg').length,
    page_wide: document.documentElement.scrollWidth > window.innerWidth };
  document.body.dataset.probe = JSON.stringify(said);
}).catch(error => { document.body.dataset.probe = JSON.stringify(String(error)); });
</script>"#;

/// The page with another script, and without the policy that admits only its own.
fn probed_page(html: &str, script: &str) -> String {
    let policy = html.lines().find(|line| line.contains("Content-Security-Policy")).expect("the page has a policy");
    html.replacen(policy, "", 1).replace("</body>", &format!("{script}</body>"))
}

/// What a page says of itself in the browser; `home` is a folder for the browser's profile.
pub fn probe(page: &Path, home: &Path) -> serde_json::Value {
    let html = std::fs::read_to_string(page).unwrap();
    answer(page, &probed_page(&html, PROBE), home)
}

/// Opens other content in place of a page, and returns what its script leaves in `data-probe` of the body.
fn answer(page: &Path, html: &str, home: &Path) -> serde_json::Value {
    // Other tests read the same folder.
    let probed = tempfile::Builder::new().prefix("probed").suffix(".html").tempfile_in(page.parent().unwrap()).unwrap();
    let probed = probed.path();
    std::fs::write(probed, html).unwrap();
    let dom = dom(probed, &home.join("profile"));
    let start = dom.find("data-probe=\"").expect("the probe answered") + "data-probe=\"".len();
    let answer =
        dom[start..].split('"').next().unwrap().replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    serde_json::from_str(&answer.replace("&amp;", "&")).unwrap()
}

/// Sorts and filters a table, enlarges a figure and a picture, and closes them again.
const ACTIONS: &str = r#"<script>
const said = {};
try {
  const table = document.querySelector('#findings table');
  const text = (row, column) => row.cells[column].textContent;
  const heads = [...table.tHead.rows[0].cells].map(head => head.textContent);
  const score = heads.indexOf('score');
  const button = table.tHead.rows[0].cells[score].querySelector('button');
  button.click();
  const scores = () => [...table.tBodies[0].rows].map(row => Number(text(row, score)));
  said.rising = scores().every((value, i, all) => i === 0 || all[i - 1] <= value);
  button.click();
  said.falling = scores().every((value, i, all) => i === 0 || all[i - 1] >= value);
  said.sorted = table.tHead.rows[0].cells[score].getAttribute('aria-sort');
  const filter = document.querySelector('#findings input[aria-label^="Filter: 80"]');
  filter.value = 'ring HIGH';
  filter.dispatchEvent(new Event('input'));
  said.none = [...table.tBodies[0].rows].filter(row => !row.hidden).length;
  filter.value = 'ring';
  filter.dispatchEvent(new Event('input'));
  const left = [...table.tBodies[0].rows].filter(row => !row.hidden);
  said.filtered = left.length;
  said.matching = left.every(row => row.textContent.includes('ring'));
  const dialog = document.querySelector('dialog');
  document.querySelector('#figure-rotation figcaption button').click();
  said.enlarged = dialog.open && dialog.querySelectorAll('svg').length;
  dialog.querySelector('button').click();
  said.closed = !dialog.open;
  document.querySelector('.findings img').click();
  said.full = dialog.querySelector('a').getAttribute('href');
  dialog.close();
  said.folded = [...document.querySelectorAll('#problems details')].every(details => !details.open);
} catch (error) { said.error = String(error); }
document.body.dataset.probe = JSON.stringify(said);
</script>"#;

#[test]
fn tables_sort_and_filter_and_figures_enlarge() {
    let home = tempfile::tempdir().unwrap();
    let page = report::shared().join("report/index.html");
    let html = std::fs::read_to_string(&page).unwrap();
    let said = answer(&page, &probed_page(&html, ACTIONS), home.path());
    assert_eq!(said["error"], serde_json::Value::Null, "{said}");
    for yes in ["rising", "falling", "matching", "closed", "folded"] {
        assert_eq!(said[yes], true, "{yes}: {said}");
    }
    assert_eq!(
        (&said["sorted"], &said["none"], &said["enlarged"]),
        (&"descending".into(), &0.into(), &1.into()),
        "{said}"
    );
    assert!(said["filtered"].as_u64().is_some_and(|n| n > 5 && n < 80), "{said}");
    assert_eq!(said["full"], "pictures/finding-001.jpg", "{said}");
    assert!(page.with_file_name("pictures").join("finding-001.jpg").is_file());
    // With its policy in place, the page's own script runs and an injected one does not.
    let injected = html.replace("</body>", "<script>document.body.dataset.evil = 1;</script></body>");
    let shown = dom_of(&page, &injected, home.path());
    assert!(shown.contains("aria-label=\"Filter: findings\"") && !shown.contains("data-evil"));
}

fn dom_of(page: &Path, html: &str, home: &Path) -> String {
    let other = page.with_file_name("injected.html");
    std::fs::write(&other, html).unwrap();
    dom(&other, &home.join("profile"))
}

/// Asks a page 390 px wide: the size of the smallest figure text, whether anything is wider than the screen, and how much of each
/// table that is shown as a list is blank.
const NARROW: &str = r#"<script>
const said = {};
try {
  const sizes = [...document.querySelectorAll('figure .narrow svg text')].map(t => t.getBoundingClientRect().height);
  said.texts = sizes.length;
  const svg = document.querySelector('figure .narrow svg');
  said.scale = svg.getBoundingClientRect().width / 358;
  said.wide_figures = [...document.querySelectorAll('figure .wide')].filter(f => f.offsetParent !== null).length;
  said.page_wide = document.documentElement.scrollWidth > window.innerWidth;
  said.width = window.innerWidth;
  said.blank = [...document.querySelectorAll('.cards td')].filter(cell => cell.offsetParent !== null && cell.textContent.trim() === '').length;
  said.lists = document.querySelectorAll('.cards').length;
} catch (error) { said.error = String(error); }
parent.document.body.dataset.probe = JSON.stringify(said);
</script>"#;

#[test]
fn the_page_is_readable_at_390_px() {
    let home = tempfile::tempdir().unwrap();
    let page = report::shared().join("report/index.html");
    let html = probed_page(&std::fs::read_to_string(&page).unwrap(), NARROW);
    let escaped = html.replace('&', "&amp;").replace('"', "&quot;");
    // Headless windows are at least 500 px wide; a frame can be narrower.
    let outer = format!(
        "<!doctype html><body><iframe style=\"width:390px;height:900px;border:0\" srcdoc=\"{escaped}\"></iframe></body>"
    );
    let said = answer(&page, &outer, home.path());
    assert_eq!((&said["error"], &said["width"]), (&serde_json::Value::Null, &390.into()), "{said}");
    assert_eq!(
        (&said["page_wide"], &said["wide_figures"], &said["blank"]),
        (&false.into(), &0.into(), &0.into()),
        "{said}"
    );
    assert!(said["texts"].as_u64() > Some(100) && said["lists"].as_u64() > Some(3), "{said}");
    // Figure texts of 12 px are shown with at least 11 px.
    assert!(said["scale"].as_f64().is_some_and(|scale| scale > 0.93), "{said}");
}

#[test]
fn the_report_opens_in_a_browser() {
    let home = tempfile::tempdir().unwrap();
    let page = report::shared().join("report/index.html");
    let said = probe(&page, home.path());
    assert_eq!(said["fonts"], serde_json::json!(["Carpus Sans loaded", "Carpus Sans Bold loaded"]), "{said}");
    assert_eq!(said["outside"], serde_json::json!([]), "{said}");
    assert_eq!(said["wide"], serde_json::json!([]), "{said}");
    assert_eq!((&said["broken"], &said["page_wide"]), (&0.into(), &false.into()), "{said}");
    assert!(said["sections"].as_u64() >= Some(11) && said["figures"].as_u64() >= Some(12), "{said}");
    assert_eq!(said["title"], "손 방사선 사진 / Hands", "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("네일있음"));
}
