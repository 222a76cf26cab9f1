//! rtpengine in userspace, and the recipe that has it copy a call: two parties talk through it, the
//! daemon hears both, told apart.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "tests use real sockets and processes"
)]

use std::fs::File;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::control::Client;
use crate::support::{Daemon, Speech, balanced, free_ports, run_sender, wait_for};
use callscribe::service::config::ServiceConfig;
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);
const RECIPE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/docs/recipes/rtpengine_subscribe.py"
);

#[test]
fn subscribed_call_is_heard_from_both_sides() {
    let mut daemon = Daemon::start_with(8, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    drop(client.connect());
    let rtpengine = Rtpengine::start(&daemon);
    let parties = [free_ports(2), free_ports(2)];
    let to_callee = rtpengine.negotiate("offer", &sdp(parties[0]));
    let to_caller = rtpengine.negotiate("answer", &sdp(parties[1]));
    let subscribed = Command::new("python3")
        .args([RECIPE, "c1@pbx", "caller=CUSTOMER", "callee=AGENT"])
        .args(["--ng", &rtpengine.ng])
        .arg("--control")
        .arg(daemon.folder.path().join("control.sock"))
        .output()
        .unwrap();
    assert!(subscribed.status.success(), "{subscribed:?}");

    let speeches = [1, 2].map(|stream| Speech { stream, seconds: 4 });
    let ports = [to_caller, to_callee];
    let senders: Vec<_> = (0..2)
        .map(|side| {
            let file = speeches[side].write_wav(daemon.folder.path());
            let leg = format!("--leg={}@127.0.0.1:{}", file.display(), ports[side]);
            let source = format!("--source-port={}", parties[side]);
            std::thread::spawn(move || {
                let options = ["send", "--law=pcma", &source, &leg];
                run_sender(env!("CARGO_BIN_EXE_callscribe"), &options, MINUTE);
            })
        })
        .collect();
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    let ended = client.ask("DELETE", "/v1/calls/c1@pbx", &Value::Null);

    assert_eq!(ended.status, 200, "{}", ended.body);
    let started = daemon.wait_for("call_started", MINUTE);
    assert_eq!(started["channels"][0]["role"], "CUSTOMER");
    daemon.wait_for("call_ended", MINUTE);
    for (side, speech) in speeches.iter().enumerate() {
        speech.assert_is_whole_in(&daemon.text(side));
        assert_eq!(balanced(&ended.body, side, "lost_ms"), 0);
        assert_eq!(balanced(&ended.body, side, "gap_ms"), 0);
    }
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

struct Rtpengine {
    child: Child,
    ng: String,
}

impl Rtpengine {
    fn start(daemon: &Daemon) -> Self {
        let ng = format!("127.0.0.1:{}", free_ports(2));
        let first = free_ports(40);
        let log = File::create(daemon.folder.path().join("rtpengine.log")).unwrap();
        let mut command = Command::new("rtpengine");
        command.args([
            "--foreground",
            "--table=-1",
            "--log-stderr",
            "--interface=127.0.0.1",
        ]);
        command.arg(format!("--listen-ng={ng}"));
        command
            .arg(format!("--port-min={first}"))
            .arg(format!("--port-max={}", first + 39));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn();
        let child =
            child.unwrap_or_else(|error| panic!("rtpengine: {error}; `make test` installs it"));
        let rtpengine = Self { child, ng };
        let pong = wait_for(MINUTE, || rtpengine.ask("d7:command4:pinge"));
        assert!(
            pong.is_some_and(|pong| pong.contains("pong")),
            "rtpengine answers"
        );
        rtpengine
    }

    /// Offers or answers, and gives the port that the other side is told to send to.
    fn negotiate(&self, command: &str, sdp: &str) -> u16 {
        let text = |text: &str| format!("{}:{text}", text.len());
        let mut fields = vec![
            ("call-id", "c1@pbx"),
            ("command", command),
            ("from-tag", "caller"),
            ("sdp", sdp),
        ];
        if command == "answer" {
            fields.push(("to-tag", "callee"));
        }
        let coded: String = fields
            .iter()
            .map(|(key, value)| text(key) + &text(value))
            .collect();
        let answer = self.ask(&format!("d{coded}e")).expect("rtpengine answers");
        let port = answer
            .split("m=audio ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        port.and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port in {answer}"))
    }

    fn ask(&self, command: &str) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        // A cookie that rtpengine has seen is answered as it was then.
        let cookie = socket.local_addr().unwrap().port();
        let request = format!("{cookie} {command}");
        socket.send_to(request.as_bytes(), &self.ng).unwrap();
        let mut answer = [0; 4096];
        let len = socket.recv(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..len]).into_owned())
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .unwrap_or_default();
    }
}
