//! Calls that are registered: from the request to the last word, on real sockets.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::control::{Client, address};
use crate::support::metrics::Metrics;
use crate::support::ports::free_address;
use crate::support::{Daemon, Recogniser, Speech, balanced, run_sender};
use callscribe::service::config::ServiceConfig;
use serde_json::{Value, json};

const CALLSCRIBE: &str = env!("CARGO_BIN_EXE_callscribe");
const MINUTE: Duration = Duration::from_secs(60);

/// A daemon with so many free ports for streams and no line.
fn daemon(ports: u16) -> Daemon {
    Daemon::start_with(ports, ServiceConfig::default(), |_| String::new())
}

fn two_legs(id: &str) -> Value {
    json!({"id": id, "legs": [{"role": "CUSTOMER"}, {"role": "AGENT"}]})
}

fn send(daemon: &Daemon, speech: &Speech, call: &Value, channel: usize) {
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(call, channel));
    run_sender(CALLSCRIBE, &["send", &leg], MINUTE);
}

#[test]
fn registered_call_is_heard_on_its_ports_and_its_last_words_come_with_its_end() {
    let mut daemon = daemon(8);
    let client = Client::of(&daemon);
    let call = client.register(&json!({
        "id": "trunk 7%ü",
        "legs": [{"role": "CUSTOMER", "codec": "PCMU", "expected_source": "127.0.0.1"}, {"role": "AGENT"}],
        "from": "+8613800000000", "to": "400", "direction": "inbound",
        "metadata": {"queue": "billing", "nested": [1, null]},
    }));
    assert_eq!(call["state"], "expected");
    let speeches = [1, 2].map(|stream| Speech { stream, seconds: 3 });
    let legs = [0, 1].map(|channel| {
        let file = speeches[channel].write_wav(daemon.folder.path());
        format!("--leg={}@{}", file.display(), address(&call, channel))
    });
    run_sender(CALLSCRIBE, &["send", &legs[0], &legs[1]], MINUTE);
    let ended = client.ask("DELETE", "/v1/calls/trunk%207%25%C3%BC", &Value::Null);

    assert_eq!(ended.status, 200, "{}", ended.body);
    assert_eq!(ended.body["id"], "trunk 7%ü");
    assert_eq!(ended.body["reason"], "hangup");
    for channel in [0, 1] {
        assert_eq!(balanced(&ended.body, channel, "gap_ms"), 0);
        assert!(balanced(&ended.body, channel, "transcribed_ms") >= 3000);
    }
    daemon.wait_for("call_ended", MINUTE);
    speeches[0].assert_is_whole_in(&daemon.text(0));
    speeches[1].assert_is_whole_in(&daemon.text(1));
    let started = daemon.wait_for("call_started", MINUTE);
    assert_eq!(started["from"], "+8613800000000");
    assert_eq!(started["direction"], "inbound");
    assert_eq!(
        started["metadata"],
        json!({"queue": "billing", "nested": [1, null]})
    );
    assert_eq!(started["channels"][1]["role"], "AGENT");
    assert_eq!(started["channels"][1]["role_source"], "registered");
    let gone = client.ask("GET", "/v1/calls/trunk%207%25%C3%BC", &Value::Null);
    assert_eq!((gone.status, gone.error().0), (404, "no_such_call"));
}

#[test]
fn ports_are_even_distinct_and_of_no_line() {
    let line = |ports: &[u16]| {
        let (even, odd) = (ports[0], ports[2] + 1);
        format!("[[line]]\nname = \"l\"\nlegs = [{{ port = {even} }}, {{ port = {odd} }}]\n")
    };
    let mut daemon = Daemon::start_with(8, ServiceConfig::default(), line);
    let of_line: BTreeSet<u16> = [daemon.ports[0], daemon.ports[2]].into();
    let client = Client::of(&daemon);
    let mut given = BTreeSet::new();
    let refused = loop {
        let answer = client.ask("POST", "/v1/calls", &json!({"legs": [{}]}));
        if answer.status != 201 {
            break answer;
        }
        let port = answer.body["legs"][0]["local_port"].as_u64().unwrap();
        assert!(
            given.insert(u16::try_from(port).unwrap()),
            "{port} was given twice"
        );
    };
    assert_eq!((refused.status, refused.error().0), (503, "no_free_port"));
    let expected: BTreeSet<u16> = daemon.ports.iter().copied().collect();
    assert_eq!(given, &expected - &of_line);
    assert!(daemon.stop(MINUTE).success());
}

