//! `callscribe send` speaks a call of two legs, `callscribe tail` follows it, both as a user runs them.

use std::process::Command;
use std::time::Duration;

use crate::support::{Daemon, Speech, balanced, covered, run_sender};

const CALLSCRIBE: &str = env!("CARGO_BIN_EXE_callscribe");

#[test]
fn two_legs_sent_on_one_clock_are_heard_on_one_clock() {
    let mut daemon = Daemon::start(2);
    let speeches = [1, 2].map(|stream| Speech { stream, seconds: 4 });
    let legs = speeches.each_ref().map(|speech| {
        let file = speech.write_wav(daemon.folder.path());
        let port = daemon.ports[usize::from(speech.stream) - 1];
        format!("--leg={}@127.0.0.1:{port}", file.display())
    });
    let options = [
        "send",
        "--law=pcma",
        "--ptime=30",
        "--dtmf=5@0.3",
        &legs[0],
        &legs[1],
    ];
    run_sender(CALLSCRIBE, &options, Duration::from_secs(30));
    let ended = daemon.wait_for("call_ended", Duration::from_secs(20));

    for (channel, speech) in speeches.iter().enumerate() {
        speech.assert_is_whole_in(&daemon.text(channel));
        let received = balanced(&ended, channel, "received_ms");
        assert!((6000..=6030).contains(&received), "{received} ms of 6000");
        assert_eq!(balanced(&ended, channel, "gap_ms"), 0);
        assert_eq!(covered(&ended, channel)["rtp"]["lost"], 0);
    }
    // 6 s of 30 ms packets; on channel 0 the key's end packet comes three times.
    let packets = [0, 1].map(|channel| covered(&ended, channel)["rtp"]["packets"].as_u64());
    assert_eq!(packets, [Some(202), Some(200)]);
    let starts = [0, 1].map(|channel| daemon.of("speech_started", channel)[0]["start_ms"].as_u64());
    let [Some(one), Some(other)] = starts else {
        panic!("both legs speak: {starts:?}")
    };
    assert!(
        one.abs_diff(other) <= 40,
        "both speak at once: {one} and {other} ms"
    );
    let keys = daemon.of("dtmf", 0);
    assert_eq!(keys.len(), 1, "one key is one event: {keys:?}");
    assert_eq!(keys[0]["digit"], "5");
    let pressed = keys[0]["start_ms"].as_u64().unwrap_or(0);
    assert!((300..=330).contains(&pressed), "pressed at {pressed} ms");
}

#[test]
fn tail_shows_people_who_said_what_and_ends_with_the_call() {
    let mut daemon = Daemon::start(1);
    let speech = Speech {
        stream: 3,
        seconds: 2,
    };
    let file = speech.write_wav(daemon.folder.path());
    let to = format!("--to=127.0.0.1:{}", daemon.ports[0]);
    let file = file.to_str().expect("a temporary folder has a plain name");
    run_sender(CALLSCRIBE, &["send", file, &to], Duration::from_secs(20));
    daemon.wait_for("call_ended", Duration::from_secs(20));

    let socket = daemon.folder.path().join("events.sock");
    let tail = |format: &str| {
        let options = ["--from=oldest", "--until=call_ended", format];
        let output = Command::new(CALLSCRIBE)
            .args(["tail", "--socket"])
            .arg(&socket)
            .args(options)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("lines are UTF-8")
    };
    let text = tail("--format=text");
    let spoken = text
        .lines()
        .find(|line| line.contains("3.0:"))
        .expect("the text is shown");
    assert!(spoken.contains("channel 0  3."), "{spoken}");
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.contains("call ended: idle timeout"))
    );
    let json = tail("--format=json");
    let seqs: Vec<u64> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON"))
        .filter_map(|line| line["seq"].as_u64())
        .collect();
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no line is missing: {seqs:?}"
    );
    assert!(seqs.len() >= 5, "{json}");
}
