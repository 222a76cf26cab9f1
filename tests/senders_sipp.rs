//! SIPp as a sender: it calls another SIPp, whose answer directs the audio to the daemon.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use callscribe::cli::send::packetizer::compand_all;
use callscribe::media::Law;
use support::{Daemon, Speech, balanced, covered, free_ports, run_sender, spawn_sender};

#[test]
fn a_law_of_a_sip_call_arrives_whole() {
    let mut daemon = Daemon::start(1);
    let folder = daemon.folder.path();
    let speech = Speech {
        stream: 11,
        seconds: 5,
    };
    fs::write(
        folder.join("speech.al"),
        &*compand_all(Law::Pcma, &speech.samples()),
    )
    .unwrap();
    let answer = write_scenario(
        folder,
        "answer.xml",
        &ANSWER.replace("PORT", &daemon.ports[0].to_string()),
    );
    let audio = folder.join("speech.al");
    let call = write_scenario(
        folder,
        "call.xml",
        &CALL.replace("FILE", audio.to_str().unwrap()),
    );
    let (sip, own_sip) = (free_ports(2).to_string(), free_ports(2).to_string());
    let callee_media = free_ports(4).to_string();
    let caller_media = free_ports(4).to_string();

    let common = ["-i", "127.0.0.1", "-m", "1", "-nostdin", "-timeout", "40"];
    let callee = ["-sf", &answer, "-p", &sip, "-mp", &callee_media];
    let mut callee = spawn_sender("sipp", &[&common[..], &callee].concat());
    let target = format!("127.0.0.1:{sip}");
    let caller = ["-sf", &call, "-p", &own_sip, "-mp", &caller_media, &target];
    run_sender(
        "sipp",
        &[&common[..], &caller].concat(),
        Duration::from_secs(40),
    );
    assert!(callee.wait().unwrap().success());
    let ended = daemon.wait_for("call_ended", Duration::from_secs(20));

    assert_eq!(daemon.of("channel_started", 0)[0]["codec"], "PCMA");
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    let rtp = &covered(&ended, 0)["rtp"];
    let bad = ["lost", "duplicates", "late"].map(|figure| rtp[figure].as_i64());
    assert_eq!(bad, [Some(0); 3], "{rtp}");
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
fn write_scenario(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The caller: invites, sends the file, hangs up.
const CALL: &str = include_str!("support/sipp_call.xml");
/// The called side: answers with the daemon's port.
const ANSWER: &str = include_str!("support/sipp_answer.xml");
