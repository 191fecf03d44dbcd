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
    sections: document.querySelectorAll('main section[id]').length, figures: document.querySelectorAll('figure > svg').length,
    page_wide: document.documentElement.scrollWidth > window.innerWidth };
  document.body.dataset.probe = JSON.stringify(said);
}).catch(error => { document.body.dataset.probe = JSON.stringify(String(error)); });
</script>"#;

/// What a page says of itself in the browser; `home` is a folder for the browser's profile.
pub fn probe(page: &Path, home: &Path) -> serde_json::Value {
    let html = std::fs::read_to_string(page).unwrap();
    let probed = page.with_file_name("probed.html");
    std::fs::write(&probed, html.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
    let dom = dom(&probed, &home.join("profile"));
    let start = dom.find("data-probe=\"").expect("the probe answered") + "data-probe=\"".len();
    let answer = dom[start..].split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn the_report_opens_in_a_browser() {
    let home = report::written();
    let out = report::eda(home.path(), "report", 2);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    let page = home.path().join("report/index.html");
    let said = probe(&page, home.path());
    assert_eq!(said["fonts"], serde_json::json!(["Carpus Sans loaded", "Carpus Sans Bold loaded"]), "{said}");
    assert_eq!(said["outside"], serde_json::json!([]), "{said}");
    assert_eq!(said["wide"], serde_json::json!([]), "{said}");
    assert_eq!((&said["broken"], &said["page_wide"]), (&0.into(), &false.into()), "{said}");
    assert_eq!((&said["sections"], &said["figures"]), (&11.into(), &12.into()), "{said}");
    assert_eq!(said["title"], "손 방사선 사진 / Hands", "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("네일있음"));
}
