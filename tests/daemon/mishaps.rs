//! The built daemon where things go wrong: what it needs is taken, away or broken, or it is told to stop.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets and clocks, and what fails here fails the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use crate::support::ports::free_address;
use crate::support::{Daemon, Speech, balanced, free_ports, line_of, run_sender, spawn_sender};
use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::scripted::Script;
use callscribe::service::fault::{Action, At, Fault, Which};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

const PROGRAM: &str = env!("CARGO_BIN_EXE_callscribe");
const SOON: Duration = Duration::from_secs(20);

/// Runs a daemon that is expected not to start.
fn run(folder: &Path, config: &str) -> Output {
    let path = folder.join("callscribe.toml");
    fs::write(&path, config).unwrap();
    Command::new(PROGRAM)
        .arg("run")
        .arg("-c")
        .arg(path)
        .output()
        .unwrap()
}

fn speak(daemon: &Daemon, leg: usize, speech: &Speech) {
    let wav = speech.write_wav(daemon.folder.path());
    let to = format!("127.0.0.1:{}", daemon.ports[leg]);
    run_sender(PROGRAM, &["send", wav.to_str().unwrap(), "--to", &to], SOON);
}

/// Strikes the sessions from `first` to `last`.
fn fault(at: At, action: Action, (first, last): (u64, u64)) -> ServiceConfig {
    let which = Which {
        first,
        last,
        ..Which::default()
    };
    ServiceConfig {
        faults: vec![Fault { at, action, which }],
        ..ServiceConfig::default()
    }
}

#[test]
fn port_in_use_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports(2);
    let _taken = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let config = format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{port}-{port}\"\n\
         [events]\nsocket = \"{}/e.sock\"\n[journal]\nenabled = false\n",
        folder.path().display()
    );
    let output = run(folder.path(), &config);
    assert_eq!(output.status.code(), Some(71));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains(&format!("127.0.0.1:{port}: Address already in use")),
        "{message}"
    );
    assert!(message.contains("rtp.port-range"), "{message}");
}

#[test]
fn socket_in_use_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("e.sock");
    let _living = UnixListener::bind(&socket).unwrap();
    let port = free_ports(2);
    let config = format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{port}-{port}\"\n[events]\nsocket = {socket:?}\n\
         [journal]\nenabled = false\n"
    );
    let output = run(folder.path(), &config);
    assert_eq!(output.status.code(), Some(71));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(socket.to_str().unwrap()), "{message}");
    assert!(message.contains("events.socket"), "{message}");
}

#[test]
fn missing_configuration_and_bad_configuration_exit_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Command::new(PROGRAM)
        .args(["run", "-c", "/nonexistent.toml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(78));
    let bad = run(folder.path(), "[asr]\nendpoint = \"https://x\"\n");
    assert_eq!(bad.status.code(), Some(78));
    assert!(
        String::from_utf8(bad.stderr)
            .unwrap()
            .contains("asr.endpoint")
    );
}

#[test]
fn service_without_a_model_says_where_it_looked_and_how_to_get_one() {
    let output = Command::new(PROGRAM)
        .args([
            "service",
            "--listen",
            "127.0.0.1:0",
            "--model",
            "/nonexistent/model.bin",
        ])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("/nonexistent/model.bin") && message.contains("make model"),
        "{message}"
    );
}

#[test]
fn unreachable_recogniser_is_told_at_the_start_and_its_speech_becomes_a_gap() {
    let nobody = free_address();
    let asr = format!("endpoint = \"ws://{nobody}\"\ngive-up-after-ms = 1000");
    let mut daemon = Daemon::start_asking(&asr, 1, ServiceConfig::default(), line_of);
    speak(
        &daemon,
        0,
        &Speech {
            stream: 7,
            seconds: 2,
        },
    );
    let ended = daemon.wait_for("call_ended", SOON);
    let speech = balanced(&ended, 0, "speech_ms");
    assert_eq!(balanced(&ended, 0, "gap_ms"), speech);
    assert!(speech > 1900, "{ended}");
    let gap = daemon.of("gap", 0)[0].clone();
    assert_eq!(gap["reason"], "asr_unavailable");
    let log = daemon.log();
    assert!(
        log.contains("cannot be reached") && log.contains(&nobody.to_string()),
        "{log}"
    );
}