#[test]
fn port_of_an_ended_call_rests() {
    let daemon = daemon(1);
    let client = Client::of(&daemon);
    client.register(&json!({"id": "first", "legs": [{}]}));
    assert_eq!(
        client.ask("DELETE", "/v1/calls/first", &Value::Null).status,
        200
    );
    let refused = client.ask("POST", "/v1/calls", &json!({"legs": [{}]}));
    assert_eq!((refused.status, refused.error().0), (503, "no_free_port"));
}

#[test]
fn port_that_somebody_sends_to_already_is_not_given_out() {
    let daemon = daemon(1);
    let client = Client::of(&daemon);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packet = rtp_packet(0);
    stranger
        .send_to(&packet, ("127.0.0.1", daemon.ports[0]))
        .unwrap();
    // The datagram is queued before the request is made: the worker sees it first.
    let refused = client.ask("POST", "/v1/calls", &json!({"legs": [{}]}));
    assert_eq!((refused.status, refused.error().0), (503, "no_free_port"));
}

#[test]
fn one_id_is_one_call_however_many_register_it_at_once() {
    let daemon = daemon(24);
    let client = Client::of(&daemon);
    drop(client.connect());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let register = || client.ask("POST", "/v1/calls", &two_legs("same")).status;
        let askers: Vec<_> = (0..10).map(|_| scope.spawn(register)).collect();
        askers
            .into_iter()
            .map(|asker| asker.join().unwrap())
            .collect()
    });
    let of = |status: u16| statuses.iter().filter(|&&one| one == status).count();
    assert_eq!((of(201), of(409)), (1, 9), "{statuses:?}");
    let list = client.ask("GET", "/v1/calls", &Value::Null).body;
    assert_eq!(list["calls"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_learned_late_is_told_and_shown() {
    let mut daemon = daemon(8);
    let client = Client::of(&daemon);
    let call =
        client.register(&json!({"id": "late", "legs": [{}, {}], "metadata": {"a": 1, "b": 2}}));
    let speech = Speech {
        stream: 5,
        seconds: 1,
    };
    send(&daemon, &speech, &call, 0);
    client.wait_until("late", |call| call["state"] == "active");
    let change = json!({
        "legs": [{"channel": 0, "role": "CUSTOMER"}, {"channel": 1, "expected_source": "127.0.0.9:4000"}],
        "metadata": {"b": 3}, "to": "400",
    });
    let changed = client.ask("PATCH", "/v1/calls/late", &change);

    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["metadata"], json!({"a": 1, "b": 3}));
    assert_eq!(changed.body["legs"][0]["role"], "CUSTOMER");
    assert_eq!(changed.body["legs"][1]["expected_source"], "127.0.0.9:4000");
    let told = daemon.wait_for("call_updated", MINUTE);
    assert_eq!(
        (&told["to"], &told["metadata"]["b"]),
        (&"400".into(), &3.into())
    );
    assert_eq!(told["channels"][0]["role_source"], "registered");
    let stranger = Speech {
        stream: 6,
        seconds: 1,
    };
    send(&daemon, &stranger, &call, 1);
    let call = client.wait_until("late", |call| {
        call["legs"][1]["statistics"]["counters"]["source_rejected"] != 0
    });
    assert_eq!(call["legs"][1]["remote"], Value::Null);
}

#[test]
fn end_without_patience_is_accepted_and_the_last_words_follow() {
    let mut daemon = daemon(4);
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "short", "legs": [{}]}));
    let speech = Speech {
        stream: 8,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    let sender = thread::spawn(move || run_sender(CALLSCRIBE, &["send", &leg], MINUTE));
    daemon.wait_for("speech_started", MINUTE);
    let accepted = client.ask("DELETE", "/v1/calls/short?wait_ms=0", &Value::Null);
    let second = client.ask("DELETE", "/v1/calls/short", &Value::Null);

    assert_eq!(
        (accepted.status, &accepted.body["state"]),
        (202, &"ending".into())
    );
    assert!(
        [200, 404].contains(&second.status),
        "asking again is harmless: {}",
        second.body
    );
    let ended = daemon.wait_for("call_ended", MINUTE);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    assert!(!daemon.text(0).is_empty());
    sender.join().unwrap();
}

