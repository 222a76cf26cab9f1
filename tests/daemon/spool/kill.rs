//! `kill -9` in mid-call, again and again: the calls go on, and what was received up to the last moment is published once.

use std::thread::sleep;
use std::time::Duration;

use callscribe::service::config::ServiceConfig;

use crate::spool::account::Account;
use crate::spool::station::{Station, ended};
use crate::support::Recogniser;

#[test]
fn killed_daemon_loses_no_word_that_it_had_received() {
    const KILLS: u64 = 20;
    const LINES: u16 = 2;
    // Parts begin and end between kills, in them and beside them.
    const TURN: u64 = 3;
    const TURNS: u64 = 13;
    const SECONDS: u64 = TURN * TURNS;
    // What is in the sockets goes with them: systemd would keep them. A leg is read every fourth tick at the latest.
    const STRUCK_MS: u64 = 80;
    let service = Recogniser::start_as(ServiceConfig::default());
    let asr = format!("endpoint = {:?}", service.endpoint());
    let mut station = Station::new(LINES, &asr, "");
    station.start();
    let senders: Vec<_> = (0..usize::from(LINES))
        .map(|line| station.speak_in_turns(line, TURN, TURNS))
        .collect();
    let mut away = Duration::ZERO;
    for kill in 1..=KILLS {
        // A seeded walk, 1 to 2.5 s a step.
        let pause = 1_000 + kill.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1_500;
        sleep(Duration::from_millis(pause));
        station.kill();
        away += station.start();
    }
    senders
        .into_iter()
        .for_each(|mut sender| drop(sender.wait()));
    let lines = station.lines(Duration::from_secs(60), ended(usize::from(LINES)));
    let account = Account::of(&lines);
    account.print("kill -9");
    let missing = account.missing_ms(u64::from(LINES), SECONDS);
    let away = u64::try_from(away.as_millis()).unwrap();
    println!(
        "| kills, away in all, words not in a text | {KILLS}, {away} ms, {missing} ms on {LINES} legs |"
    );
    assert_eq!(account.doubled(), [], "nothing is heard twice");
    assert_eq!(account.calls.len(), usize::from(LINES), "the calls went on");
    let allowed = (away + KILLS * STRUCK_MS) * u64::from(LINES);
    assert!(missing <= allowed, "{missing} ms of {allowed} ms");
}
