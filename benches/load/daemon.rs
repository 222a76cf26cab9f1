//! The daemon under test, with its recogniser behind TLS and a reader of its lines.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Load, Result, callscribe, measure};
use crate::control::Control;
use crate::lines::Reader;
use crate::process::Process;
use crate::{Outcome, account, fresh_folder, fresh_memory, ports, sink};

/// How long anything may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams that nobody registered, each a call of its own; it ends by silence.
pub(crate) fn run(load: Load) -> Outcome<Result> {
    let daemon = Daemon::start(load, "unregistered-calls = true\nidle-timeout-ms = 3000")?;
    let result = daemon.measure(load)?;
    daemon.end(result, u64::from(load.streams))
}

/// Registered calls of two legs, of which the first ones speak.
pub(crate) fn run_registered(load: Load) -> Outcome<Result> {
    // Otherwise the legs need twice as many descriptors as a process may often have.
    let daemon = Daemon::start(load, "rtcp-mux = true")?;
    let before = account::resident_kib(&daemon.process)?;
    let control = daemon.control();
    for call in 0..load.legs / 2 {
        let body =
            format!(r#"{{"id":"bench-{call}","legs":[{{"role":"AGENT"}},{{"role":"CUSTOMER"}}]}}"#);
        let answer = control.ask("POST", "/v1/calls", &body)?;
        if !answer.starts_with("HTTP/1.1 201") {
            return Err(format!("a call was not registered: {answer}").into());
        }
    }
    let silent = account::resident_kib(&daemon.process)?;
    let mut result = daemon.measure(load)?;
    result.silent_leg_kib = Some(silent.saturating_sub(before) as f64 / f64::from(load.legs));
    for call in 0..load.streams / 2 {
        let answer = control.ask("DELETE", &format!("/v1/calls/bench-{call}"), "")?;
        if !answer.starts_with("HTTP/1.1 20") {
            return Err(format!("a call did not end: {answer}").into());
        }
    }
    daemon.end(result, u64::from(load.streams))
}

struct Daemon {
    folder: std::path::PathBuf,
    process: Process,
    sink: Process,
    reader: Reader,
}

impl Daemon {
    fn start(load: Load, rtp: &str) -> Outcome<Self> {
        let folder = fresh_folder()?;
        let (sink, endpoint) = sink::start(&folder, load.cores, true)?;
        let config = folder.join("callscribe.toml");
        fs::write(&config, configuration(&folder, &endpoint, load, rtp))?;
        let mut run = load.cores.for_contestant(&callscribe()?);
        run.args(["run", "--config"])
            .arg(&config)
            // As its unit does: the journal is there, the spool and the state of the calls; and the tape, in memory.
            .env("STATE_DIRECTORY", &folder)
            .env("RUNTIME_DIRECTORY", fresh_memory()?)
            .stderr(fs::File::create(folder.join("daemon.log"))?);
        let process = Process::start(&mut run)?;
        let control = folder.join("control.sock");
        let is_ready = || {
            Reader::connect(&folder.join("events.sock"))
                .ok()
                .filter(|_| control.exists())
        };
        let Some(reader) = wait_for(is_ready) else {
            let log = fs::read_to_string(folder.join("daemon.log"))?;
            return Err(format!("the daemon does not start:\n{log}").into());
        };
        Ok(Self {
            folder,
            process,
            sink,
            reader,
        })
    }

    fn control(&self) -> Control {
        Control::new(self.folder.join("control.sock"))
    }

    fn measure(&self, load: Load) -> Outcome<Result> {
        let scrape = || self.control().ask("GET", "/metrics", "");
        measure(&self.process, Some(&self.sink), load, scrape)
    }

    /// Ends the daemon when the ledgers of so many legs are in.
    fn end(self, mut result: Result, legs: u64) -> Outcome<Result> {
        let all = wait_for(|| (self.reader.ledger().legs >= legs).then_some(()));
        let ledger = self.reader.ledger();
        self.process.stop()?;
        if all.is_none() {
            let log = fs::read_to_string(self.folder.join("daemon.log"))?;
            let got = ledger.legs;
            return Err(format!("of {legs} legs, {got} gave their ledger:\n{log}").into());
        }
        result.received = Some(ledger.packets);
        result.ledger = Some(ledger);
        Ok(result)
    }
}

/// The defaults of every key that can be left out.
fn configuration(folder: &Path, endpoint: &str, load: Load, rtp: &str) -> String {
    let ports = ports::of(load.legs);
    let (first, last) = (ports.start, ports.end - 1);
    let folder = folder.display();
    let tick = load.tick_ms.map(|ms| format!("tick-ms = {ms}"));
    let tick = tick.unwrap_or_default();
    format!(
        r#"[rtp]
bind-address = "127.0.0.1"
port-range = "{first}-{last}"
{rtp}
{tick}
[asr]
endpoint = "{endpoint}"
ca-file = "{folder}/certificate.pem"
max-sessions = 10000
[events]
socket = "{folder}/events.sock"
"#
    )
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
