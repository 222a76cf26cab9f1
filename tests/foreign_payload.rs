//! A sender in a codec that is no G.711: nothing of it is heard, and nobody thinks that the caller was
//! silent.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/virtual_calls.rs"]
mod virtual_calls;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callscribe::call::conversation::CallSpec;
use callscribe::call::leg::LegSpec;
use callscribe::call::switchboard::{Line, PortIndex, Settings};
use callscribe::event::{EndReason, Metadata, RoleSource};
use callscribe::media::receiver::ExpectedSource;
use serde_json::{Value, json};
use virtual_calls::{PACKET, Sender, VirtualCalls, sentence};

const OPUS: u8 = 96;
const G722: u8 = 9;
const OPUS_STEP: u32 = 960;
const G722_STEP: u32 = 160;

#[test]
fn ten_seconds_in_another_codec_are_lost_with_a_reason_and_no_silence() {
    for (payload_type, step) in [(OPUS, OPUS_STEP), (G722, G722_STEP)] {
        for changes_ssrc in [false, true] {
            for speaks_after in [true, false] {
                let (mut calls, port) = registered();
                let mut sender = Sender::new("127.0.0.1:4000", 1);
                let pcm = sentence();
                calls.play(port, &mut sender, &pcm);
                let spoken_ms = pcm.len() as u64 / 160 * 20;
                let mut other = sender.clone();
                other.ssrc += u32::from(changes_ssrc);
                send_foreign(&mut calls, port, &mut other, (payload_type, step), 500);
                if speaks_after {
                    (sender.seq, sender.timestamp) = (other.seq, other.timestamp);
                    calls.play(port, &mut sender, &pcm);
                }
                let leg = end(&mut calls);
                let case = format!("{payload_type} {changes_ssrc} {speaks_after}: {leg}");
                let ms = |field: &str| leg[field].as_u64().unwrap();
                assert!(ms("lost_ms").abs_diff(10_000) <= 250, "{case}");
                let heard = spoken_ms * (1 + u64::from(speaks_after));
                assert!(ms("received_ms").abs_diff(heard) <= 250, "{case}");
                assert_eq!(ms("speech_ms"), ms("transcribed_ms"), "{case}");
                let gaps = calls.events("gap");
                assert_eq!(gaps.len(), 1, "{case}");
                assert_eq!(gaps[0]["reason"], "rtp_loss");
                let why = gaps[0]["detail"].as_str().unwrap();
                assert_eq!(why, "500 packets came that are no G.711 here");
                let told = calls.events("channel_health");
                assert_eq!(told[0]["state"], "bad_payload", "{case}");
            }
        }
    }
}

#[test]
fn keep_alive_of_an_unknown_type_is_no_loss() {
    let (mut calls, port) = registered();
    let mut sender = Sender::new("127.0.0.1:4000", 1);
    let pcm = sentence();
    calls.play(port, &mut sender, &pcm);
    for _ in 0..3 {
        calls.pass(Duration::from_secs(1));
        let keep_alive = foreign(&mut sender, 126, &[]);
        calls.send(port, sender.address, &keep_alive);
        sender.timestamp = sender.timestamp.wrapping_add(8_000);
    }
    calls.play(port, &mut sender, &pcm);
    assert_eq!(end(&mut calls)["lost_ms"], 0);
    assert_eq!(calls.events("gap").len(), 0);
}

#[test]
fn registered_call_in_another_codec_says_bad_payload() {
    let (mut calls, port) = registered();
    let mut sender = Sender::new("127.0.0.1:4000", 1);
    send_foreign(&mut calls, port, &mut sender, (OPUS, OPUS_STEP), 100);
    let told = calls.events("channel_health");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["state"], "bad_payload");
    let detail = told[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("127.0.0.1:4000") && detail.contains("96"),
        "{detail}"
    );
}

#[test]
fn sender_that_begins_no_call_for_its_codec_is_logged_once() {
    for has_line in [false, true] {
        let settings = Settings {
            unregistered_calls: !has_line,
            ..VirtualCalls::settings()
        };
        let mut calls = VirtualCalls::new(settings);
        let port = calls.switchboard.add_port(40_000);
        if has_line {
            calls.switchboard.add_line(Line {
                name: "desk".to_owned(),
                legs: vec![(port, None)],
            });
        }
        let mut sender = Sender::new("127.0.0.1:4000", 1);
        let log = logged(|| send_foreign(&mut calls, port, &mut sender, (G722, G722_STEP), 3_000));
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in [
            "WARN",
            "port=40000",
            "source=127.0.0.1:4000",
            "payload_type=9",
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert_eq!(calls.lines, [] as [Value; 0]);
    }
}

#[test]
fn keep_alives_of_an_unknown_type_are_no_codec_to_be_warned_of() {
    let mut calls = VirtualCalls::new(Settings {
        unregistered_calls: true,
        ..VirtualCalls::settings()
    });
    let port = calls.switchboard.add_port(40_000);
    let mut sender = Sender::new("127.0.0.1:4000", 1);
    let log = logged(|| {
        for _ in 0..100 {
            let keep_alive = foreign(&mut sender, 97, &[0; 4]);
            calls.send(port, sender.address, &keep_alive);
            calls.pass(Duration::from_millis(20));
        }
    });
    assert_eq!(log, "");
}

fn send_foreign(
    calls: &mut VirtualCalls,
    port: PortIndex,
    sender: &mut Sender,
    (payload_type, step): (u8, u32),
    packets: u32,
) {
    for n in 0..packets {
        let packet = foreign(sender, payload_type, &[n.to_le_bytes()[0]; 80]);
        sender.timestamp = sender.timestamp.wrapping_add(step);
        let from: SocketAddr = sender.address;
        calls.send(port, from, &packet);
        calls.pass(PACKET);
    }
}

fn foreign(sender: &mut Sender, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = sender.packet(&[]);
    packet[1] = payload_type;
    packet.extend(payload);
    packet
}

fn registered() -> (VirtualCalls, PortIndex) {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let port = calls.switchboard.add_port(40_000);
    let leg = LegSpec {
        port,
        role: None,
        role_source: RoleSource::Unknown,
        law: None,
        expected_source: ExpectedSource::Any,
    };
    let spec = CallSpec {
        id: "call".into(),
        legs: vec![leg],
        from: None,
        to: None,
        direction: None,
        metadata: Metadata::new(),
        idle_timeout: Duration::from_secs(3_600),
        is_registered: true,
    };
    calls.switchboard.register(spec, calls.now).unwrap();
    (calls, port)
}

/// Hangs up and gives the coverage of the leg.
fn end(calls: &mut VirtualCalls) -> Value {
    let key = calls.switchboard.find("call").unwrap().key();
    calls
        .switchboard
        .handle_end(key, EndReason::Hangup, calls.now);
    calls.perform();
    calls.pass(Duration::from_secs(2));
    let ended = calls.events("call_ended");
    assert_eq!(ended.len(), 1);
    let leg = ended[0]["coverage"][0].clone();
    let ms = |field: &str| leg[field].as_u64().unwrap();
    assert_eq!(ms("speech_ms") + ms("silence_ms"), ms("received_ms"));
    assert_eq!(
        json!(ms("received_ms") + ms("lost_ms")),
        ended[0]["duration_ms"]
    );
    leg
}

/// What is logged meanwhile.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
