//! One connection of the recogniser reads at a tenth of the pace: nobody else waits, and nothing grows.

use std::thread::sleep;
use std::time::{Duration, Instant};

use callscribe::service::config::ServiceConfig;
use callscribe::service::fault::{Action, At, Fault, Which};
use serde_json::Value;

use crate::spool::station::{Station, ended, is_long};
use crate::support::Recogniser;

const LINES: u16 = 4;
const OTHERS: usize = LINES as usize - 1;
const SECONDS: u64 = 3;
/// A tenth of 16-bit samples at 8 kHz.
const TENTH: u32 = 1_600;
/// Of 16-bit samples at 8 kHz, when a connection begins to be slow.
const SLOW_FROM: u64 = 3_200;

/// How long after the end of speech each text came, sorted, of the calls on all ports but this one.
fn delays(lines: &[Value], port: u16) -> Vec<Duration> {
    let at = |line: &Value| {
        line["ts"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let calls: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "call_started" && line["channels"][0]["local_port"] == port)
        .map(|line| &line["call_id"])
        .collect();
    let others = || {
        lines
            .iter()
            .filter(|line| !calls.contains(&&line["call_id"]))
    };
    let texts = others().filter(|line| line["event"] == "transcript" && line["part_final"] == true);
    let mut delays: Vec<Duration> = texts
        .filter_map(|text| {
            let mut of_utterance =
                others().filter(|line| line["utterance_id"] == text["utterance_id"]);
            let end = of_utterance.find(|line| line["event"] == "speech_ended")?;
            let delay = at(text).duration_since(at(end));
            Some(Duration::try_from(delay).unwrap_or_default())
        })
        .collect();
    delays.sort();
    delays
}

/// The others speak in turns for so long; the number of their calls.
fn others_speak(station: &Station, turns: u64) -> usize {
    for _ in 0..turns {
        let senders: Vec<_> = (1..=OTHERS)
            .map(|line| station.speak(line, SECONDS))
            .collect();
        for mut sender in senders {
            sender.wait().unwrap();
        }
        // Longer than an idle call lives.
        sleep(Duration::from_millis(2_300));
    }
    OTHERS * usize::try_from(turns).unwrap()
}

fn slow_reader_costs_nobody_else(action: Action) {
    let turns = if is_long() { 80 } else { 2 };
    let service = Recogniser::start_as(ServiceConfig::default());
    let asr = format!("endpoint = {:?}", service.endpoint());
    let mut station = Station::new(LINES, &asr, "");
    station.start();
    let alone = others_speak(&station, 2);
    let lines = station.lines(Duration::from_secs(30), ended(alone));
    let without = delays(&lines, station.ports[0]);
    let (seen, before, log) = (
        lines.len(),
        station.resident(),
        station.log().lines().count(),
    );

    // The first session from now on is the slow one's, and goes on for long.
    let first = service.service().counters().sessions.total() + 1;
    let which = Which {
        first,
        last: first,
        ..Which::default()
    };
    let at = At::Byte(SLOW_FROM);
    service
        .service()
        .faults()
        .set(vec![Fault { at, action, which }]);
    let mut slow_one = station.speak(0, if is_long() { 600 } else { 20 });
    let is_slow = || (service.service().counters().faults.total() == 1).then_some(());
    assert!(crate::support::wait_for(Duration::from_secs(10), is_slow).is_some());
    let begun = Instant::now();
    let beside = others_speak(&station, turns);
    let lines = station.lines(Duration::from_secs(60), ended(alone + beside));
    let with = delays(&lines[seen..], station.ports[0]);
    let grown = station.resident().saturating_sub(before);
    let logged = station.log().lines().count() - log;
    slow_one.kill().unwrap();
    slow_one.wait().unwrap();

    let median = |of: &[Duration]| of[of.len() / 2];
    println!(
        "| slow reader for {:.0?} | without | with |\n|---|---|---|",
        begun.elapsed()
    );
    println!("| texts of others | {} | {} |", without.len(), with.len());
    println!(
        "| their delay, median | {:.0?} | {:.0?} |",
        median(&without),
        median(&with)
    );
    println!(
        "| their delay, worst | {:.0?} | {:.0?} |",
        without[without.len() - 1],
        with[with.len() - 1]
    );
    println!("| resident memory grew by | | {grown} KiB |\n| lines logged | | {logged} |");
    assert_eq!((without.len(), with.len()), (alone, beside));
    let allowed = median(&without) * 3 + Duration::from_millis(300);
    assert!(
        median(&with) < allowed,
        "{:?} of {allowed:?}",
        median(&with)
    );
    assert!(grown < 8_000, "{grown} KiB");
    assert!(logged < 50 + beside * 4, "{logged} lines");
}

#[test]
fn connection_that_reads_at_a_tenth_of_the_pace_costs_nobody_else() {
    slow_reader_costs_nobody_else(Action::ReadSlowly(TENTH));
}

#[test]
fn connection_that_reads_no_more_costs_nobody_else() {
    slow_reader_costs_nobody_else(Action::StopReading);
}
