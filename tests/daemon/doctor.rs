//! `callscribe doctor` beside the running daemon: six set-ups that are broken and one that is not.
//! `cargo test --test daemon doctor -- --nocapture` shows what it prints for each.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests use real time and sockets, and what fails here fails the test"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::control::{Client, address};
use crate::support::ports::free_address;
use crate::support::{Daemon, Speech, free_ports, line_of, run_sender, spawn_sender, wait_for};
use callscribe::service::config::ServiceConfig;
use callscribe::service::gate::{Credentials, User};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_callscribe");
const SOON: Duration = Duration::from_secs(30);

/// What doctor says.
struct Diagnosis {
    exit: Option<i32>,
    findings: Vec<Value>,
}

impl Diagnosis {
    /// Has it look at a daemon; shows it for people besides.
    #[track_caller]
    fn of(daemon: &Daemon, set_up: &str) -> Self {
        let config = daemon.folder.path().join("callscribe.toml");
        Self::with(config.to_str().unwrap(), set_up)
    }

    #[track_caller]
    fn with(config: &str, set_up: &str) -> Self {
        let run = |more: &[&str]| {
            let doctor = Command::new(PROGRAM)
                .args(["doctor", "-c", config])
                .args(more)
                .output();
            doctor.unwrap()
        };
        let shown = run(&[]);
        println!("== {set_up}\n{}", String::from_utf8(shown.stdout).unwrap());
        let output = run(&["--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        Self {
            exit: output.status.code(),
            findings: said["findings"].as_array().unwrap().clone(),
        }
    }

    /// The fault of this check; it says, shows and advises something.
    #[track_caller]
    fn fault(&self, check: &str) -> &Value {
        let is_it = |one: &&Value| one["check"] == check && one["grade"] == "fault";
        let found = self.findings.iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("no fault {check} in {:#?}", self.findings));
        for field in ["says", "evidence", "advice"] {
            assert!(
                found[field].as_str().is_some_and(|text| text.len() > 10),
                "{found}"
            );
        }
        assert_eq!(self.exit, Some(2));
        found
    }

    #[track_caller]
    fn assert_no_other_fault(&self, checks: &[&str]) {
        let others = self.findings.iter().filter(|one| {
            let check = one["check"].as_str().unwrap();
            one["grade"] == "fault" && !checks.contains(&check)
        });
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&Value>::new());
    }
}

/// Whether a text of a finding holds these words.
#[track_caller]
fn assert_says(finding: &Value, field: &str, words: &str) {
    let text = finding[field].as_str().unwrap_or_default();
    assert!(
        text.contains(words),
        "{words:?} is not in {field}: {finding}"
    );
}

/// Half a minute of speech to a leg, in the background.
fn speak(daemon: &Daemon, to: &str) -> std::process::Child {
    let speech = Speech {
        stream: 1,
        seconds: 30,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{to}", file.display());
    spawn_sender(PROGRAM, &["send", &leg])
}

/// Two seconds of RTP of any payload type.
fn send_rtp(payload_type: u8, to: &str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = socket.local_addr().unwrap();
    let to = to.to_owned();
    thread::spawn(move || {
        for n in 0_u8..100 {
            let header = [0x80, payload_type, 0, n, 0, 0, n, 0, 1, 2, 3, 4];
            socket
                .send_to(&[&header[..], &[0x55; 160]].concat(), &to)
                .unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    from
}

#[test]
fn healthy_call_is_told_to_be_well() {
    let service = ServiceConfig::default();
    let mut daemon = Daemon::start_with(4, service, |_| String::new());
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "good", "legs": [{"role": "CUSTOMER"}]}));
    let speech = Speech {
        stream: 1,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{}", file.display(), address(&call, 0));
    run_sender(PROGRAM, &["send", &leg], SOON);
    daemon.wait_for("transcript", SOON);

    let diagnosis = Diagnosis::of(&daemon, "a healthy call");
    assert_eq!(diagnosis.exit, Some(0), "{:#?}", diagnosis.findings);
    let grades = diagnosis
        .findings
        .iter()
        .map(|one| one["grade"].as_str().unwrap());
    assert!(grades.clone().all(|grade| ["ok", "note"].contains(&grade)));
    let checks: Vec<_> = diagnosis
        .findings
        .iter()
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    for check in [
        "configuration",
        "daemon",
        "leg",
        "packets",
        "speech",
        "recogniser",
        "quota",
        "recogniser.dns",
        "recogniser.tcp",
        "recogniser.token",
        "recogniser.handshake",
        "clock",
        "kernel",
        "files",
        "kernel.rmem_max",
        "disk",
    ] {
        assert!(
            checks.contains(&check),
            "{check} was not looked at: {checks:?}"
        );
    }
}

#[test]
fn call_without_rtp_is_told_with_its_port() {
    let daemon = Daemon::start_with(4, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "mute", "legs": [{"role": "AGENT"}]}));
    client.wait_until("mute", |call| call["legs"][0]["health"] == "no_rtp");
    let diagnosis = Diagnosis::of(&daemon, "no RTP");
    let fault = diagnosis.fault("leg");
    assert_says(fault, "says", &call["legs"][0]["local_port"].to_string());
    assert_says(fault, "says", "leg 0 (AGENT) of call mute");
    assert_says(fault, "advice", address(&call, 0));
    diagnosis.assert_no_other_fault(&["leg"]);
}

