//! The live page in a real browser: text as it comes, and a daemon that goes away and comes back.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "tests of the whole program live in real time, with real sockets"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::control::{self, Client};
use crate::support::ports::free_address;
use crate::support::{Daemon, Recogniser, Speech, line_of, run_sender, spawn_sender, wait_for};
use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::scripted::{Says, Script};
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

/// Two calls, in one of which the agent is not heard; then the recogniser goes away, and comes back.
/// With `CALLSCRIBE_SCREENSHOTS` set to a folder, pictures of it are left there.
#[test]
fn two_live_calls_say_what_is_wrong_with_them_and_fit_a_phone() {
    let page = free_address();
    let recogniser = conversation(free_address());
    let address = recogniser.service().addr;
    let asr = format!("endpoint = \"ws://{address}\"\n");
    let control = |_: &[u16]| format!("[control]\nlisten = \"{page}\"\n");
    let daemon = Daemon::start_asking(&asr, 8, ServiceConfig::default(), control);
    let client = Client::of(&daemon);
    let legs = json!([{ "role": "AGENT" }, { "role": "CUSTOMER" }]);
    let one_way = client.register(&json!({
        "id": "pbx1-1795389012.882", "from": "+8613800138000", "to": "4008001234", "legs": legs,
    }));
    let lossy = client.register(&json!({ "id": "trunk-1-1795389009.4", "legs": legs }));
    let relay = relay_with_a_burst_of_loss(control::address(&lossy, 0));
    let leg = |who: &str, to: &str| {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
        format!("--leg={fixtures}/call_{who}.wav@{to}")
    };
    let legs = [
        leg("agent", &relay.to_string()),
        leg("caller", control::address(&lossy, 1)),
        leg("caller", control::address(&one_way, 1)),
    ];
    let mut sender = spawn_sender(CALLSCRIBE, &["send", &legs[0], &legs[1], &legs[2]]);

    let browser = Browser::start();
    browser.open(&format!("http://{page}/"));
    browser.wait_for_text(".session", "session open");
    browser.wait_for_text(".trouble", "Agent: One-way audio: this side is not heard.");
    browser.wait_for_text(".said.is-loss", "lost on the network");
    browser.wait_for_text(".card.is-troubled h2", "pbx1-1795389012.882");
    // A picture has more to show after half a minute.
    let enough = if pictures().is_some() { 11 } else { 5 };
    let is_enough = || (browser.count(".said") >= enough).then_some(());
    wait_for(PATIENCE, is_enough).expect("lines of both calls");
    let (desk, phone) = ((1440, 620), (390, 844));
    for (name, size, theme) in [
        ("live-wide-light", desk, "light"),
        ("live-wide-dark", desk, "dark"),
        ("live-narrow-light", phone, "light"),
        ("live-narrow-dark", phone, "dark"),
    ] {
        browser.show_as(size, theme);
        assert!(browser.fits(), "{name} is wider than its window");
        let newest = "return [...document.querySelectorAll('.talk')].every(talk => \
                      talk.scrollHeight - talk.scrollTop - talk.clientHeight < 40);";
        let is_in_view = || (browser.run(newest) == true).then_some(());
        wait_for(PATIENCE, is_in_view).expect("the newest text is in view");
        browser.picture(name);
    }

    drop(recogniser);
    browser.wait_for_text(".session.is-bad", " failed");
    browser.wait_for_text(".alarm", "The recogniser is away");
    browser.wait_for_text(
        ".trouble.is-mild",
        "the recogniser fails; what is said waits for it. Cannot reach",
    );
    browser.picture("away-narrow-dark");
    browser.show_as(desk, "light");
    browser.picture("away-wide-light");
    let _back = conversation(address);
    let is_well =
        || (browser.count(".alarm") + browser.count(".session.is-bad") == 0).then_some(());
    wait_for(PATIENCE, is_well).expect("what is over is not shown");

    sender.kill().and_then(|()| sender.wait()).unwrap();
    for id in ["pbx1-1795389012.882", "trunk-1-1795389009.4"] {
        client.ask("DELETE", &format!("/v1/calls/{id}"), &json!(null));
    }
    for (name, place, what) in [
        ("past", "#/past", "a.row"),
        ("call", "#/call/trunk-1-1795389009.4", "#one .ledger"),
    ] {
        browser.open(&format!("http://{page}/{place}"));
        wait_for(PATIENCE, || (browser.count(what) > 0).then_some(())).expect(what);
        for (size, theme) in [(desk, "light"), (phone, "dark")] {
            browser.show_as(size, theme);
            assert!(browser.fits(), "{name} is wider than its window");
            browser.picture(&format!("{name}-{}-{theme}", size.0));
        }
    }
    for kind in ["speech", "text", "loss"] {
        assert!(
            browser.count(&format!("#one .strip .s-{kind}")) > 0,
            "{kind}"
        );
    }
}

