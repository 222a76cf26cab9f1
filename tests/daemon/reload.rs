//! SIGHUP: what a running daemon takes of a changed configuration, what it names, and what it says of a
//! faulty one. And its log: each line of a call has the call's id.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::control::{Client, address};
use crate::support::{Daemon, Recogniser, Speech, free_ports, line_of, run_sender, wait_for};
use callscribe::service::config::ServiceConfig;
use callscribe::service::engine::scripted::Says;
use callscribe::service::fault::{Action, At, Fault, Which};
use callscribe::service::gate::Credentials;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_callscribe");
const SOON: Duration = Duration::from_secs(30);

/// Changes the configuration, and tells the daemon.
fn change(daemon: &Daemon, old: &str, new: &str) {
    let path = daemon.folder.path().join("callscribe.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&path, text.replace(old, new)).unwrap();
    daemon.signal(Signal::HUP);
}

/// The first line of the log with these words.
#[track_caller]
fn logged(daemon: &Daemon, words: &str) -> String {
    let line = wait_for(SOON, || {
        let log = daemon.log();
        log.lines()
            .find(|line| line.contains(words))
            .map(str::to_owned)
    });
    line.unwrap_or_else(|| panic!("no {words:?} in\n{}", daemon.log()))
}

fn speak(daemon: &Daemon, stream: u16, to: &str) {
    let speech = Speech { stream, seconds: 2 };
    let file = speech.write_wav(daemon.folder.path());
    let leg = format!("--leg={}@{to}", file.display());
    run_sender(PROGRAM, &["send", &leg], SOON);
}

#[test]
fn changed_keys_are_taken_and_those_for_a_restart_are_named() {
    let rtp = "allowed-sources = [\"127.0.0.7/32\"]";
    let more = |_: &[u16]| "[log]\nlevel = \"info\"\n".to_owned();
    let mut daemon = Daemon::start_configured(rtp, "", 4, ServiceConfig::default(), more);
    let client = Client::of(&daemon);
    let call = client.register(&json!({"id": "a", "legs": [{}]}));
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger
        .send_to(&[0x80, 0, 0, 1], address(&call, 0))
        .unwrap();
    client.wait_until("a", |call| call["legs"][0]["health"] == "source_rejected");

    let allowed = "allowed-sources = [\"127.0.0.0/8\"]\ntick-ms = 10";
    change(&daemon, rtp, allowed);
    let reloaded = logged(&daemon, "the configuration was reloaded");
    assert!(
        reloaded.contains("changed=rtp.allowed-sources"),
        "{reloaded}"
    );
    assert!(logged(&daemon, "restart needed").contains("rtp.tick-ms"));

    // The call that went on meanwhile is heard.
    speak(&daemon, 1, address(&call, 0));
    daemon.wait_for("transcript", SOON);
    // The control API goes by the new networks too.
    let source = json!({"id": "b", "legs": [{"expected_source": "127.0.0.1"}]});
    client.register(&source);

    change(
        &daemon,
        "level = \"info\"",
        "level = \"debug\"\nformat = \"json\"",
    );
    logged(&daemon, "\"message\":\"the configuration was reloaded");
    // What only a restart changes is named again until there is one.
    let restarts = daemon.log().matches("restart needed").count();
    assert_eq!(restarts, 2, "{}", daemon.log());
    client.ask("DELETE", "/v1/calls/a", &Value::Null);
    let ended = logged(&daemon, "\"message\":\"call ended\"");
    let ended: Value = serde_json::from_str(&ended).unwrap();
    assert_eq!(ended["span"]["call_id"], "a");
}

#[test]
fn faulty_file_changes_nothing_and_is_told_with_its_line() {
    let mut daemon = Daemon::start(1);
    let path = daemon.folder.path().join("callscribe.toml");
    let good = fs::read_to_string(&path).unwrap();
    let rtp = "[rtp]\nallowed-sources = [\"192.0.2.0/24\"]\nidle-timeuot-ms = 5\n";
    fs::write(&path, good.replace("[rtp]\n", rtp)).unwrap();
    daemon.signal(Signal::HUP);
    let told = logged(&daemon, "nothing has changed");
    assert!(
        told.contains("callscribe.toml:3:1: rtp.idle-timeuot-ms"),
        "{told}"
    );
    assert!(told.contains("mend the file"), "{told}");

    // Legal TOML, but a file with a secret is missing: found before anything is changed.
    let asr = "[asr]\naccess-key = \"a\"\nsecret-key-file = \"/nonexistent/secret\"\n";
    fs::write(&path, good.replace("[asr]\n", asr)).unwrap();
    daemon.signal(Signal::HUP);
    logged(&daemon, "/nonexistent/secret");

    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    speak(&daemon, 1, &to);
    daemon.wait_for("transcript", SOON);
}

#[test]
fn new_token_ends_the_time_in_which_nothing_is_tried() {
    let service = ServiceConfig {
        credentials: Credentials {
            required: true,
            tokens: vec!["good".into()],
            ..Credentials::default()
        },
        ..ServiceConfig::default()
    };
    let mut daemon = Daemon::start_asking("token = \"bad\"", 1, service, line_of);
    let to = format!("127.0.0.1:{}", daemon.ports[0]);
    speak(&daemon, 1, &to);
    daemon.wait_for("gap", SOON);
    let status = || {
        Client::of(&daemon)
            .ask("GET", "/v1/status", &Value::Null)
            .body
    };
    assert!(status()["recogniser"]["halted"].is_object());

    change(&daemon, "token = \"bad\"", "token = \"good\"");
    let reloaded = logged(&daemon, "the configuration was reloaded");
    assert!(reloaded.contains("changed=asr.token"), "{reloaded}");
    assert!(status()["recogniser"]["halted"].is_null());
    speak(&daemon, 2, &to);
    let transcript = daemon.wait_for("transcript", SOON);
    assert!(
        transcript["text"].as_str().unwrap().contains("2.0:"),
        "{transcript}"
    );
    assert!(!daemon.log().contains("good\""), "no token is logged");
}

#[test]
fn time_out_of_a_call_that_goes_on_changes_with_the_file() {
    let daemon = Daemon::start(1);
    change(&daemon, "idle-timeout-ms = 2000", "idle-timeout-ms = 60000");
    logged(&daemon, "changed=rtp.idle-timeout-ms");
    speak(&daemon, 1, &format!("127.0.0.1:{}", daemon.ports[0]));
    let client = Client::of(&daemon);
    let calls = || client.ask("GET", "/v1/calls", &Value::Null).body["calls"].clone();
    let id = calls()[0]["id"].as_str().unwrap().to_owned();
    client.wait_until(&id, |call| {
        call["legs"][0]["last_packet_ms"].as_u64() > Some(3_000)
    });
    change(&daemon, "idle-timeout-ms = 60000", "idle-timeout-ms = 1000");
    let over = wait_for(SOON, || (calls() == json!([])).then_some(()));
    assert!(over.is_some(), "{}", calls());
}

/// Lines of a call name it, those of its recognition too.
#[test]
fn each_log_line_of_a_call_has_its_id() {
    let dies = Fault {
        at: At::Byte(8_000),
        action: Action::Drop,
        which: Which {
            last: 1,
            ..Which::default()
        },
    };
    let service = ServiceConfig {
        faults: vec![dies],
        ..ServiceConfig::default()
    };
    let mut daemon = Daemon::start_with(1, service, |ports| {
        let log = "[log]\nformat = \"json\"\nlevel = \"info,callscribe=debug\"\n";
        log.to_owned() + &line_of(ports)
    });
    speak(&daemon, 1, &format!("127.0.0.1:{}", daemon.ports[0]));
    let ended = daemon.wait_for("call_ended", SOON);
    logged(&daemon, "call ended");
    let log = daemon.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let about_calls = [
        "call began",
        "call ended",
        "leg is heard",
        "recognition failed",
    ];
    let mut seen = Vec::new();
    for line in lines {
        let message = line["fields"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if about_calls.contains(&message.as_str()) {
            assert_eq!(line["span"]["call_id"], ended["call_id"], "{line}");
            seen.push(message);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), about_calls.len(), "{seen:?} in\n{log}");
}

/// A stand-in for the system's journal, in the place where the daemon sees it.
struct Journald {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Journald {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, folder }
    }

    /// A daemon whose standard error is, as it believes, a stream of this journal.
    fn run(&self, config: &Path) -> Child {
        let stderr = File::create(self.folder.path().join("stderr")).unwrap();
        let place = stderr.metadata().unwrap();
        let scene = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                     mount --bind \"$1\" /run/systemd/journal && exec \"$2\" run -c \"$3\"";
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", scene, "sh"])
            .args([self.folder.path(), Path::new(PROGRAM), config])
            .env("JOURNAL_STREAM", format!("{}:{}", place.dev(), place.ino()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    /// The fields of the next entry with this message.
    #[track_caller]
    fn wait_for(&self, message: &str) -> BTreeMap<String, String> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let len = self.socket.recv(&mut buffer).unwrap_or_else(|error| {
                let said = fs::read_to_string(self.folder.path().join("stderr")).unwrap();
                panic!("no {message:?}: {error}\n{said}")
            });
            let entry = fields(&buffer[..len]);
            if entry.get("MESSAGE").is_some_and(|text| text == message) {
                return entry;
            }
        }
    }
}

/// The journal's native protocol: `NAME=value`, or the name, a length and so many bytes.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(end) = entry.iter().position(|&byte| byte == b'\n') {
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        match line.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                fields.insert(text(&line[..at]), text(&line[at + 1..]));
                entry = rest;
            }
            None => {
                let len = u64::from_le_bytes(rest[..8].try_into().unwrap());
                let (value, rest) = rest[8..].split_at(usize::try_from(len).unwrap());
                fields.insert(text(line), text(value));
                entry = &rest[1..];
            }
        }
    }
    fields
}

