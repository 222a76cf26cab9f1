//! The live page in a real browser: text as it comes, and a daemon that goes away and comes back.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "tests of the whole program live in real time, with real sockets"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Daemon, Speech, line_of, run_sender, wait_for};
use callscribe::service::config::ServiceConfig;
use rustix::process::Signal;
use serde_json::{Value, json};

const CALLSCRIBE: &str = env!("CARGO_BIN_EXE_callscribe");
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn text_is_shown_within_a_second_of_its_line_and_once_over_a_restart() {
    let page = free_address();
    let daemon = Daemon::start_with(2, ServiceConfig::default(), |ports| {
        format!("[control]\nlisten = \"{page}\"\n{}", line_of(ports))
    });
    let browser = Browser::start();
    browser.open(&format!("http://{page}/"));
    // Notes when each text is first shown.
    browser.run(
        "window.shown = {}; new MutationObserver(() => document.querySelectorAll('.said').forEach(said => \
         { window.shown[said.lastChild.textContent] ??= Date.now(); }))\
         .observe(document.body, {childList: true, subtree: true, characterData: true});",
    );
    let mut daemon = daemon;
    speak(&daemon, 1);
    let line = daemon.wait_for("transcript", PATIENCE);
    let delay = delay_of(&browser, &line);
    eprintln!("a text was shown {delay} ms after its line was made");
    assert!(delay < 1000, "{delay} ms");
    let heading = browser.run("return document.querySelector('.card h2').textContent;");
    assert_eq!(heading, line["call_id"]);

    daemon.signal(Signal::KILL);
    daemon.wait(PATIENCE);
    let state = || browser.run("return document.querySelector('#state').textContent;");
    let is_away = || state().as_str()?.contains("away").then_some(());
    wait_for(PATIENCE, is_away).expect("the page says that the daemon is away");
    let config = daemon.folder.path().join("callscribe.toml");
    let _second = Running::daemon(&config);
    let is_live = || (state() == "live").then_some(());
    wait_for(PATIENCE, is_live).expect("the page comes back by itself");

    speak(&daemon, 2);
    let texts = || {
        let texts = browser.run(
            "return [...document.querySelectorAll('.said')].map(said => said.lastChild.textContent);",
        );
        let texts: Vec<String> = serde_json::from_value(texts).unwrap();
        texts
            .iter()
            .any(|text| text.contains("2.0:"))
            .then_some(texts)
    };
    let texts = wait_for(PATIENCE, texts).expect("the next call is shown");
    let mut once = texts.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(
        once.len(),
        texts.len(),
        "each text is shown once: {texts:?}"
    );

    browser.open(&format!("http://{page}/#/past"));
    let rows = || {
        let rows = browser.run("return document.querySelectorAll('a.row').length;");
        (rows == 2).then_some(())
    };
    wait_for(PATIENCE, rows).expect("both calls are in the journal");
}

#[test]
fn page_asks_for_nothing_from_elsewhere_and_reports_no_error() {
    let page = free_address();
    let daemon = Daemon::start_with(1, ServiceConfig::default(), |ports| {
        format!("[control]\nlisten = \"{page}\"\n{}", line_of(ports))
    });
    let browser = Browser::start();
    browser.open(&format!("http://{page}/"));
    speak(&daemon, 1);
    for place in ["#/past", "#/call/nobody", "#/"] {
        browser.open(&format!("http://{page}/{place}"));
    }
    let asked =
        browser.run("return performance.getEntriesByType('resource').map(entry => entry.name);");
    let asked: Vec<String> = serde_json::from_value(asked).unwrap();
    assert!(!asked.is_empty());
    let ours = format!("http://{page}/");
    assert!(
        asked
            .iter()
            .all(|name| name.starts_with(&ours) || name.starts_with("data:")),
        "{asked:?}"
    );
    let log = browser.ask("POST", "/se/log", &json!({ "type": "browser" }));
    let severe: Vec<&Value> = log
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry["level"] == "SEVERE" && !entry["message"].as_str().unwrap().contains("404")
        })
        .collect();
    assert!(severe.is_empty(), "{severe:?}");
}

/// Speaks three seconds of stream `stream` on the daemon's first leg.
fn speak(daemon: &Daemon, stream: u16) {
    let speech = Speech { stream, seconds: 3 };
    let file = speech.write_wav(daemon.folder.path());
    let to = format!("--to=127.0.0.1:{}", daemon.ports[0]);
    run_sender(CALLSCRIBE, &["send", file.to_str().unwrap(), &to], PATIENCE);
}

/// Milliseconds from the making of a transcript line to its text on the page.
fn delay_of(browser: &Browser, line: &Value) -> i64 {
    let made: jiff::Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
    let script = format!("return window.shown[{}];", line["text"]);
    let shown = wait_for(PATIENCE, || browser.run(&script).as_i64());
    shown.expect("the text is shown") - made.as_millisecond()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn daemon(config: &Path) -> Self {
        let mut daemon = Command::new(CALLSCRIBE);
        daemon.arg("run").arg("-c").arg(config);
        Self::start(daemon)
    }

    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .kill()
            .and_then(|()| self.0.wait().map(drop))
            .unwrap_or_default();
    }
}

/// Headless Chromium, by the WebDriver protocol.
struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Running,
}

impl Browser {
    fn start() -> Self {
        let address = free_address();
        let mut driver = Command::new("chromedriver");
        driver.arg(format!("--port={}", address.port()));
        let driver = Running::start(driver);
        wait_for(PATIENCE, || TcpStream::connect(address).ok()).expect("chromedriver listens");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--window-size=1280,900",
        ];
        let options = json!({ "args": arguments });
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let begun = request(address, "POST", "/session", &wish);
        let session = begun["sessionId"].as_str();
        let session = session
            .unwrap_or_else(|| panic!("no browser: {begun}"))
            .to_owned();
        Self {
            address,
            session,
            _driver: driver,
        }
    }

    fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    fn run(&self, script: &str) -> Value {
        self.ask(
            "POST",
            "/execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    fn ask(&self, method: &str, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}{what}", self.session);
        request(self.address, method, &path, body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.ask("DELETE", "", &json!({}));
    }
}

/// One request to the driver; gives `value` of its answer.
fn request(address: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let body = body.to_string();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut header = String::new();
        answer.read_line(&mut header).unwrap();
        let header = header.trim_end().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        answer["value"]["error"].is_null(),
        "{method} {path}: {answer}"
    );
    answer["value"].clone()
}
