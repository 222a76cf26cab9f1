//! Fifty streams at once: every text complete and on its own call, every ledger exact. A thousand silent ones: hardly any
//! memory. A program of its own, for nothing else shall want the processor meanwhile.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it takes its time, and sends over real sockets"
)]

mod support;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

use callscribe::service::config::ServiceConfig;
use support::{Daemon, Speech, balanced, run_sender};

const STREAMS: u16 = 50;

/// Spoken by each stream, after and before a second of silence.
const SECONDS: u64 = 58;

#[test]
fn fifty_streams_for_a_minute_are_each_heard_whole_and_apart() {
    let mut daemon = Daemon::start_unregistered(STREAMS, ServiceConfig::default());
    let ports = daemon.ports.clone();
    let legs: Vec<String> = (0..STREAMS)
        .zip(&ports)
        .flat_map(|(stream, port)| {
            let wav = Speech {
                stream,
                seconds: SECONDS,
            }
            .write_wav(daemon.folder.path());
            [
                "--leg".to_owned(),
                format!("{}@127.0.0.1:{port}", wav.display()),
            ]
        })
        .collect();
    let mut arguments = vec!["send"];
    arguments.extend(legs.iter().map(String::as_str));
    let begun = Instant::now();
    run_sender(
        env!("CARGO_BIN_EXE_callscribe"),
        &arguments,
        Duration::from_secs(120),
    );
    let (cpu, peak_kib) = daemon.usage();

    let calls = daemon.wait_for_all("call_ended", usize::from(STREAMS), Duration::from_secs(60));
    let stream_of: BTreeMap<String, u16> = daemon
        .seen
        .iter()
        .filter(|line| line["event"] == "call_started")
        .map(|line| {
            let port = line["channels"][0]["local_port"].as_u64().unwrap();
            let stream = ports.iter().position(|&p| u64::from(p) == port).unwrap();
            (
                line["call_id"].as_str().unwrap().to_owned(),
                u16::try_from(stream).unwrap(),
            )
        })
        .collect();
    assert_eq!(stream_of.len(), usize::from(STREAMS));
    for call in &calls {
        let call_id = call["call_id"].as_str().unwrap();
        let stream = stream_of[call_id];
        Speech {
            stream,
            seconds: SECONDS,
        }
        .assert_is_whole_in(&daemon.text_of_call(call_id));
        assert_eq!(
            balanced(call, 0, "received_ms"),
            (SECONDS + 2) * 1000,
            "{call}"
        );
        assert_eq!(
            balanced(call, 0, "lost_ms") + balanced(call, 0, "gap_ms"),
            0,
            "{call}"
        );
    }
    println!(
        "{STREAMS} streams of {} s: daemon {cpu:.1?} of CPU in {:.1?}, {peak_kib} KiB at most",
        SECONDS + 2,
        begun.elapsed()
    );
}

#[test]
fn silent_legs_take_hardly_any_memory() {
    const LEGS: u16 = 1_000;
    const PACKETS: u16 = 60;
    const MOST_KIB: f64 = 40.0;
    let mut daemon = Daemon::start_unregistered(LEGS, ServiceConfig::default());
    let (_, before) = daemon.usage();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..PACKETS {
        let due = Instant::now() + Duration::from_millis(20);
        for (leg, port) in (0..).zip(&daemon.ports) {
            let packet = silence(leg, number);
            sender.send_to(&packet, ("127.0.0.1", *port)).unwrap();
        }
        sleep(due.saturating_duration_since(Instant::now()));
    }
    daemon.wait_for_all("call_started", usize::from(LEGS), Duration::from_secs(30));
    let (_, after) = daemon.usage();
    let per_leg = (after - before) as f64 / f64::from(LEGS);
    println!("{LEGS} silent legs: {before} to {after} KiB at most, {per_leg:.1} KiB each");
    assert!(per_leg < MOST_KIB, "{per_leg} KiB a leg");
}

/// 20 ms of silence in PCMU.
fn silence(ssrc: u32, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xFF; 160]);
    packet
}
