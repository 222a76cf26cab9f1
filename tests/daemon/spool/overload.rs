//! More than the daemon can bear: calls are refused and speech waits, and every bit of it is told. The
//! limits are lowered instead of raising the load: what a limit brings about is the same.

use std::time::Duration;

use callscribe::service::engine::scripted::Says;
use serde_json::Value;

use crate::spool::account::Account;
use crate::spool::station::{Station, ended};
use crate::support::{Recogniser, wait_for};

const SOON: Duration = Duration::from_secs(60);

fn speak_on(station: &Station, lines: std::ops::Range<usize>) {
    let senders: Vec<_> = lines.map(|line| station.speak(line, 4)).collect();
    for mut sender in senders {
        assert!(sender.wait().unwrap().success());
    }
}

fn refusals(lines: &[Value]) -> Vec<&str> {
    let refused = lines.iter().filter(|line| line["code"] == "call_refused");
    refused
        .filter_map(|line| line["message"].as_str())
        .collect()
}

/// Speaks two utterances of four seconds on each line, while the limit is passed between the two.
fn speak_and_pass_the_limit(station: &Station) {
    let lines = 0..station.ports.len();
    let senders: Vec<_> = lines
        .map(|line| station.speak_in_turns(line, 4, 2))
        .collect();
    let spoken = |lines: &[Value]| {
        lines
            .iter()
            .filter(|l| l["event"] == "speech_started")
            .count()
    };
    station.lines(SOON, |lines| spoken(lines) == station.ports.len());
    station.replace(NORMAL, PASSED);
    station.reload();
    for mut sender in senders {
        assert!(sender.wait().unwrap().success());
    }
}

const NORMAL: &str = "refuse-calls-percent = 85\ndefer-speech-percent = 95";
const PASSED: &str = "refuse-calls-percent = 0\ndefer-speech-percent = 0";

#[test]
fn speech_past_the_capacity_waits_in_the_spool_and_comes_late_and_whole() {
    let recogniser = Recogniser::start(Says::ToneCode);
    let asr = format!("endpoint = \"{}\"", recogniser.endpoint());
    let mut station = Station::new(3, &asr, &format!("[overload]\n{NORMAL}"));
    station.start();
    speak_and_pass_the_limit(&station);
    let all_wait = wait_for(SOON, || (station.spool().1 == 3).then_some(()));
    assert!(all_wait.is_some(), "{}", station.log());
    let starts = recogniser.service().counters().starts.total();
    assert_eq!(starts, 3, "nothing more is asked meanwhile");

    station.replace(PASSED, NORMAL);
    station.reload();
    let account = Account::of(&station.lines(SOON, ended(3)));
    account.assert_whole(3, 8, 1);
    assert_eq!((account.parts, account.late), (6, 3));
}

#[test]
fn speech_past_the_capacity_is_a_gap_that_is_told_where_there_is_no_spool() {
    let recogniser = Recogniser::start(Says::ToneCode);
    let asr = format!("endpoint = \"{}\"", recogniser.endpoint());
    let more = format!("[overload]\n{NORMAL}\n[spool]\nenabled = false");
    let mut station = Station::new(2, &asr, &more);
    station.start();
    speak_and_pass_the_limit(&station);
    let account = Account::of(&station.lines(SOON, ended(2)));
    let gaps: Vec<_> = account.gaps.iter().collect();
    assert_eq!(gaps, [(&"overload".to_owned(), &(account.gap_ms, 2))]);
    assert!(account.gap_ms >= 2 * 4_000, "{account:?}");
    assert_eq!(account.heard.len(), 2 * 4, "the first utterance of each");
    assert_eq!((account.parts, account.late, account.lost_ms), (2, 0, 0));
}

#[test]
fn calls_past_the_limit_are_refused_and_told_once_and_the_others_are_whole() {
    let recogniser = Recogniser::start(Says::ToneCode);
    let asr = format!("endpoint = \"{}\"", recogniser.endpoint());
    let mut station = Station::new(4, &asr, "[overload]\nmax-legs = 2");
    station.replace("idle-timeout-ms", "workers = 1\nidle-timeout-ms");
    station.start();
    let mut heard = [station.speak(0, 4), station.speak(1, 4)];
    let begun = |lines: &[Value]| {
        lines
            .iter()
            .filter(|l| l["event"] == "call_started")
            .count()
    };
    station.lines(SOON, |lines| begun(lines) == 2);
    let mut refused = [station.speak(2, 1), station.speak(3, 1)];
    let lines = station.lines(SOON, |lines| refusals(lines).len() == 2);
    for line in 2..4 {
        let port = format!("to port {} begins no call", station.ports[line]);
        let told = refusals(&lines);
        assert!(told.iter().any(|told| told.contains(&port)), "{told:?}");
    }
    for sender in heard.iter_mut().chain(&mut refused) {
        assert!(sender.wait().unwrap().success());
    }
    let lines = station.lines(SOON, ended(2));
    assert_eq!(refusals(&lines).len(), 2, "each is told once");
    Account::of(&lines).assert_whole(2, 4, 1);

    // There is room again.
    speak_on(&station, 2..3);
    let account = Account::of(&station.lines(SOON, ended(3)));
    account.assert_whole(3, 4, 1);
}
