//! The OpenAPI document tells the truth: every answer and every field of it is seen, and nothing else is.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets"
)]

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use crate::support::control::{Answer, Client, address, read_answer};
use crate::support::openapi::Document;
use crate::support::{Daemon, Speech, run_sender};
use callscribe::service::config::ServiceConfig;
use serde_json::{Value, json};

const CALLS: &str = "/v1/calls";
const CALL: &str = "/v1/calls/{id}";
const MINUTE: Duration = Duration::from_secs(60);

struct Auditor {
    client: Client,
    document: Document,
}

impl Auditor {
    /// Asks, and holds request and answer against the document.
    #[track_caller]
    fn ask(&self, method: &str, route: &str, id: &str, body: &Value) -> Answer {
        let answer = self.client.ask(method, &route.replace("{id}", id), body);
        let route = route.split('?').next().unwrap();
        if answer.status < 300 && !body.is_null() {
            self.document.check_request(method, route, body);
        }
        self.document
            .check_answer(method, route, answer.status, &answer.body);
        answer
    }

    #[track_caller]
    fn expect(&self, status: u16, method: &str, route: &str, id: &str, body: &Value) -> Value {
        let answer = self.ask(method, route, id, body);
        assert_eq!(answer.status, status, "{method} {route}: {}", answer.body);
        answer.body
    }

    /// Sends the head of a request and too little of its body.
    #[track_caller]
    fn dawdle(&self, method: &str, route: &str) {
        use std::io::Write;
        let mut stream = self.client.connect();
        let path = route.replace("{id}", "a");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"
        )
        .unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(answer.status, 408);
        self.document.check_answer(method, route, 408, &answer.body);
    }
}

