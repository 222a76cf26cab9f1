//! What a running daemon counts, and that dashboard, alert rules and documentation speak of just that.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use crate::support::control::{Client, address};
use crate::support::metrics::{Metrics, families};
use crate::support::ports::free_address;
use crate::support::{Daemon, Recogniser, Speech, line_of, run_sender, wait_for};
use callscribe::service::config::ServiceConfig;
use callscribe::service::gate::{Credentials, User};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_callscribe");
const SOON: Duration = Duration::from_secs(30);
const DASHBOARD: &str = include_str!("../../dashboards/callscribe.json");
const ALERTS: &str = include_str!("../../dashboards/alerts.yml");
const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// A daemon that fetches its tokens from the service.
fn daemon() -> Daemon {
    let service = ServiceConfig {
        credentials: Credentials {
            required: true,
            users: vec![User {
                name: "u".into(),
                password: "p".into(),
                domain: "d".into(),
            }],
            ..Credentials::default()
        },
        ..ServiceConfig::default()
    };
    Daemon::start_with(4, service, |_| {
        "[asr.iam]\nendpoint = \"http://{recogniser}\"\ndomain = \"d\"\nuser = \"u\"\n\
         password-file = \"{folder}/password\"\nproject = \"x\"\n\
         [spool]\ndirectory = \"{folder}/spool\"\n"
            .to_owned()
    })
}