#[test]
fn system_journal_gets_each_line_with_its_fields_and_nothing_goes_to_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let first = free_ports(2);
    let socket = folder.path().join("events.sock");
    let config = folder.path().join("callscribe.toml");
    let text = format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first}-{}\"\n\
         [asr]\nendpoint = \"ws://127.0.0.1:1\"\n[events]\nsocket = {socket:?}\n\
         [journal]\npath = {:?}\n[[line]]\nname = \"line\"\nlegs = [{{ port = {first} }}]\n",
        first + 1,
        folder.path().join("journal.db"),
    );
    fs::write(&config, text).unwrap();
    let journald = Journald::start();
    let mut daemon = journald.run(&config);
    let ready = journald.wait_for("ready");
    assert_eq!(ready["PRIORITY"], "5", "{ready:?}");
    assert_eq!(ready["SYSLOG_IDENTIFIER"], "callscribe");
    assert!(ready["RTP"].starts_with("127.0.0.1:"), "{ready:?}");
    assert!(ready["VERSION"].contains('.') && ready.contains_key("CODE_LINE"));

    let leg = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 0_u8..10 {
        let head = [0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 9];
        let mut packet = [&head[..], &[0xff; 160]].concat();
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        leg.send_to(&packet, ("127.0.0.1", first)).unwrap();
    }
    let began = journald.wait_for("call began");
    assert!(began["CALL_ID"].starts_with("line"), "{began:?}");
    assert_eq!((&*began["LEGS"], &*began["PRIORITY"]), ("1", "5"));
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let ended = journald.wait_for("call ended");
    assert_eq!(ended["CALL_ID"], began["CALL_ID"]);
    assert_eq!(ended["REASON"], "shutdown", "{ended:?}");
    let ended = wait_for(SOON, || daemon.try_wait().unwrap());
    assert!(ended.is_some_and(|status| status.success()));
    let said = fs::read_to_string(journald.folder.path().join("stderr")).unwrap();
    assert_eq!(said, "");
}

