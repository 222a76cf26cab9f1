//! The daemon under test, with its recogniser behind TLS and a reader of its lines.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::account;
use crate::contestant::{Load, Result, callscribe, measure, scratch};
use crate::report::percentiles;

/// Even ports from here on; the one above each is for its RTCP.
const FIRST_PORT: u16 = 20_000;

/// How long anything may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams that nobody registered, each a call of its own.
pub(crate) fn run(load: Load) -> Outcome<Result> {
    let contestant = Daemon::start(load, "unregistered-calls = true")?;
    contestant.measure(load)
}

/// Registered calls of two legs, of which few speak.
pub(crate) fn run_registered(load: Load) -> Outcome<Result> {
    let contestant = Daemon::start(load, "")?;
    let before = account::resident_kib(&contestant.process)?;
    for call in 0..load.legs / 2 {
        let body = format!(
            r#"{{"call_id":"bench-{call}","legs":[{{"role":"AGENT"}},{{"role":"CUSTOMER"}}]}}"#
        );
        let answer = contestant.ask("POST", "/v1/calls", &body)?;
        if !answer.starts_with("HTTP/1.1 201") {
            return Err(format!("a call was not registered: {answer}").into());
        }
    }
    let silent = account::resident_kib(&contestant.process)?;
    let mut result = contestant.measure(load)?;
    result.silent_leg_kib = Some((silent.saturating_sub(before)) as f64 / f64::from(load.legs));
    Ok(result)
}

struct Daemon {
    folder: PathBuf,
    process: Child,
    sink: Child,
    reader: JoinHandle<u64>,
}

impl Daemon {
    fn start(load: Load, rtp: &str) -> Outcome<Self> {
        let folder = scratch()?;
        let (mut sink, endpoint) = sink(&folder, true)?;
        let config = folder.join("callscribe.toml");
        fs::write(&config, configuration(&folder, &endpoint, load, rtp))?;
        let log = fs::File::create(folder.join("daemon.log"))?;
        let mut process = callscribe()
            .args(["run", "--config"])
            .arg(&config)
            .stderr(log)
            .spawn()?;
        let socket = wait_for(|| UnixStream::connect(folder.join("events.sock")).ok());
        let Some(socket) = socket else {
            process.kill()?;
            sink.kill()?;
            let log = fs::read_to_string(folder.join("daemon.log"))?;
            return Err(format!("the daemon does not start:\n{log}").into());
        };
        Ok(Self {
            folder,
            process,
            sink,
            reader: thread::spawn(move || count_packets(socket)),
        })
    }

    fn measure(mut self, load: Load) -> Outcome<Result> {
        let mut result = measure(&self.process, Some(&self.sink), FIRST_PORT, load)?;
        let metrics = self.ask("GET", "/metrics", "").unwrap_or_default();
        result.delays = percentiles(&metrics);
        stop(&self.process)?;
        self.process.wait()?;
        result.received = self.reader.join().map_err(|_| "the reader panicked")?;
        self.sink.kill()?;
        self.sink.wait()?;
        Ok(result)
    }

    /// One request of the control API.
    fn ask(&self, method: &str, path: &str, body: &str) -> Outcome<String> {
        let mut socket = UnixStream::connect(self.folder.join("control.sock"))?;
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn configuration(folder: &Path, endpoint: &str, load: Load, rtp: &str) -> String {
    let last = FIRST_PORT + 2 * load.legs;
    let folder = folder.display();
    format!(
        r#"[rtp]
bind-address = "127.0.0.1"
port-range = "{FIRST_PORT}-{last}"
{rtp}
[asr]
endpoint = "{endpoint}"
ca-file = "{folder}/certificate.pem"
max-sessions = 10000
[events]
socket = "{folder}/events.sock"
"#
    )
}

/// A recogniser that takes everything and understands nothing, at little cost.
pub(crate) fn sink(folder: &Path, tls: bool) -> Outcome<(Child, String)> {
    let config = folder.join("service.toml");
    let mut text = "engine = \"scripted\"\n[script]\nsays = \"length\"\n".to_owned();
    if tls {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, pair.cert.pem())?;
        fs::write(&key, pair.signing_key.serialize_pem())?;
        text += &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    }
    fs::write(&config, text)?;
    let mut process = callscribe()
        .args(["service", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = process.stdout.take().ok_or("the sink has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line
        .split_whitespace()
        .find_map(|word| word.split_once("://"));
    let (scheme, address) = address.ok_or_else(|| format!("the sink says {line:?}"))?;
    let address = address.trim_end_matches('/');
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    Ok((process, format!("{scheme}://localhost:{port}")))
}

/// Packets that the ledgers of the ended calls tell.
fn count_packets(socket: UnixStream) -> u64 {
    let lines = BufReader::new(socket)
        .lines()
        .map_while(std::io::Result::ok);
    let ended = lines.filter(|line| line.contains(r#""event":"call_ended""#));
    let packets = |line: String| {
        let line: Value = serde_json::from_str(&line).ok()?;
        let legs = line["coverage"].as_array()?;
        Some(
            legs.iter()
                .filter_map(|leg| leg["packets"].as_u64())
                .sum::<u64>(),
        )
    };
    ended.filter_map(packets).sum()
}

/// Asks a process to end in its own way.
pub(crate) fn stop(process: &Child) -> Outcome<()> {
    let status = Command::new("kill")
        .arg(process.id().to_string())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("a process cannot be ended".into())
    }
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = what() {
            return Some(found);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}