#[test]
fn document_is_true_and_complete() {
    let mut daemon = Daemon::start_with(4, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let document = client.ask("GET", "/v1/openapi.json", &Value::Null).body;
    let shipped: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert_eq!(document, shipped);
    let auditor = Auditor {
        client,
        document: Document::new(document),
    };
    auditor.expect(200, "GET", "/v1/openapi.json", "", &Value::Null);
    let whole = json!({
        "id": "a", "from": "1", "to": "2", "direction": "outbound", "metadata": {"k": ["v"]},
        "legs": [{"role": "AGENT", "codec": "PCMA", "expected_source": "127.0.0.1"}],
    });
    let call = auditor.expect(201, "POST", CALLS, "", &whole);
    be_heard_beside_a_stranger(&auditor, &daemon, &call);
    auditor.expect(200, "GET", CALLS, "", &Value::Null);
    auditor.expect(200, "GET", "/v1/status", "", &Value::Null);
    let change = json!({
        "from": "3", "to": "4", "direction": "internal", "metadata": {"l": 1},
        "legs": [{"channel": 0, "role": "CUSTOMER", "expected_source": "127.0.0.1"}],
    });
    auditor.expect(200, "PATCH", CALL, "a", &change);
    auditor.expect(
        400,
        "PATCH",
        CALL,
        "a",
        &json!({"legs": [{"channel": 1, "role": "AGENT"}]}),
    );
    auditor.expect(409, "POST", CALLS, "", &whole);
    auditor.expect(400, "POST", CALLS, "", &json!({"legs": [{"channel": 0}]}));
    auditor.expect(
        503,
        "POST",
        CALLS,
        "",
        &json!({"legs": [{}, {}, {}, {}, {}]}),
    );
    for (method, route) in [("POST", CALLS), ("PATCH", CALL)] {
        let long = json!({"from": "x".repeat(70_000)});
        auditor.expect(413, method, route, "a", &long);
        auditor.dawdle(method, route);
    }
    auditor.expect(
        400,
        "DELETE",
        "/v1/calls/{id}?wait_ms=-1",
        "a",
        &Value::Null,
    );
    for (method, body) in [
        ("GET", Value::Null),
        ("PATCH", json!({})),
        ("DELETE", Value::Null),
    ] {
        auditor.expect(404, method, CALL, "nobody", &body);
    }
    auditor.expect(200, "DELETE", CALL, "a", &Value::Null);
    end_in_mid_word(&auditor, &mut daemon);
    let auditor = speak_in_vain(auditor);

    assert_eq!(auditor.document.unseen(), Vec::<String>::new());
}

/// A heard leg shows its sender and that one's clock; a second sender makes `channel_health` speak.
fn be_heard_beside_a_stranger(auditor: &Auditor, daemon: &Daemon, call: &Value) {
    let speech = Speech {
        stream: 1,
        seconds: 1,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(call, 0));
    run_sender(env!("CARGO_BIN_EXE_callscribe"), &["send", &leg], MINUTE);
    let shown = auditor.expect(200, "GET", CALL, "a", &Value::Null);
    assert!(!shown["legs"][0]["level_dbfs"].is_null(), "{shown}");
    let ssrc = shown["legs"][0]["statistics"]["ssrc"].as_u64().unwrap();
    let ssrc = u32::try_from(ssrc).unwrap().to_be_bytes();
    // RFC 3550 §6.4.1: a second after midnight of 1970, at the start of the stream.
    let report = [
        &[0x80, 200, 0, 6][..],
        &ssrc,
        &2_208_988_801_u32.to_be_bytes(),
        &[0; 16],
    ];
    let reporter = UdpSocket::bind("127.0.0.1:0").unwrap();
    reporter
        .send_to(&report.concat(), address(call, 0))
        .unwrap();
    auditor
        .client
        .wait_until("a", |call| !call["legs"][0]["sender_clock"].is_null());
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger
        .send_to(&[0x80, 8, 0, 0], address(call, 0))
        .unwrap();
    auditor
        .client
        .wait_until("a", |call| !call["legs"][0]["health"].is_null());
    let shown = auditor.expect(200, "GET", CALL, "a", &Value::Null);
    assert_eq!(shown["legs"][0]["health"], "source_rejected");
}

/// A daemon without a recogniser says how its sessions fare.
fn speak_in_vain(auditor: Auditor) -> Auditor {
    let asr = "endpoint = \"ws://127.0.0.1:1\"\ngive-up-after-ms = 1000\n";
    let spool = |_: &[u16]| "[spool]\ndirectory = \"{folder}/spool\"\n".to_owned();
    let daemon = Daemon::start_asking(asr, 2, ServiceConfig::default(), spool);
    let auditor = Auditor {
        client: Client::of(&daemon),
        document: auditor.document,
    };
    let call = auditor.expect(201, "POST", CALLS, "", &json!({"id": "c", "legs": [{}]}));
    let speech = Speech {
        stream: 3,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    let send = move || run_sender(env!("CARGO_BIN_EXE_callscribe"), &["send", &leg], MINUTE);
    let sender = thread::spawn(send);
    auditor
        .client
        .wait_until("c", |call| call["legs"][0]["session"]["tries"].is_u64());
    auditor.expect(200, "GET", CALL, "c", &Value::Null);
    sender.join().unwrap();
    auditor
        .client
        .wait_until("c", |call| call["legs"][0]["parts_spooled"].is_u64());
    auditor.expect(200, "GET", CALL, "c", &Value::Null);
    auditor
}

/// Whoever does not wait for the last words is told that they follow.
fn end_in_mid_word(auditor: &Auditor, daemon: &mut Daemon) {
    let call = auditor.expect(201, "POST", CALLS, "", &json!({"id": "b", "legs": [{}]}));
    let speech = Speech {
        stream: 2,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    let send = move || run_sender(env!("CARGO_BIN_EXE_callscribe"), &["send", &leg], MINUTE);
    let sender = thread::spawn(send);
    daemon.wait_for_all("speech_started", 2, MINUTE);
    auditor.expect(202, "DELETE", "/v1/calls/{id}?wait_ms=0", "b", &Value::Null);
    sender.join().unwrap();
}