/// A recogniser that says what is said in the recordings; the caller is heard in two calls.
fn conversation(listen: SocketAddr) -> Recogniser {
    let turns = include_str!("../../fixtures/turns.tsv").lines().skip(1);
    let lines = turns.flat_map(|turn| {
        let mut fields = turn.split('\t');
        let calls = if fields.next() == Some("call_caller.wav") {
            2
        } else {
            1
        };
        let text = fields.next_back().unwrap().to_owned();
        std::iter::repeat_n(text, calls)
    });
    let script = Script {
        says: Says::Lines(lines.collect()),
        delay: Duration::from_millis(300),
    };
    Recogniser::start_as(ServiceConfig {
        listen,
        engine: EngineConfig::Scripted(script),
        ..ServiceConfig::default()
    })
}

/// Where pictures are wanted, if they are.
fn pictures() -> Option<std::ffi::OsString> {
    std::env::var_os("CALLSCRIBE_SCREENSHOTS")
}

/// Passes datagrams on, but for more than half a second after the first words and a few now and then.
fn relay_with_a_burst_of_loss(to: &str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, to) = (socket.local_addr().unwrap(), to.to_owned());
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        for number in 0_u32.. {
            let Ok(len) = socket.recv(&mut datagram) else {
                return;
            };
            if !(215..245).contains(&number) && number % 97 != 0 {
                // Nobody listens after the test.
                socket.send_to(&datagram[..len], &to).ok();
            }
        }
    });
    address
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

    /// How many elements there are.
    fn count(&self, selector: &str) -> u64 {
        let script = format!("return document.querySelectorAll('{selector}').length;");
        self.run(&script).as_u64().unwrap()
    }

    /// Waits until an element has these words in it.
    #[track_caller]
    fn wait_for_text(&self, selector: &str, text: &str) {
        let script = format!(
            "return [...document.querySelectorAll('{selector}')].map(found => found.textContent);"
        );
        let mut last = json!(null);
        let found = wait_for(PATIENCE, || {
            last = self.run(&script);
            let texts = last.as_array().into_iter().flatten();
            let mut texts = texts.filter_map(Value::as_str);
            texts.any(|found| found.contains(text)).then_some(())
        });
        found.unwrap_or_else(|| panic!("no {text:?} in {selector}: {last}"));
    }

    /// Another window and another taste.
    fn show_as(&self, (width, height): (u32, u32), theme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.command("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.command(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
    }

    /// Whether nothing must be scrolled to from side to side.
    fn fits(&self) -> bool {
        self.run("return document.documentElement.scrollWidth <= innerWidth;") == true
    }

    /// Leaves a picture of the window, if somebody wants one.
    fn picture(&self, name: &str) {
        let Some(folder) = pictures() else { return };
        // What moves comes to rest.
        std::thread::sleep(Duration::from_millis(700));
        let shot = self.ask("GET", "/screenshot", &json!({}));
        let png = data_encoding::BASE64.decode(shot.as_str().unwrap().as_bytes());
        std::fs::write(
            Path::new(&folder).join(name).with_extension("png"),
            png.unwrap(),
        )
        .unwrap();
    }

    fn command(&self, command: &str, parameters: &Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", &body);
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
