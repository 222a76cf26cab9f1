//! What a running daemon counts, and that dashboard, alert rules and documentation speak of just that.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use callscribe::service::config::ServiceConfig;
use callscribe::service::gate::{Credentials, User};
use serde_json::json;
use support::control::{Client, address};
use support::metrics::{Metrics, families};
use support::{Daemon, Speech, run_sender};

const PROGRAM: &str = env!("CARGO_BIN_EXE_callscribe");
const SOON: Duration = Duration::from_secs(30);
const DASHBOARD: &str = include_str!("../dashboards/callscribe.json");
const ALERTS: &str = include_str!("../dashboards/alerts.yml");
const DOCUMENT: &str = include_str!("../docs/metrics.md");

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
         password-file = \"{folder}/password\"\nproject = \"x\"\n"
            .to_owned()
    })
}

#[test]
fn call_is_counted_from_its_packets_to_its_text() {
    let mut daemon = daemon();
    let client = Client::of(&daemon);
    let before = Metrics::of(&client);
    assert_eq!(before.value("callscribe_calls_begun_total", ""), 0.0);
    assert_eq!(before.value("callscribe_ports", ""), 7.0);

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
    assert!(!after.text.contains("secret-call"), "no label names a call");
    assert_names(&after.families());
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
    let counted = support::wait_for(SOON, || {
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
    let tested: BTreeSet<&str> = words_behind(include_str!("alerts/rules.yml"), "- alertname: ");
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