#[test]
fn sender_gets_receiver_reports_where_its_own_come_from() {
    let reports = "receiver-reports = true";
    let daemon =
        Daemon::start_configured(reports, "", 2, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "reported", "legs": [{}]}));
    let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").unwrap();
    rtcp.set_read_timeout(Some(MINUTE)).unwrap();
    let port = call["legs"][0]["local_port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .unwrap();
    for number in [0, 1, 2, 4, 5] {
        rtp.send_to(&rtp_packet(number), ("127.0.0.1", port))
            .unwrap();
    }
    client.wait_until("reported", |call| call["state"] == "active");
    rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], ("127.0.0.1", port + 1))
        .unwrap();

    let mut report = [0; 256];
    let (len, from) = rtcp.recv_from(&mut report).unwrap();
    assert_eq!(from.port(), port + 1, "from the port that RTCP goes to");
    assert_eq!(report[..2], [0x81, 201], "a receiver report with one block");
    assert_eq!(
        report[8..12],
        7_u32.to_be_bytes(),
        "about the sender's stream"
    );
    assert_eq!(report[13..16], [0, 0, 1], "one packet was lost");
    assert_eq!(
        report[32..34],
        [0x81, 202],
        "followed by the reporter's name"
    );
    assert_eq!(len % 4, 0);
}