#[test]
fn wrong_codec_is_named_with_its_sender() {
    let daemon = Daemon::start_with(4, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "opus", "legs": [{}]}));
    let opus = send_rtp(111, address(&call, 0));
    // G.722 where no call is registered.
    let g722 = send_rtp(9, &format!("127.0.0.1:{}", daemon.ports[3]));
    client.wait_until("opus", |call| call["legs"][0]["health"] == "bad_payload");
    let diagnosis = Diagnosis::of(&daemon, "wrong codec");
    let fault = diagnosis.fault("leg");
    assert_says(fault, "evidence", &format!("{opus} sends payload type 111"));
    assert_says(fault, "advice", "Opus");
    let fault = diagnosis.fault("sender");
    assert_says(fault, "says", &g722.to_string());
    assert_says(fault, "advice", "G.722");
    diagnosis.assert_no_other_fault(&["leg", "sender"]);
}

#[test]
fn stranger_is_named_with_what_keeps_him_out() {
    let rtp = "allowed-sources = [\"127.0.0.7/32\"]";
    let more = |_: &[u16]| String::new();
    let daemon = Daemon::start_configured(rtp, "", 4, ServiceConfig::default(), more);
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "guarded", "legs": [{}]}));
    let stranger = send_rtp(0, address(&call, 0));
    client.wait_until("guarded", |call| {
        call["legs"][0]["health"] == "source_rejected"
    });
    let diagnosis = Diagnosis::of(&daemon, "a stranger's source");
    let fault = diagnosis.fault("leg");
    assert_says(fault, "evidence", &stranger.to_string());
    assert_says(fault, "advice", "rtp.allowed-sources");
    diagnosis.assert_no_other_fault(&["leg"]);
}

