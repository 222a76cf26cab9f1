//! The recogniser is away for longer than any part is tried for: what was said comes late, and whole.

use std::thread::sleep;
use std::time::{Duration, Instant};

use callscribe::service::config::ServiceConfig;
use serde_json::Value;

use crate::spool::account::Account;
use crate::spool::station::{Station, ended, is_long};
use crate::support::Recogniser;
use crate::support::ports::free_address;

const SOON: Duration = Duration::from_secs(60);

fn count(lines: &[Value], event: &str, code: &str) -> usize {
    let of_kind = lines
        .iter()
        .filter(|line| line["event"] == event && line["code"] == code);
    of_kind.count()
}

/// Speaks in turns while the recogniser is away, then lets it come back.
#[test]
fn what_is_said_in_an_outage_comes_late_and_whole() {
    const LINES: u16 = 8;
    let turns = if is_long() { 150 } else { 2 };
    let address = free_address();
    let asr = format!("endpoint = \"ws://{address}\"\ngive-up-after-ms = 1000");
    let mut station = Station::new(LINES, &asr, "");
    station.start();
    let away = Instant::now();
    let before = station.resident();
    for _ in 0..turns {
        let senders: Vec<_> = (0..usize::from(LINES))
            .map(|line| station.speak(line, 6))
            .collect();
        senders
            .into_iter()
            .for_each(|mut sender| drop(sender.wait()));
        sleep(Duration::from_millis(2_500));
    }
    let calls = turns * usize::from(LINES);
    let outage = |lines: &[Value]| count(lines, "error", "asr_unavailable") > 0;
    let lines = station.lines(SOON, outage);
    assert_eq!(
        Account::of(&lines).ended,
        0,
        "a call that waits has not ended"
    );
    let (bytes, parts) = station.spool();
    let away = away.elapsed();
    assert!(parts > 0 && bytes > 8_000 * 5);
    let grown = station.resident().saturating_sub(before);

    let _service = Recogniser::start_as(ServiceConfig {
        listen: address,
        ..ServiceConfig::default()
    });
    let back = Instant::now();
    let lines = station.lines(SOON * 5, ended(calls));
    let drained = back.elapsed();
    let account = Account::of(&lines);
    account.print("outage");
    println!(
        "| away, spooled, drained in | {away:.1?}, {bytes} bytes in {parts} files, {drained:.1?} |"
    );
    println!("| resident memory grew by | {grown} KiB |");
    assert_eq!(account.gap_ms, 0);
    assert_eq!(account.late, account.parts);
    assert_eq!(count(&lines, "error", "asr_unavailable"), 1, "told once");
    // Each stream was spoken in every turn.
    let turns = u64::try_from(turns).unwrap();
    for (&(stream, second), &ms) in &account.heard {
        let whole = turns * 960..=turns * 1_040;
        assert!(
            whole.contains(&ms),
            "stream {stream}, second {second}: {ms} ms in {turns} turns"
        );
    }
    assert_eq!(account.heard.len(), usize::from(LINES) * 6);
    let recovered = |lines: &[Value]| count(lines, "error", "asr_recovered") == 1;
    station.lines(SOON, recovered);
    let is_empty = crate::support::wait_for(SOON, || (station.spool().1 == 0).then_some(()));
    assert!(is_empty.is_some(), "nothing stays in the spool");
}

/// SIGTERM in an outage: the daemon does not wait for the recogniser, and the next one brings the text.
#[test]
fn what_waits_when_the_daemon_stops_is_recognised_by_the_next() {
    let address = free_address();
    let asr = format!("endpoint = \"ws://{address}\"\ngive-up-after-ms = 1000");
    let mut station = Station::new(1, &asr, "");
    station.start();
    station.speak(0, 4).wait().unwrap();
    station.stop(Duration::from_secs(25));

    let _service = Recogniser::start_as(ServiceConfig {
        listen: address,
        ..ServiceConfig::default()
    });
    station.start();
    let account = Account::of(&station.lines(SOON, ended(1)));
    assert_eq!(
        (account.gap_ms, account.missing_ms(1, 4)),
        (0, 0),
        "{account:?}"
    );
    assert_eq!(account.late, account.parts);
}