#[test]
fn call_is_counted_from_its_packets_to_its_text() {
    let mut daemon = daemon();
    let client = Client::of(&daemon);
    let before = Metrics::of(&client);
    assert_eq!(before.value("callscribe_calls_begun_total", ""), 0.0);
    assert_eq!(before.value("callscribe_ports", ""), 8.0);

    let call = client.register(&json!({"id": "secret-call", "legs": [{"role": "AGENT"}, {}]}));
    assert_eq!(
        Metrics::of(&client).value("callscribe_calls", "state=\"expected\""),
        1.0
    );
    let speech = Speech {
        stream: 3,
        seconds: 3,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    run_sender(PROGRAM, &["send", &leg], SOON);
    daemon.wait_for("transcript", SOON);
    client.ask("DELETE", "/v1/calls/secret-call", &json!(null));

    let after = Metrics::of(&client);
    let one = |name: &str, labels: &str| assert_eq!(after.value(name, labels), 1.0, "{name}");
    one("callscribe_calls_begun_total", "");
    one("callscribe_calls_ended_total", "reason=\"hangup\"");
    one("callscribe_utterances_total", "");
    one("callscribe_transcripts_total", "");
    one("callscribe_sessions_total", "");
    one("callscribe_tokens_total", "");
    one("callscribe_streams_total", "");
    one("callscribe_readers", "");
    one("callscribe_transcript_delay_seconds_count", "");
    let ledger = |entry: &str| {
        let entry = format!("entry=\"{entry}\"");
        after.value("callscribe_ledger_seconds_total", &entry)
    };
    assert!(
        (3.0..4.0).contains(&ledger("speech")),
        "{}",
        ledger("speech")
    );
    assert_eq!(ledger("speech"), ledger("transcribed"));
    assert!(
        (4.9..5.1).contains(&ledger("received")),
        "{}",
        ledger("received")
    );
    let played = after.value("callscribe_datagrams_total", "fate=\"played\"");
    assert!((245.0..=251.0).contains(&played), "{played}");
    assert!(after.value("callscribe_fragment_delay_seconds_count", "") >= 7.0);
    assert!(after.value("callscribe_end_delay_seconds_count", "") >= 1.0);
    assert!(after.value("callscribe_tick_lag_seconds_count", "") > 400.0);
    assert!(after.value("callscribe_token_remaining_seconds", "") > 80_000.0);
    assert!(after.value("callscribe_lines_total", "") >= 5.0);
    assert!(after.value("callscribe_journal_commit_seconds_count", "") >= 1.0);
    assert!(after.value("callscribe_journal_bytes", "") > 4096.0);
    let oldest = after.value("callscribe_journal_oldest_seconds", "");
    assert!((3.0..30.0).contains(&oldest), "{oldest}");
    assert!(after.value("callscribe_disk_free_bytes", "store=\"spool\"") > 1e6);
    assert_eq!(after.value("callscribe_spool_parts_kept_total", ""), 0.0);
    assert!(!after.text.contains("secret-call"), "no label names a call");
    assert_names(&after.families());
}

/// A daemon whose recogniser is away, with a spool, and where the recogniser would be.
fn daemon_alone() -> (Daemon, std::net::SocketAddr) {
    let address = free_address();
    let asr = format!("endpoint = \"ws://{address}\"\ngive-up-after-ms = 1000\n");
    let more = |ports: &[u16]| {
        format!(
            "[spool]\ndirectory = \"{{folder}}/spool\"\n{}",
            line_of(ports)
        )
    };
    let daemon = Daemon::start_asking(&asr, 1, ServiceConfig::default(), more);
    (daemon, address)
}

fn speak(daemon: &Daemon, stream: u16) {
    let speech = Speech { stream, seconds: 2 };
    let file = speech.write_wav(daemon.folder.path());
    let to = format!("--to=127.0.0.1:{}", daemon.ports[0]);
    run_sender(PROGRAM, &["send", file.to_str().unwrap(), &to], SOON);
}

#[test]
fn what_waits_on_disk_is_counted_until_it_has_its_text() {
    let (daemon, address) = daemon_alone();
    let client = Client::of(&daemon);
    speak(&daemon, 1);
    let of = |name: &str| Metrics::of(&client).value(name, "");
    let kept = wait_for(SOON, || {
        (of("callscribe_spool_parts") == 1.0).then(|| Metrics::of(&client))
    });
    let kept = kept.expect("a part waits");
    assert_eq!(kept.value("callscribe_spool_parts_kept_total", ""), 1.0);
    let bytes = kept.value("callscribe_spool_bytes", "");
    assert!((16_000.0..40_000.0).contains(&bytes), "{bytes}");
    let oldest = kept.value("callscribe_spool_oldest_seconds", "");
    assert!((1.0..30.0).contains(&oldest), "{oldest}");
    let status = client.ask("GET", "/v1/status", &json!(null)).body;
    assert_eq!(status["spool"]["parts"], 1, "{status}");

    let _back = Recogniser::start_as(ServiceConfig {
        listen: address,
        ..ServiceConfig::default()
    });
    let is_empty = || (of("callscribe_spool_parts") == 0.0).then_some(());
    wait_for(SOON, is_empty).expect("the part has its text");
    let done = Metrics::of(&client);
    assert_eq!(done.value("callscribe_spool_oldest_seconds", ""), 0.0);
    assert_eq!(done.value("callscribe_spool_bytes", ""), 0.0);
    assert_eq!(done.value("callscribe_transcripts_late_total", ""), 1.0);
    let given_up = |cause: &str| {
        let cause = format!("cause=\"{cause}\"");
        done.value("callscribe_spool_parts_given_up_total", &cause)
    };
    assert_eq!(given_up("too_old") + given_up("not_written"), 0.0);
}

#[test]
fn spool_that_cannot_be_written_is_counted_and_so_is_what_it_costs() {
    let (mut daemon, _) = daemon_alone();
    let client = Client::of(&daemon);
    assert_eq!(
        Metrics::of(&client).value("callscribe_spool_failed", ""),
        0.0
    );
    std::fs::remove_dir_all(daemon.folder.path().join("spool")).unwrap();
    speak(&daemon, 1);
    let gap = daemon.wait_for("gap", SOON);
    let detail = gap["detail"].as_str().unwrap();
    assert!(detail.contains("could not be kept on disk"), "{gap}");
    let failed = wait_for(SOON, || {
        let metrics = Metrics::of(&client);
        let cause = "cause=\"not_written\"";
        let given_up = metrics.value("callscribe_spool_parts_given_up_total", cause);
        (given_up == 1.0).then_some(metrics)
    });
    let failed = failed.expect("it is counted");
    assert_eq!(failed.value("callscribe_spool_failed", ""), 1.0);
    assert!(failed.value("callscribe_spool_write_failures_total", "") >= 1.0);
    assert_eq!(failed.value("callscribe_checkpoints_failed", ""), 1.0);
}

/// Whoever sends where nobody expects it is counted by cause.
#[test]
fn stray_datagrams_are_counted_by_cause() {
    let daemon = Daemon::start_with(1, ServiceConfig::default(), |_| String::new());
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ("127.0.0.1", daemon.ports[0]);
    let opus = [&[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0; 40]].concat();
    for datagram in [&opus[..], b"hello", b"hello"] {
        stranger.send_to(datagram, to).unwrap();
    }
    let client = Client::of(&daemon);
    let counted = wait_for(SOON, || {
        let metrics = Metrics::of(&client);
        let of = |cause: &str| {
            metrics.value(
                "callscribe_stray_datagrams_total",
                &format!("cause=\"{cause}\""),
            )
        };
        (of("unknown_payload_type") + of("not_rtp") == 3.0).then(|| of("not_rtp"))
    });
    assert_eq!(counted, Some(2.0));
}

#[track_caller]
fn assert_names(served: &BTreeSet<String>) {
    let documented = backquoted(DOCUMENT);
    assert_eq!(&documented, served, "docs/metrics.md lists what is served");
    for (file, text) in [("dashboard", DASHBOARD), ("alerts", ALERTS)] {
        let used = families(text);
        let unknown: Vec<_> = used.difference(served).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}");
        assert!(used.len() > 10, "{file} uses {used:?}");
    }
    let shown = families(DASHBOARD);
    let hidden: Vec<_> = served.difference(&shown).collect();
    assert_eq!(hidden, ["process_start_time_seconds"]);
}

/// The names in the first column of the document's tables.
fn backquoted(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split(['`', '{']).next().unwrap().to_owned())
        .collect()
}

#[test]
fn alert_rules_are_accepted_and_each_fires_for_what_it_is_about() {
    promtool(&["check", "rules", "dashboards/alerts.yml"]);
    promtool(&["test", "rules", "tests/alerts/rules.yml"]);
    let rules: BTreeSet<&str> = words_behind(ALERTS, "- alert: ");
    let tested: BTreeSet<&str> = words_behind(include_str!("../alerts/rules.yml"), "- alertname: ");
    assert_eq!(rules, tested);
}

fn words_behind<'a>(text: &'a str, mark: &str) -> BTreeSet<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(mark))
        .collect()
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output();
    let output = output.expect("promtool is installed; `make test` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}