#[test]
fn recogniser_that_is_down_is_told_with_the_step_that_fails() {
    let nobody = free_address();
    let asr = format!("endpoint = \"ws://{nobody}\"\ngive-up-after-ms = 1000");
    let mut daemon = Daemon::start_asking(&asr, 1, ServiceConfig::default(), line_of);
    let speech = Speech {
        stream: 2,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@127.0.0.1:{}", file.display(), daemon.ports[0]);
    run_sender(PROGRAM, &["send", &leg], SOON);
    daemon.wait_for("gap", SOON);
    let diagnosis = Diagnosis::of(&daemon, "the recogniser is down");
    let fault = diagnosis.fault("recogniser.tcp");
    assert_says(fault, "evidence", &nobody.to_string());
    assert_says(diagnosis.fault("speech"), "evidence", "asr_unavailable");
    diagnosis.fault("recogniser");
    diagnosis.assert_no_other_fault(&["recogniser", "recogniser.tcp", "speech"]);
}

#[test]
fn expired_token_is_told_as_the_tokens_fault() {
    let service = ServiceConfig {
        credentials: Credentials {
            required: true,
            users: vec![User {
                name: "u".into(),
                password: "p".into(),
                domain: "d".into(),
            }],
            token_life_s: Some(1),
            ..Credentials::default()
        },
        ..ServiceConfig::default()
    };
    let asr = "token-file = \"{folder}/token\"";
    let mut daemon = Daemon::start_asking(asr, 1, service, line_of);
    let (issued, token) = (Instant::now(), issue_token(daemon.recogniser().addr));
    fs::write(daemon.folder.path().join("token"), token).unwrap();
    wait_for(SOON, || {
        (issued.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let diagnosis = Diagnosis::of(&daemon, "the token has expired, nobody has spoken yet");
    let fault = diagnosis.fault("recogniser.token");
    assert_says(fault, "evidence", "token expires");
    assert_says(fault, "advice", "asr.token-file");
    diagnosis.assert_no_other_fault(&["recogniser.token"]);

    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    let mut sender = speak(&daemon, &to);
    let halted = wait_for(SOON, || {
        let status = Client::of(&daemon)
            .ask("GET", "/v1/status", &Value::Null)
            .body;
        status["recogniser"]["halted"].is_object().then_some(())
    });
    let diagnosis = Diagnosis::of(&daemon, "the token has expired, and the daemon was refused");
    sender.kill().and_then(|()| sender.wait()).unwrap();
    assert!(halted.is_some(), "{}", daemon.log());
    assert_says(diagnosis.fault("recogniser"), "evidence", "token expires");
    let way = |one: &&Value| one["check"] == "recogniser.handshake";
    let way = diagnosis.findings.iter().find(way).unwrap();
    assert_says(way, "says", "was not tried");
    daemon.wait_for("gap", SOON);
}

/// A token as the identity service gives it.
fn issue_token(service: SocketAddr) -> String {
    let body =
        json!({"auth": {"scope": {"project": {"name": "x"}}, "identity": {"methods": ["password"],
        "password": {"user": {"name": "u", "password": "p", "domain": {"name": "d"}}}}}})
        .to_string();
    let mut stream = TcpStream::connect(service).unwrap();
    write!(
        stream,
        "POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let token = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-subject-token")
            .then(|| value.to_owned())
    };
    answer.lines().find_map(token).expect("a token")
}

#[test]
fn one_way_audio_is_told_with_the_silent_side() {
    let daemon = Daemon::start_with(6, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let legs = json!([{"role": "CUSTOMER"}, {"role": "AGENT"}]);
    let call = client.register(&json!({"id": "half", "legs": legs}));
    let mut sender = speak(&daemon, address(&call, 0));
    client.wait_until("half", |call| call["legs"][1]["health"] == "one_way");
    let diagnosis = Diagnosis::of(&daemon, "one-way audio");
    sender.kill().and_then(|()| sender.wait()).unwrap();
    let fault = diagnosis.fault("leg");
    assert_says(fault, "says", "leg 1 (AGENT) of call half");
    assert_says(fault, "evidence", "while another leg is heard");
    diagnosis.assert_no_other_fault(&["leg"]);
}

#[test]
fn without_a_daemon_the_holder_of_its_ports_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports(2);
    let _holder = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let config = folder.path().join("c.toml");
    let socket = folder.path().join("e.sock");
    let text = format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{port}-{port}\"\n[events]\nsocket = {socket:?}\n\
         [asr]\nendpoint = \"ws://127.0.0.1:1\"\n"
    );
    fs::write(&config, text).unwrap();
    let diagnosis = Diagnosis::with(config.to_str().unwrap(), "no daemon, and its port is held");
    diagnosis.fault("daemon");
    let holder = diagnosis
        .findings
        .iter()
        .find(|one| one["check"] == "ports")
        .unwrap();
    assert_says(holder, "says", &format!("process {}", std::process::id()));
}

#[test]
fn configuration_that_cannot_be_used_is_the_first_and_only_finding() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "[rtp]\nport-rnage = \"1-2\"\n").unwrap();
    let diagnosis = Diagnosis::with(config.to_str().unwrap(), "a faulty configuration");
    let fault = diagnosis.fault("configuration");
    assert_says(fault, "evidence", "c.toml:2");
    assert_eq!(diagnosis.findings.len(), 1);
}
