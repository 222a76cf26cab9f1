//! SIPp as a sender: it calls another SIPp, whose answer directs the audio to the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::control::{Client, address};
use crate::support::sip::{self, Action};
use crate::support::{Daemon, Speech, balanced, covered};
use callscribe::cli::send::packetizer::compand_all;
use callscribe::media::Law;
use callscribe::service::config::ServiceConfig;
use serde_json::{Value, json};

#[test]
fn a_law_of_a_sip_call_arrives_whole() {
    let mut daemon = Daemon::start(1);
    let speech = speech(11);
    let file = write_a_law(&speech, daemon.folder.path());
    let actions = [Action::Speak(&file), Action::Wait(8000)];
    sip::call(daemon.ports[0], daemon.folder.path(), &actions);
    let ended = daemon.wait_for("call_ended", SOON);

    assert_eq!(daemon.of("channel_started", 0)[0]["codec"], "PCMA");
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    let rtp = &covered(&ended, 0)["rtp"];
    let bad = ["lost", "duplicates", "late"].map(|figure| rtp[figure].as_i64());
    assert_eq!(bad, [Some(0); 3], "{rtp}");
}

#[test]
fn keys_from_a_raw_socket_beside_the_audio_are_keys_of_the_leg() {
    let mut daemon = Daemon::start(1);
    let speech = speech(12);
    let file = write_a_law(&speech, daemon.folder.path());
    let actions = [
        Action::Speak(&file),
        Action::Wait(2000),
        Action::Press("2580#"),
        Action::Wait(5500),
    ];
    sip::call(daemon.ports[0], daemon.folder.path(), &actions);
    let ended = daemon.wait_for("call_ended", SOON);

    let keys: String = daemon
        .of("dtmf", 0)
        .iter()
        .filter_map(|line| line["digit"].as_str())
        .collect();
    assert_eq!(keys, "2580#");
    assert_eq!(daemon.of("channel_health", 0), [] as [&Value; 0]);
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
}

#[test]
fn registered_parties_are_heard_apart_in_their_roles() {
    let mut daemon = Daemon::start_with(8, ServiceConfig::default(), |_| String::new());
    let client = Client::of(&daemon);
    let registered = client.register(&json!({
        "id": "two@pbx",
        "legs": [{"role": "CUSTOMER"}, {"role": "AGENT"}],
    }));
    let speeches = [speech(21), speech(22)];
    let folder = daemon.folder.path();
    std::thread::scope(|parties| {
        for (leg, speech) in speeches.iter().enumerate() {
            let port = address(&registered, leg).rsplit(':').next();
            let port = port.and_then(|port| port.parse().ok());
            let port = port.expect("a leg's address has a port");
            parties.spawn(move || {
                let file = write_a_law(speech, folder);
                sip::call(port, folder, &[Action::Speak(&file), Action::Wait(8000)]);
            });
        }
    });
    let ended = client.ask("DELETE", "/v1/calls/two@pbx", &Value::Null);
    assert_eq!(ended.status, 200, "{}", ended.body);
    daemon.wait_for("call_ended", SOON);

    for (leg, speech) in speeches.iter().enumerate() {
        let role = ["CUSTOMER", "AGENT"][leg];
        let said = daemon.of("transcript", leg);
        assert!(said.iter().all(|line| line["role"] == role), "{said:?}");
        speech.assert_is_whole_in(&daemon.text(leg));
        assert_eq!(balanced(&ended.body, leg, "lost_ms"), 0);
        assert_eq!(balanced(&ended.body, leg, "gap_ms"), 0);
    }
}

const fn speech(stream: u16) -> Speech {
    Speech { stream, seconds: 5 }
}

fn write_a_law(speech: &Speech, folder: &Path) -> PathBuf {
    let path = folder.join(format!("speech{}.al", speech.stream));
    let audio = compand_all(Law::Pcma, &speech.samples());
    fs::write(&path, &*audio).expect("the test's folder can be written to");
    path
}

const SOON: Duration = Duration::from_secs(20);
