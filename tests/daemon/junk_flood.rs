//! A stranger's flood: the legs beside it lose nothing, and the log does not grow with it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use real sockets and clocks, and what fails here fails the test"
)]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Daemon, Speech, balanced, line_of, run_sender};
use callscribe::service::config::ServiceConfig;

const PACKETS_PER_MILLISECOND: u64 = 50;

/// Sends junk to a port until it is told to stop, 50,000 datagrams a second if the machine can.
fn flood(port: u16, stop: &AtomicBool, sent: &AtomicU64) {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.connect(("127.0.0.1", port)).unwrap();
    let begun = Instant::now();
    let mut junk = [0_u8; 172];
    let mut seed = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * PACKETS_PER_MILLISECOND;
        while sent.load(Ordering::Relaxed) < due {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            junk[..8].copy_from_slice(&seed.to_be_bytes());
            // A full receive buffer is the flood's own loss.
            stranger.send(&junk).ok();
            sent.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn flood_of_junk_leaves_the_leg_beside_it_untouched() {
    let mut daemon = Daemon::start_with(2, ServiceConfig::default(), line_of);
    let speech = Speech {
        stream: 4,
        seconds: 6,
    };
    let wav = speech.write_wav(daemon.folder.path());
    let (good, flooded) = (daemon.ports[0], daemon.ports[1]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, _) = daemon.usage();
    thread::scope(|scope| {
        scope.spawn(|| flood(flooded, &stop, &sent));
        let to = format!("127.0.0.1:{good}");
        let arguments = ["send", wav.to_str().unwrap(), "--to", &to];
        run_sender(
            env!("CARGO_BIN_EXE_callscribe"),
            &arguments,
            Duration::from_secs(30),
        );
        stop.store(true, Ordering::Relaxed);
    });
    let (after, _) = daemon.usage();

    let ended = daemon.wait_for("call_ended", Duration::from_secs(30));
    speech.assert_is_whole_in(&daemon.text(0));
    assert_eq!(balanced(&ended, 0, "lost_ms"), 0, "{ended}");
    assert_eq!(balanced(&ended, 0, "received_ms"), 8_000, "{ended}");
    let log = daemon.log();
    assert!(
        log.lines().count() < 50,
        "the log grew with the flood:\n{log}"
    );
    println!(
        "{} datagrams of junk in 8 s; the good leg lost 0; daemon {:.2?} of CPU",
        sent.into_inner(),
        after - before
    );
}
