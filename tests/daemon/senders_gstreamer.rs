//! GStreamer's RTP payloaders as senders: both laws, 20 ms packets and its default of 1388 bytes.

use std::time::Duration;

use crate::support::{Daemon, Speech, balanced, covered, run_sender};

#[test]
fn mu_law_in_20_ms_packets_arrives_whole() {
    let twenty = "20000000";
    hears(
        &[
            "mulawenc",
            "!",
            "rtppcmupay",
            &format!("max-ptime={twenty}"),
            &format!("min-ptime={twenty}"),
        ],
        "PCMU",
    );
}

#[test]
fn a_law_in_large_packets_arrives_whole() {
    hears(&["alawenc", "!", "rtppcmapay"], "PCMA");
}

fn hears(encoder: &[&str], codec: &str) {
    let mut daemon = Daemon::start(1);
    let speech = Speech {
        stream: 7,
        seconds: 5,
    };
    let file = speech.write_wav(daemon.folder.path());
    let source = format!("location={}", file.display());
    let port = format!("port={}", daemon.ports[0]);
    let reader = [
        "-q",
        "filesrc",
        &source,
        "!",
        "wavparse",
        "!",
        "audioconvert",
        "!",
    ];
    let sink = ["!", "udpsink", "host=127.0.0.1", &port];
    run_sender(
        "gst-launch-1.0",
        &[&reader, encoder, &sink].concat(),
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
    let spoken = balanced(&ended, 0, "transcribed_ms");
    assert!((5000..6000).contains(&spoken), "{spoken} ms of 5000 spoken");
}