#[test]
fn recogniser_that_dies_in_mid_part_hears_the_whole_part_again() {
    let service = fault(At::Byte(24_000), Action::Drop, (1, 1));
    let mut daemon = Daemon::start_with(1, service, line_of);
    let speech = Speech {
        stream: 9,
        seconds: 4,
    };
    speak(&daemon, 0, &speech);
    let ended = daemon.wait_for("call_ended", SOON);
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    assert_eq!(daemon.of("transcript", 0)[0]["asr"]["attempts"], 2);
}

#[test]
fn recogniser_that_always_dies_ends_in_a_gap_with_the_reason() {
    let service = fault(At::Byte(8_000), Action::Drop, (1, u64::MAX));
    let mut daemon = Daemon::start_asking("give-up-after-ms = 2000", 1, service, line_of);
    speak(
        &daemon,
        0,
        &Speech {
            stream: 9,
            seconds: 3,
        },
    );
    let ended = daemon.wait_for("call_ended", SOON);
    assert_eq!(balanced(&ended, 0, "transcribed_ms"), 0);
    assert_eq!(daemon.of("gap", 0)[0]["reason"], "asr_unavailable");
}

/// Story 6, for the daemon itself: SIGTERM in mid-word, and a recogniser that takes three seconds.
#[test]
fn last_words_are_recognised_before_the_daemon_stops() {
    let script = Script {
        delay: Duration::from_secs(3),
        ..Script::default()
    };
    let engine = EngineConfig::Scripted(script);
    let service = ServiceConfig {
        engine,
        ..ServiceConfig::default()
    };
    let mut daemon = Daemon::start_with(1, service, line_of);
    let wav = Speech {
        stream: 5,
        seconds: 20,
    }
    .write_wav(daemon.folder.path());
    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    let mut sender = spawn_sender(PROGRAM, &["send", wav.to_str().unwrap(), "--to", &to]);
    daemon.wait_for("speech_started", SOON);
    std::thread::sleep(Duration::from_secs(2));

    let status = daemon.stop(SOON);
    sender.kill().unwrap();
    sender.wait().unwrap();
    assert!(status.success(), "{status}: {}", daemon.log());
    let events: Vec<&str> = daemon
        .seen
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(events[events.len() - 2..], ["transcript", "call_ended"]);
    assert!(daemon.text(0).starts_with("5.0:"), "{}", daemon.text(0));
    let ended = daemon.wait_for("call_ended", SOON);
    assert_eq!(ended["reason"], "shutdown");
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
}

/// Story 13: the recogniser accepts and never answers.
#[test]
fn recogniser_that_never_answers_costs_the_telephone_side_nothing() {
    let service = fault(At::Start, Action::Silence, (1, u64::MAX));
    let mut daemon = Daemon::start_with(1, service, line_of);
    speak(
        &daemon,
        0,
        &Speech {
            stream: 3,
            seconds: 4,
        },
    );
    daemon.wait_for("speech_ended", SOON);
    let status = daemon.stop(Duration::from_secs(60));
    assert!(status.success(), "{status}: {}", daemon.log());
    let ended = daemon.wait_for("call_ended", SOON);
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "received_ms"), 6_000);
    assert_eq!(
        balanced(&ended, 0, "gap_ms"),
        balanced(&ended, 0, "speech_ms")
    );
}

/// No more files and connections than it has now; gives the limits that were in force.
fn stop_opening(daemon: &Daemon) -> Rlimit {
    let lowest_free = || {
        let folder = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let open: BTreeSet<u64> = names.map(|name| name.parse().unwrap()).collect();
        (0..).find(|number| !open.contains(number)).unwrap()
    };
    // A file that is open for a moment only is not counted.
    let looks = (0..30).map(|_| {
        sleep(Duration::from_millis(10));
        lowest_free()
    });
    let limit = Rlimit {
        current: looks.min(),
        ..getrlimit(Resource::Nofile)
    };
    prlimit(Some(daemon.pid()), Resource::Nofile, limit).unwrap()
}

