//! baresip as a sender: a softphone whose keys come between its audio packets, that sends RTCP and
//! says BYE.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test with real processes in real time"
)]

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use crate::support::sip::Callee;
use crate::support::{Daemon, Speech, balanced, covered, free_ports, line_of, spawn_sender};
use callscribe::service::config::ServiceConfig;
use callscribe::wav;

#[test]
fn audio_and_keys_of_a_softphone_arrive_whole_until_it_says_bye() {
    // The port of its RTCP is in the daemon's range.
    let line = |ports: &[u16]| line_of(&ports[..1]);
    let mut daemon = Daemon::start_with(2, ServiceConfig::default(), line);
    let speech = Speech {
        stream: 13,
        seconds: 5,
    };
    let file = daemon.folder.path().join("speech.wav");
    let samples = [speech.samples(), vec![0; 16_000]].concat();
    wav::write(File::create(&file).unwrap(), samples).unwrap();
    let callee = Callee::at(daemon.ports[0], daemon.folder.path());
    let phone = Phone::call(callee.sip, &file, daemon.folder.path());
    daemon.wait_for("channel_started", SOON);
    // Until the last word.
    sleep(Duration::from_millis(6300));
    for key in ["1", "9", "#"] {
        phone.press(key);
    }
    phone.hang_up();
    callee.wait();
    let ended = daemon.wait_for("call_ended", SOON);

    assert_eq!(ended["reason"], "rtcp_bye");
    assert_eq!(daemon.of("channel_started", 0)[0]["codec"], "PCMA");
    let keys = daemon.of("dtmf", 0);
    let keys: String = keys
        .iter()
        .filter_map(|line| line["digit"].as_str())
        .collect();
    assert_eq!(keys, "19#");
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    let rtp = &covered(&ended, 0)["rtp"];
    let bad = ["lost", "duplicates", "late"].map(|figure| rtp[figure].as_i64());
    assert_eq!(bad, [Some(0); 3], "{rtp}");
}

/// A baresip in a call, with its console.
struct Phone {
    baresip: Child,
    console: UdpSocket,
}

impl Phone {
    fn call(sip: u16, file: &Path, folder: &Path) -> Self {
        let console = free_ports(2);
        let own_sip = free_ports(2);
        let config = include_str!("../support/baresip.conf")
            .replace("SPEECH", file.to_str().unwrap())
            .replace("CONSOLE", &console.to_string());
        fs::write(folder.join("config"), config).unwrap();
        let account =
            format!("<sip:caller@127.0.0.1:{own_sip}>;regint=0;audio_codecs=PCMA/8000/1\n");
        fs::write(folder.join("accounts"), account).unwrap();
        let dial = format!("d sip:desk@127.0.0.1:{sip}");
        let baresip = spawn_sender("baresip", &["-f", folder.to_str().unwrap(), "-e", &dial]);
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        own.connect(("127.0.0.1", console)).unwrap();
        Self {
            baresip,
            console: own,
        }
    }

    /// Holds a key for 200 ms.
    fn press(&self, key: &str) {
        self.console.send(key.as_bytes()).unwrap();
        sleep(Duration::from_millis(200));
        self.console.send(RELEASE).unwrap();
        sleep(Duration::from_millis(200));
    }

    fn hang_up(&self) {
        self.console.send(b"b").unwrap();
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        self.baresip
            .kill()
            .and_then(|()| self.baresip.wait().map(drop))
            .unwrap_or_default();
    }
}

/// End of transmission: no key is pressed.
const RELEASE: &[u8] = b"\x04";
const SOON: Duration = Duration::from_secs(20);
