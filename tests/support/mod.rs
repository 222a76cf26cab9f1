//! The built daemon and a scripted recogniser for it, as one thing to drive from a test.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of the whole program live in real time, with real sockets"
)]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test file uses its own part of this"
)]

pub mod control;
pub mod metrics;
pub mod openapi;
pub mod ports;
pub mod sip;

pub use ports::free_ports;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::scripted::{Says, Script};
use callscribe::service::server::{self, RunningService};
use callscribe::service::tone_code;
use callscribe::wav;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A daemon with one static call of some legs, its recogniser, and a reader of its socket.
pub struct Daemon {
    child: Child,
    /// The UDP port of each leg.
    pub ports: Vec<u16>,
    /// For files of the test; gone with the daemon.
    pub folder: TempDir,
    /// Every line so far, in order.
    pub seen: Vec<Value>,
    lines: Receiver<Value>,
    recogniser: Recogniser,
}

impl Daemon {
    /// Starts a daemon with so many legs on free ports, and waits until its socket answers.
    pub fn start(legs: u16) -> Self {
        let line = |ports: &[u16]| line_of(ports);
        Self::start_with(legs, ServiceConfig::default(), line)
    }

    /// The same, with another recogniser, and more configuration for the legs' ports.
    pub fn start_with(
        legs: u16,
        service: ServiceConfig,
        more: impl FnOnce(&[u16]) -> String,
    ) -> Self {
        Self::start_asking("", legs, service, more)
    }

    /// A daemon that takes every sender on its ports for a call of its own.
    pub fn start_unregistered(legs: u16, service: ServiceConfig) -> Self {
        let unregistered = |_: &[u16]| String::new();
        Self::start_configured("unregistered-calls = true", "", legs, service, unregistered)
    }

    /// The same, with keys of `[asr]`.
    pub fn start_asking(
        asr: &str,
        legs: u16,
        service: ServiceConfig,
        more: impl FnOnce(&[u16]) -> String,
    ) -> Self {
        Self::start_configured("", asr, legs, service, more)
    }

    /// The same, with keys of `[rtp]` and of `[asr]`. In all of it `{recogniser}` stands for the
    /// recogniser's address and `{folder}` for the test's folder, where `password` holds `p`. Without
    /// a table `[spool]` or `[resume]` it keeps neither audio nor calls.
    pub fn start_configured(
        rtp: &str,
        asr: &str,
        legs: u16,
        service: ServiceConfig,
        more: impl FnOnce(&[u16]) -> String,
    ) -> Self {
        Self::start_in([], (rtp, asr), legs, service, more)
    }