#[test]
fn daemon_out_of_descriptors_goes_on_says_so_once_and_recovers() {
    let spool = |ports: &[u16]| {
        let keep = "[spool]\ndirectory = \"{folder}/spool\"\n";
        line_of(ports) + keep
    };
    let mut daemon = Daemon::start_with(1, ServiceConfig::default(), spool);
    let speech = Speech {
        stream: 4,
        seconds: 8,
    };
    let wav = speech.write_wav(daemon.folder.path());
    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    let limits = stop_opening(&daemon);
    let mut sender = spawn_sender(PROGRAM, &["send", wav.to_str().unwrap(), "--to", &to]);
    let events = daemon.folder.path().join("events.sock");
    let control = daemon.folder.path().join("control.sock");
    let reader = UnixStream::connect(&events).unwrap();
    let mut client = UnixStream::connect(&control).unwrap();
    client
        .write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();

    // Who is in is served while others cannot come in.
    daemon.wait_for("speech_started", Duration::from_secs(5));
    sleep(Duration::from_secs(4));
    let log = daemon.log();
    assert_eq!(log.matches("clients cannot be let in").count(), 2, "{log}");
    assert_eq!(log.matches("parts are tried again").count(), 1, "{log}");
    assert!(log.contains("Too many open files"), "{log}");

    prlimit(Some(daemon.pid()), Resource::Nofile, limits).unwrap();
    let mut first = String::new();
    reader.set_read_timeout(Some(SOON)).unwrap();
    BufReader::new(reader).read_line(&mut first).unwrap();
    assert!(first.contains("\"hello\""), "{first}");
    let mut answer = String::new();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    sender.wait().unwrap();
    let ended = daemon.wait_for("call_ended", SOON);
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0, "{}", daemon.log());
    speech.assert_is_whole_in(&daemon.text(0));
    let log = daemon.log();
    assert_eq!(log.matches("clients are let in again").count(), 2, "{log}");
    assert!(daemon.stop(SOON).success(), "{}", daemon.log());
}

/// What stands between the program and the clock of the machine in a test: Debian's `faketime`.
fn faketime() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let found = found.find(|library| library.exists());
    found.expect("Debian's faketime is there; `make test` installs it")
}

/// NTP steps the time of day by an hour and back by a day, in mid-word.
#[test]
fn clock_that_jumps_moves_the_time_of_lines_and_nothing_else() {
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |offset: &str| {
        // Never empty: the daemon reads it at any moment.
        let new = clock.path().with_extension("new");
        fs::write(&new, format!("{offset}\n")).unwrap();
        fs::rename(new, clock.path()).unwrap();
    };
    set("+0");
    let keep = |ports: &[u16]| {
        let keep = "[spool]\ndirectory = \"{folder}/spool\"\nmax-age-hours = 1\n";
        line_of(ports) + keep
    };
    let environment = [
        ("LD_PRELOAD", faketime().to_str().unwrap().to_owned()),
        (
            "FAKETIME_TIMESTAMP_FILE",
            clock.path().to_str().unwrap().to_owned(),
        ),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    // The recogniser takes its time, so that parts wait while the clock jumps.
    let script = Script {
        delay: Duration::from_millis(500),
        ..Script::default()
    };
    let service = ServiceConfig {
        engine: EngineConfig::Scripted(script),
        ..ServiceConfig::default()
    };
    let mut daemon = Daemon::start_in(environment, ("", ""), 1, service, keep);
    let speech = Speech {
        stream: 6,
        seconds: 12,
    };
    let wav = speech.write_wav(daemon.folder.path());
    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    let mut sender = spawn_sender(PROGRAM, &["send", wav.to_str().unwrap(), "--to", &to]);
    daemon.wait_for("speech_started", SOON);
    let (cpu_before, _) = daemon.usage();
    for offset in ["+1h", "-1d", "+1d", "-1h"] {
        sleep(Duration::from_millis(2_500));
        set(offset);
    }
    sender.wait().unwrap();
    let ended = daemon.wait_for("call_ended", SOON);
    let (cpu, _) = daemon.usage();
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0, "{}", daemon.log());
    assert_eq!(balanced(&ended, 0, "received_ms"), 14_000);
    speech.assert_is_whole_in(&daemon.text(0));
    let ts: jiff::Timestamp = ended["ts"].as_str().unwrap().parse().unwrap();
    let behind = jiff::Timestamp::now().duration_since(ts).as_secs();
    assert!((3_590..3_660).contains(&behind), "{behind} s");
    assert!(
        cpu - cpu_before < Duration::from_secs(4),
        "{cpu:?}: a busy loop?"
    );
    assert!(daemon.stop(SOON).success(), "{}", daemon.log());
}
