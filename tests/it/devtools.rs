//! A headless Chromium that tests control by its developer tools' protocol, over a pipe.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::browser::browser;

/// Time within which a state is reached, ms.
const PATIENCE: u64 = 30_000;

/// A running browser.
pub struct Chromium {
    child: Child,
    wire: Arc<Mutex<Wire>>,
    _profile: tempfile::TempDir,
}

struct Wire {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    sent: u64,
}

impl Wire {
    /// Sends a command and waits for its answer; events are skipped.
    fn ask(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let id = self.sent;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut bytes = Vec::new();
            self.output.read_until(0, &mut bytes).unwrap();
            assert!(!bytes.is_empty(), "the browser has ended");
            let answer: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).unwrap();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// As [`Wire::ask`]; the result of a command that succeeds.
    fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let answer = self.ask(session, method, parameters);
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

/// A tab.
pub struct Tab {
    wire: Arc<Mutex<Wire>>,
    session: String,
}

impl Chromium {
    /// Starts the browser with an empty profile.
    pub fn start() -> Chromium {
        let profile = tempfile::tempdir().unwrap();
        // The protocol's pipes are the file descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null"])
            .arg(browser())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-default-apps", "--disable-extensions", "--remote-debugging-pipe", "--lang=en"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Chromium { child, wire: Arc::new(Mutex::new(Wire { input, output, sent: 0 })), _profile: profile }
    }

    /// A new storage, as of another person on another computer.
    pub fn person(&self) -> String {
        let made = self.wire.lock().unwrap().call(None, "Target.createBrowserContext", json!({}));
        made["browserContextId"].as_str().unwrap().to_owned()
    }

    /// Opens a page in a new tab of 1,400 x 900 px.
    pub fn open(&self, person: &str, url: &str) -> Tab {
        let mut wire = self.wire.lock().unwrap();
        let parameters = json!({ "url": "about:blank", "browserContextId": person });
        let target = wire.call(None, "Target.createTarget", parameters)["targetId"].clone();
        let attached = wire.call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        drop(wire);
        let tab = Tab { wire: self.wire.clone(), session };
        let size = json!({ "width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        tab.call("Emulation.setDeviceMetricsOverride", size);
        tab.call("Page.enable", json!({}));
        tab.go(url);
        tab
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tab {
    fn call(&self, method: &str, parameters: Value) -> Value {
        self.wire.lock().unwrap().call(Some(&self.session), method, parameters)
    }

    /// Opens an address.
    pub fn go(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Loads the page again, after marking the old one so that `until` cannot be about it.
    pub fn reload(&self) {
        self.eval("document.body.dataset.ready = 'old'");
        self.call("Page.reload", json!({}));
    }

    /// The value of an expression.
    pub fn eval(&self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}\n{}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page; a page that is being loaded has no state.
    pub fn until(&self, expression: &str) {
        let waiting = format!(
            "new Promise((done) => {{ const end = Date.now() + {PATIENCE}; const look = () => {{ \
               let is = false; try {{ is = {expression}; }} catch {{}} \
               if (is) done(''); else if (Date.now() > end) done(document.body.innerText.slice(0, 1500)); else setTimeout(look, 8); }}; look(); }})"
        );
        let started = std::time::Instant::now();
        loop {
            let parameters = json!({ "expression": waiting, "awaitPromise": true, "returnByValue": true });
            let answer = self.wire.lock().unwrap().ask(Some(&self.session), "Runtime.evaluate", parameters);
            // A navigation ends the old page's promises.
            match answer["result"]["result"]["value"].as_str() {
                Some("") => return,
                Some(text) => panic!("not reached: {expression}\n{text}"),
                None => {
                    assert!(started.elapsed().as_millis() < u128::from(PATIENCE), "not reached: {expression}: {answer}")
                }
            }
        }
    }

    /// Presses a key as a person does: `j`, `Enter`, `Ctrl+Shift+z`.
    pub fn key(&self, name: &str) {
        let mut parts: Vec<&str> = name.split('+').collect();
        let key = parts.pop().unwrap();
        let bits: HashMap<&str, u32> = HashMap::from([("Alt", 1), ("Ctrl", 2), ("Shift", 8)]);
        let modifiers: u32 = parts.iter().map(|part| bits[part]).sum();
        let (key, code, number) = match key {
            "Enter" => ("Enter".to_owned(), "Enter".to_owned(), 13),
            "Escape" => ("Escape".to_owned(), "Escape".to_owned(), 27),
            "Delete" => ("Delete".to_owned(), "Delete".to_owned(), 46),
            "ArrowDown" => ("ArrowDown".to_owned(), "ArrowDown".to_owned(), 40),
            letter => {
                let upper = letter.to_ascii_uppercase();
                let shown = if modifiers & 8 > 0 { upper.clone() } else { letter.to_owned() };
                (shown, format!("Key{upper}"), u32::from(upper.as_bytes()[0]))
            }
        };
        let is_text = key.len() == 1 && modifiers & 3 == 0;
        let text = if is_text {
            key.as_str()
        } else if key == "Enter" {
            "\r"
        } else {
            ""
        };
        let mut down = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key, "code": code,
            "windowsVirtualKeyCode": number, "modifiers": modifiers,
        });
        if !text.is_empty() {
            down["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({ "type": "keyUp", "key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers });
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types text into the focused field.
    pub fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    fn mouse(&self, kind: &str, [x, y]: [f64; 2], buttons: u32) {
        let button = if buttons == 0 && kind == "mouseMoved" { "none" } else { "left" };
        let parameters = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", parameters);
    }

    /// Clicks at a point of the window.
    pub fn click(&self, at: [f64; 2]) {
        self.mouse("mouseMoved", at, 0);
        self.mouse("mousePressed", at, 1);
        self.mouse("mouseReleased", at, 0);
    }

    /// Drags through points of the window.
    pub fn drag(&self, points: &[[f64; 2]]) {
        self.mouse("mouseMoved", points[0], 0);
        self.mouse("mousePressed", points[0], 1);
        points.iter().for_each(|point| self.mouse("mouseMoved", *point, 1));
        self.mouse("mouseReleased", *points.last().unwrap(), 0);
    }

    /// Clicks an element of the page.
    pub fn press(&self, selector: &str) {
        self.until(&format!(
            "document.querySelector('{selector}') !== null && !document.querySelector('{selector}').disabled"
        ));
        self.eval(&format!("document.querySelector('{selector}').click()"));
    }

    /// Where a point is in the window: an expression of two numbers.
    pub fn point(&self, expression: &str) -> [f64; 2] {
        let value = self.eval(expression);
        [0, 1].map(|i| value[i].as_f64().unwrap_or_else(|| panic!("{expression}: {value}")))
    }
}
