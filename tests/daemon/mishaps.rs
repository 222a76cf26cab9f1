//! The built daemon where things go wrong: what it needs is taken, away or broken, or it is told to stop.
#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Daemon, Speech, balanced, free_ports, line_of, run_sender, spawn_sender};
use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::scripted::Script;
use callscribe::service::fault::{Action, At, Fault, Which};

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
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
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