/// A pipe holds 64 KiB; this one is full before the daemon says its first word.
#[test]
fn log_that_nobody_reads_holds_no_call_up() {
    let folder = tempfile::tempdir().unwrap();
    let recogniser = Recogniser::start(Says::default());
    let first = free_ports(2);
    let socket = folder.path().join("events.sock");
    let config = folder.path().join("callscribe.toml");
    let text = format!(
        "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first}-{}\"\nidle-timeout-ms = 2000\n\
         [speech]\ndetector = \"webrtc\"\n[asr]\nendpoint = {:?}\n[events]\nsocket = {socket:?}\n\
         [journal]\npath = {:?}\n[[line]]\nname = \"line\"\nlegs = [{{ port = {first} }}]\n",
        first + 1,
        recogniser.endpoint(),
        folder.path().join("journal.db"),
    );
    fs::write(&config, text).unwrap();
    let (mut pipe, mut full) = std::io::pipe().unwrap();
    full.write_all(&[b'x'; 1 << 16]).unwrap();
    let mut daemon = Command::new(PROGRAM)
        .args(["run", "-c"])
        .arg(&config)
        .stderr(full)
        .spawn()
        .unwrap();
    let reader = wait_for(SOON, || UnixStream::connect(&socket).ok()).expect("it starts");
    reader.set_read_timeout(Some(SOON)).unwrap();
    let speech = Speech {
        stream: 1,
        seconds: 3,
    };
    let file = speech.write_wav(folder.path());
    let to = format!("--to=127.0.0.1:{first}");
    run_sender(PROGRAM, &["send", file.to_str().unwrap(), &to], SOON);
    let mut texts = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        texts.extend(line["text"].as_str().map(str::to_owned));
        if line["event"] == "call_ended" {
            assert_eq!(line["coverage"][0]["lost_ms"], 0, "{line}");
            break;
        }
    }
    speech.assert_is_whole_in(&texts.join(" "));

    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let mut log = String::new();
    pipe.read_to_string(&mut log).unwrap();
    assert!(daemon.wait().unwrap().success());
    let log = log.trim_start_matches('x');
    assert!(
        log.contains("call began") && log.contains("stopped"),
        "{log}"
    );
}
