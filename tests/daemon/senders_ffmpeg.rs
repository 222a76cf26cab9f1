//! ffmpeg as a sender: bursts, odd packet sizes, RTCP on the audio port, no marker, no BYE.

use std::time::Duration;

use crate::support::{Daemon, Speech, balanced, covered, run_sender};

#[test]
fn mu_law_in_large_packets_arrives_whole() {
    hears("pcm_mulaw", "", "PCMU");
}

#[test]
fn a_law_in_mixed_small_packets_with_rtcp_on_the_same_port_arrives_whole() {
    hears("pcm_alaw", "pkt_size=172&rtcpport=PORT", "PCMA");
}

fn hears(encoder: &str, options: &str, codec: &str) {
    let mut daemon = Daemon::start(1);
    let speech = Speech {
        stream: 9,
        seconds: 5,
    };
    let file = speech.write_wav(daemon.folder.path());
    let port = daemon.ports[0].to_string();
    let url = format!("rtp://127.0.0.1:{port}?{}", options.replace("PORT", &port));
    let file = file.to_str().expect("a temporary folder has a plain name");
    let read = ["-nostdin", "-loglevel", "error", "-re", "-i", file];
    let write = ["-c:a", encoder, "-f", "rtp", &url];
    run_sender(
        "ffmpeg",
        &[&read[..], &write[..]].concat(),
        Duration::from_secs(30),
    );
    let ended = daemon.wait_for("call_ended", Duration::from_secs(20));

    assert_eq!(daemon.of("channel_started", 0)[0]["codec"], codec);
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0);
    assert_eq!(balanced(&ended, 0, "received_ms"), 7000);
    assert_eq!(balanced(&ended, 0, "gap_ms"), 0);
    let rtp = &covered(&ended, 0)["rtp"];
    let bad = ["lost", "duplicates", "late"].map(|figure| rtp[figure].as_i64());
    assert_eq!(bad, [Some(0); 3], "{rtp}");
}