#[test]
fn curl_registers_and_ends_a_call() {
    let daemon = daemon(2);
    drop(Client::of(&daemon).connect());
    let socket = daemon.folder.path().join("control.sock");
    let curl = |arguments: &[&str]| {
        let common = ["-sS", "--fail-with-body", "--unix-socket"];
        let output = Command::new("curl")
            .args(common)
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let call = r#"{"id": "c1", "legs": [{"role": "CUSTOMER"}]}"#;
    let registered = curl(&["http://localhost/v1/calls", "-d", call]);
    assert!(address(&registered, 0).starts_with("127.0.0.1:"));
    let chunked = [
        "-X",
        "PATCH",
        "-H",
        "Transfer-Encoding: chunked",
        "-d",
        r#"{"from": "1"}"#,
    ];
    let changed = curl(&[&chunked[..], &["http://localhost/v1/calls/c1"]].concat());
    assert_eq!(changed["from"], "1");
    let ended = curl(&["-X", "DELETE", "http://localhost/v1/calls/c1"]);
    assert_eq!(ended["reason"], "hangup");
}

#[test]
fn call_past_the_limit_is_refused_with_its_reason_and_when_to_try_again() {
    let more = |_: &[u16]| "[overload]\nmax-legs = 2\n".to_owned();
    let service = ServiceConfig::default();
    let daemon = Daemon::start_configured("workers = 1", "", 4, service, more);
    let client = Client::of(&daemon);
    client.register(&json!({"id": "a", "legs": [{}, {}]}));
    let refused = client.ask("POST", "/v1/calls", &json!({"id": "b", "legs": [{}]}));
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 10"), "{}", refused.head);
    let (code, message) = refused.error();
    assert_eq!(code, "overloaded");
    assert!(message.contains("overload.max-legs"), "{message}");
    let metrics = Metrics::of(&client);
    assert_eq!(metrics.value("callscribe_calls_refused_total", ""), 1.0);
    let status = client.ask("GET", "/v1/status", &Value::Null).body;
    assert_eq!(status["load"]["calls_refused"], 1, "{status}");
    assert_eq!(status["load"]["workers"][0]["sheds"], "nothing", "{status}");

    client.ask("DELETE", "/v1/calls/a", &Value::Null);
    client.register(&json!({"id": "b", "legs": [{}, {}]}));
}

/// Silence in PCMU of SSRC 7.
fn rtp_packet(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend([0xFF; 160]);
    packet
}

/// The state of each leg's session, in the order of the legs.
fn sessions(call: &Value) -> Vec<String> {
    let legs = call["legs"].as_array().into_iter().flatten();
    let states = legs.map(|leg| {
        leg["session"]["state"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    });
    states.collect()
}

/// What `callscribe calls` prints.
fn calls_command(daemon: &Daemon) -> String {
    let mut command = Command::new(CALLSCRIBE);
    let socket = daemon.folder.path().join("control.sock");
    let output = command.arg("calls").arg("--socket").arg(socket).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn leg_that_waits_for_the_quota_is_told_from_the_one_whose_session_is_open() {
    let one_session = "max-sessions = 1";
    let daemon = Daemon::start_asking(one_session, 4, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let call = client.register(&two_legs("two"));
    assert_eq!(sessions(&call), ["none", "none"]);
    let legs = [0, 1].map(|channel| {
        let stream = channel + 1;
        let seconds = 4;
        let file = Speech { stream, seconds }.write_wav(daemon.folder.path());
        let channel = usize::from(channel);
        format!("--leg={}@{}", file.display(), address(&call, channel))
    });
    let sender = thread::spawn(move || {
        run_sender(CALLSCRIBE, &["send", &legs[0], &legs[1]], MINUTE);
    });
    let shown = client.wait_until("two", |call| {
        let mut states = sessions(call);
        states.sort();
        states == ["open", "waiting"]
    });
    let legs = shown["legs"].as_array().unwrap();
    assert!(
        legs.iter().all(|leg| leg["session"]["for_ms"].is_u64()),
        "{shown}"
    );
    let table = calls_command(&daemon);
    assert!(
        table.contains("  open\n") && table.contains("waits for quota, "),
        "{table}"
    );
    sender.join().unwrap();
    client.wait_until("two", |call| sessions(call) == ["ended", "ended"]);
}

#[test]
fn leg_whose_recogniser_is_away_says_why_until_its_text_is_there() {
    let address_of_service = free_address();
    let asr = format!("endpoint = \"ws://{address_of_service}\"\ngive-up-after-ms = 1000\n");
    let spool = |_: &[u16]| "[spool]\ndirectory = \"{folder}/spool\"\n".to_owned();
    let daemon = Daemon::start_asking(&asr, 2, ServiceConfig::default(), spool);
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "away", "legs": [{"role": "AGENT"}]}));
    let speech = Speech {
        stream: 1,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    let sender = thread::spawn(move || run_sender(CALLSCRIBE, &["send", &leg], MINUTE));
    let shown = client.wait_until("away", |call| {
        let session = &call["legs"][0]["session"];
        session["state"] == "retrying" && session["tries"].as_u64() > Some(1)
    });
    let reason = shown["legs"][0]["session"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot reach 127.0.0.1:"), "{reason}");
    let table = calls_command(&daemon);
    assert!(table.contains("retrying after try "), "{table}");
    assert!(table.contains("cannot reach 127.0.0.1:"), "{table}");
    sender.join().unwrap();
    let shown = client.wait_until("away", |call| sessions(call) == ["spooled"]);
    assert_eq!(shown["legs"][0]["parts_spooled"], 1);
    assert!(calls_command(&daemon).contains("  1 on disk\n"));

    let _back = Recogniser::start_as(ServiceConfig {
        listen: address_of_service,
        ..ServiceConfig::default()
    });
    let shown = client.wait_until("away", |call| sessions(call) == ["ended"]);
    assert!(shown["legs"][0]["parts_spooled"].is_null(), "{shown}");
}
