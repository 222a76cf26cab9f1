//! Twenty calls against a service that fails in every way it can.

use std::thread;
use std::time::Duration;

use callscribe::config::Milliseconds;
use callscribe::service::config::ServiceConfig;
use callscribe::service::fault::{Action, At, Fault, Which};

use crate::spool::account::Account;
use crate::spool::station::{Station, ended, is_long};
use crate::support::Recogniser;

/// Every kind of fault, each striking some sessions by dice that fall alike in every run.
fn faults() -> Vec<Fault> {
    let refuse = |status, code: &str| Action::Refuse {
        status,
        code: code.to_owned(),
        message: String::new(),
    };
    let said = |code: &str| (code.to_owned(), String::new());
    let error = |code| {
        let (code, message) = said(code);
        Action::Error { code, message }
    };
    let fatal = |code| {
        let (code, message) = said(code);
        Action::FatalError { code, message }
    };
    let kinds = [
        (At::Handshake, refuse(502, "APIG.0202")),
        (At::Handshake, refuse(500, "APIG.0201")),
        (At::Handshake, refuse(429, "SIS.0312")),
        (At::Handshake, Action::Drop),
        (At::Handshake, Action::Delay(Milliseconds::new(1_500))),
        (At::Start, error("SIS.0306")),
        (At::Start, fatal("SIS.0302")),
        (At::Start, Action::Drop),
        (At::Byte(16_000), Action::Drop),
        (At::Byte(24_000), Action::Close(1011)),
        (At::Byte(20_000), Action::HalfClose),
        (At::Byte(12_000), Action::Vanish),
        (At::Byte(28_000), Action::StopReading),
        (At::Byte(9_000), Action::ReadSlowly(3_200)),
        (At::Byte(22_000), error("SIS.0305")),
        (At::End, Action::Drop),
        (At::End, Action::Delay(Milliseconds::new(2_000))),
        (At::End, fatal("SIS.0306")),
    ];
    let which = Which {
        chance: 0.04,
        ..Which::default()
    };
    let fault = |(at, action)| Fault { at, action, which };
    kinds.into_iter().map(fault).collect()
}

#[test]
fn twenty_calls_against_every_fault_lose_and_double_nothing() {
    const CALLS: u16 = 20;
    // Of a turn: longer than any byte at which something happens.
    const SECONDS: u64 = 3;
    let (rounds, turns) = if is_long() { (6, 15) } else { (1, 5) };
    let service = Recogniser::start_as(ServiceConfig {
        faults: faults(),
        ..ServiceConfig::default()
    });
    let asr = format!(
        "endpoint = {:?}\ngive-up-after-ms = 5000",
        service.endpoint()
    );
    let mut station = Station::new(CALLS, &asr, "");
    station.start();
    for _ in 0..rounds {
        let senders: Vec<_> = (0..usize::from(CALLS))
            .map(|call| station.speak_in_turns(call, SECONDS, turns))
            .collect();
        senders
            .into_iter()
            .for_each(|mut sender| drop(sender.wait()));
        thread::sleep(Duration::from_secs(3));
    }
    let calls = usize::from(CALLS) * rounds;
    let account = Account::of(&station.lines(Duration::from_secs(240), ended(calls)));
    account.print("chaos");
    let injected = service.service().counters().faults.by_kind();
    for (kind, times) in &injected {
        println!("| {kind} | {times} |");
    }
    let rounds = u64::try_from(rounds).unwrap();
    let heard: u64 = account.heard.values().sum();
    let said = u64::from(CALLS) * SECONDS * turns * 1_000 * rounds;
    println!("| said, in texts | {said} ms, {heard} ms |");
    assert!(injected.len() * 4 > faults().len() * 3, "{injected:?}");
    assert!(account.parts >= 100, "each turn is a part");
    assert!(account.replays > 20, "too little went wrong");
    account.assert_whole(u64::from(CALLS), SECONDS * turns, rounds);
}