    /// The same, with variables in its environment.
    pub fn start_in<const N: usize>(
        environment: [(&str, &str); N],
        (rtp, asr): (&str, &str),
        legs: u16,
        service: ServiceConfig,
        more: impl FnOnce(&[u16]) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recogniser = Recogniser::start_as(service);
        let first = free_ports(2 * legs);
        let ports: Vec<u16> = (0..legs).map(|leg| first + 2 * leg).collect();
        let socket = folder.path().join("events.sock");
        let config = folder.path().join("callscribe.toml");
        let text = configuration(&recogniser.endpoint(), rtp, asr, &socket, &ports) + &more(&ports);
        let recogniser_at = recogniser.service.addr.to_string();
        let text = text
            .replace("{recogniser}", &recogniser_at)
            .replace("{folder}", folder.path().to_str().unwrap());
        let text = match text.contains("[spool]") || text.contains("[resume]") {
            true => text,
            false => text + "[spool]\nenabled = false\n[resume]\nenabled = false\n",
        };
        fs::write(&config, text).unwrap();
        fs::write(folder.path().join("password"), "p\n").unwrap();
        let log = folder.path().join("daemon.log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .arg("run")
            .arg("-c")
            .arg(&config)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let connection = wait_for(PATIENCE, || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(&log).unwrap();
                panic!("the daemon ended at its start ({status}):\n{log}");
            }
            UnixStream::connect(&socket).ok()
        });
        let connection = connection.expect("the daemon's socket answers");
        Self {
            child,
            ports,
            folder,
            seen: Vec::new(),
            lines: read_lines(connection),
            recogniser,
        }
    }

    /// Waits for the first line of this kind, and gives it.
    pub fn wait_for(&mut self, event: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line["event"] == event) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!(
                    "no {event} within {within:?}; seen:\n{}\n{}",
                    self.story(),
                    self.log()
                ),
            }
        }
    }

    /// Waits for so many lines of this kind, and gives them.
    pub fn wait_for_all(&mut self, event: &str, count: usize, within: Duration) -> Vec<Value> {
        let deadline = Instant::now() + within;
        loop {
            let found = self.seen.iter().filter(|line| line["event"] == event);
            let found: Vec<Value> = found.cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("{} of {count} {event} within {within:?}", found.len()),
            }
        }
    }

    /// What the recogniser wrote of a call with one leg, parts joined.
    pub fn text_of_call(&self, call_id: &str) -> String {
        let of_call = |line: &&Value| line["event"] == "transcript" && line["call_id"] == call_id;
        let texts = self
            .seen
            .iter()
            .filter(of_call)
            .filter_map(|line| line["text"].as_str());
        texts.collect::<Vec<_>>().join(" ")
    }

    /// The lines of this kind, of one leg.
    pub fn of(&self, event: &str, channel: usize) -> Vec<&Value> {
        let is_meant = |line: &&Value| line["event"] == event && line["channel"] == channel;
        self.seen.iter().filter(is_meant).collect()
    }

    /// What the recogniser wrote of one leg, parts joined.
    pub fn text(&self, channel: usize) -> String {
        let finals = self.of("transcript", channel);
        let finals = finals.iter().filter(|line| line["part_final"] == true);
        finals
            .filter_map(|line| line["text"].as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Asks it to stop as systemd does, and reads its lines to the end.
    pub fn stop(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(within)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end, and reads its lines to the end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let status = wait_for(within, || self.child.try_wait().unwrap());
        let status =
            status.unwrap_or_else(|| panic!("still runs after {within:?}: {}", self.log()));
        self.seen.extend(self.lines.iter());
        status
    }

    /// CPU time it has used so far, and the most memory it ever held, in KiB.
    pub fn usage(&self) -> (Duration, u64) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let stat = read("stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = read("status").unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
        (Duration::from_millis(ticks * 10), peak)
    }

    /// The recogniser's counters.
    pub fn recogniser(&self) -> &RunningService {
        &self.recogniser.service
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    fn story(&self) -> String {
        self.seen.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only for a daemon that has ended by itself.
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .unwrap_or_default();
    }
}

/// The local service with its scripted engine, in this process.
pub struct Recogniser {
    runtime: Runtime,
    service: RunningService,
}

impl Recogniser {
    /// Starts it on a free port.
    pub fn start(says: Says) -> Self {
        let script = Script {
            says,
            ..Script::default()
        };
        Self::start_as(ServiceConfig {
            engine: EngineConfig::Scripted(script),
            ..Default::default()
        })
    }

    /// Starts it with a configuration.
    pub fn start_as(config: ServiceConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let service = runtime.block_on(server::start(config)).unwrap();
        Self { runtime, service }
    }

    /// Its counters and its faults.
    pub fn service(&self) -> &RunningService {
        &self.service
    }

    /// What the daemon's configuration calls it.
    pub fn endpoint(&self) -> String {
        format!("ws://{}", self.service.addr)
    }
}

/// Speech of a known stream: each second of it names itself, and the scripted recogniser writes down
/// what it heard of it. A second of silence stands before and after.
pub struct Speech {
    /// Names the stream.
    pub stream: u16,
    /// Seconds that are spoken.
    pub seconds: u64,
}

impl Speech {
    /// 16-bit samples at 8 kHz.
    pub fn samples(&self) -> Vec<i16> {
        let spoken = tone_code::encode(self.stream, 0, self.seconds * 1000);
        [vec![0; 8000], spoken, vec![0; 8000]].concat()
    }

    /// A WAV file of it.
    pub fn write_wav(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("speech{}.wav", self.stream));
        wav::write(File::create(&path).unwrap(), self.samples()).unwrap();
        path
    }

    /// Asserts that a text names every second of the stream once, whole and in order, and no other.
    #[track_caller]
    pub fn assert_is_whole_in(&self, text: &str) {
        let mut heard: Vec<(u16, u64, u64)> = Vec::new();
        for (stream, second, milliseconds) in text.split_whitespace().map(parse_second) {
            match heard.last_mut() {
                // A second that a cut divided between two parts.
                Some(last) if (last.0, last.1) == (stream, second) => last.2 += milliseconds,
                _ => heard.push((stream, second, milliseconds)),
            }
        }
        let names: Vec<_> = heard
            .iter()
            .map(|&(stream, second, _)| (stream, second))
            .collect();
        let expected: Vec<_> = (0..self.seconds)
            .map(|second| (self.stream, second))
            .collect();
        assert_eq!(names, expected, "each second once and in order: {text:?}");
        for (_, second, milliseconds) in heard {
            assert!(
                (960..=1040).contains(&milliseconds),
                "second {second} is whole: {text:?}"
            );
        }
    }
}

/// `STREAM.SECOND:MILLISECONDS`
fn parse_second(word: &str) -> (u16, u64, u64) {
    let numbers: Vec<u64> = word.split(['.', ':']).map(|n| n.parse().unwrap()).collect();
    let [stream, second, milliseconds] = numbers[..] else {
        panic!("{word:?} names no second")
    };
    (u16::try_from(stream).unwrap(), second, milliseconds)
}

/// Asserts that the ledger of every leg adds up, and gives one field of one leg in milliseconds.
#[track_caller]
pub fn balanced(ended: &Value, channel: usize, field: &str) -> u64 {
    let coverage = ended["coverage"]
        .as_array()
        .expect("call_ended has coverage");
    for leg in coverage {
        let ms = |field: &str| {
            leg[field]
                .as_u64()
                .unwrap_or_else(|| panic!("{field} in {leg}"))
        };
        assert_eq!(
            ms("speech_ms") + ms("silence_ms"),
            ms("received_ms"),
            "{leg}"
        );
        assert_eq!(
            ms("transcribed_ms") + ms("gap_ms"),
            ms("speech_ms"),
            "{leg}"
        );
    }
    let leg = covered(ended, channel);
    leg[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {leg}"))
}

/// The coverage of one leg.
#[track_caller]
pub fn covered(ended: &Value, channel: usize) -> &Value {
    let coverage = ended["coverage"]
        .as_array()
        .expect("call_ended has coverage");
    coverage
        .iter()
        .find(|leg| leg["channel"] == channel)
        .expect("the leg is covered")
}

/// Runs a sender to its end.
///
/// # Panics
/// When it is not installed, fails, or does not end in time.
#[track_caller]
pub fn run_sender(program: &str, arguments: &[&str], within: Duration) {
    let mut sender = spawn_sender(program, arguments);
    let status = wait_for(within, || sender.try_wait().unwrap());
    if status.is_none() {
        sender.kill().unwrap();
    }
    let output = sender.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let status =
        status.unwrap_or_else(|| panic!("{program} did not end within {within:?}: {said}"));
    assert!(
        status.success(),
        "{program} {arguments:?}: {status}\n{said}"
    );
}

/// Starts a sender.
///
/// # Panics
/// When it is not installed.
#[track_caller]
pub fn spawn_sender(program: &str, arguments: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"))
}

/// Looks again and again until there is something, or the time is over.
pub fn wait_for<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() > deadline => return None,
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The tones of [`tone_code`] are no speech to the network, and rightly so.
fn configuration(endpoint: &str, rtp: &str, asr: &str, socket: &Path, ports: &[u16]) -> String {
    let endpoint = match asr.contains("endpoint = ") {
        true => String::new(),
        false => format!("endpoint = {endpoint:?}\n"),
    };
    // RTCP of the last leg comes on the port after it.
    let (first, last) = (ports[0], ports[ports.len() - 1] + 1);
    format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first}-{last}\"\n\
         idle-timeout-ms = 2000\n{rtp}\n\
         [speech]\ndetector = \"webrtc\"\n\
         [asr]\nprovider = \"scripted\"\n{endpoint}{asr}\n\
         [events]\nsocket = {socket:?}\n\
         [journal]\npath = {journal:?}\n",
        journal = socket.with_file_name("journal.db")
    )
}

/// One line of the configuration, with these ports as its legs.
pub fn line_of(ports: &[u16]) -> String {
    let legs: Vec<_> = ports
        .iter()
        .map(|port| format!("{{ port = {port} }}"))
        .collect();
    format!("[[line]]\nname = \"line\"\nlegs = [{}]\n", legs.join(", "))
}

/// Asks for every line there is, and reads them as they come.
fn read_lines(mut connection: UnixStream) -> Receiver<Value> {
    connection
        .write_all(b"{\"resume_from\":\"oldest\"}\n")
        .unwrap();
    let (line_read, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(connection).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).expect("each line is JSON");
            if line_read.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// How long a daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
