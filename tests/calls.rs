//! What happens to calls as a whole: the ledger, hold, hang-up, ports, roles. In virtual time, without a socket.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "calls/resumed.rs"]
mod resumed;
#[path = "support/virtual_calls.rs"]
mod virtual_calls;

use std::collections::BTreeSet;
use std::time::Duration;

use callscribe::call::CallKey;
use callscribe::call::conversation::{CallSpec, CallUpdate};
use callscribe::call::leg::{Demand, LegSpec};
use callscribe::call::switchboard::{Line, PortIndex, RegisterError, Settings};
use callscribe::event::{EndReason, Metadata, Role, RoleSource};
use callscribe::media::Samples;
use callscribe::media::receiver::ExpectedSource;
use serde_json::Value;
use virtual_calls::{Answer, PACKET, Sender, VirtualCalls, sentence};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// One registered call with a leg on each port.
fn register(
    calls: &mut VirtualCalls,
    id: &str,
    ports: &[PortIndex],
) -> Result<CallKey, RegisterError> {
    let roles = [Role::Customer, Role::Agent];
    let leg = |(&port, role)| LegSpec {
        port,
        role: Some(role),
        role_source: RoleSource::Registered,
        law: None,
        expected_source: ExpectedSource::Any,
    };
    let spec = CallSpec {
        id: id.into(),
        legs: ports.iter().zip(roles).map(leg).collect(),
        from: None,
        to: None,
        direction: None,
        metadata: Metadata::new(),
        idle_timeout: 4 * 60 * MINUTE,
        is_registered: true,
    };
    calls.switchboard.register(spec, calls.now)
}

fn one_leg() -> (VirtualCalls, PortIndex, CallKey) {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let port = calls.switchboard.add_port(20_000);
    let key = register(&mut calls, "a", &[port]).unwrap();
    (calls, port, key)
}

fn hang_up(calls: &mut VirtualCalls, key: CallKey) {
    calls
        .switchboard
        .handle_end(key, EndReason::Hangup, calls.now);
    calls.perform();
}

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

/// The three equations of the contract, and the extent of the lines against them.
fn assert_ledger_adds_up(call_ended: &Value) {
    for coverage in call_ended["coverage"].as_array().unwrap() {
        let of = |key| number(coverage, key);
        assert!(of("received_ms") + of("lost_ms") <= number(call_ended, "duration_ms"));
        assert_eq!(
            of("speech_ms") + of("silence_ms"),
            of("received_ms"),
            "{coverage}"
        );
        assert_eq!(
            of("transcribed_ms") + of("gap_ms"),
            of("speech_ms"),
            "{coverage}"
        );
    }
}

#[test]
fn call_tells_its_story_and_its_ledger_adds_up() {
    let (mut calls, port, key) = one_leg();
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &sentence());
    calls.pass(SECOND);
    hang_up(&mut calls, key);

    let expected = [
        "call_started",
        "channel_started",
        "speech_started",
        "speech_ended",
        "transcript",
        "call_ended",
    ];
    assert_eq!(calls.story(), expected);
    let ended = calls.events("call_ended")[0];
    assert_ledger_adds_up(ended);
    let coverage = &ended["coverage"][0];
    assert_eq!(number(coverage, "received_ms"), 4_760);
    assert_eq!(number(coverage, "gap_ms"), 0);
    let transcript = calls.events("transcript")[0];
    let extent = number(transcript, "end_ms") - number(transcript, "start_ms");
    assert_eq!(number(coverage, "speech_ms"), extent);
    assert_eq!(
        (
            &transcript["is_final"],
            &transcript["part_final"],
            &transcript["role"]
        ),
        (&true.into(), &true.into(), &"CUSTOMER".into())
    );
}

/// The time within which the leg wants what comes next.
fn time_within(demand: Demand) -> Duration {
    match demand {
        Demand::All => Duration::ZERO,
        Demand::Within(time) => time,
    }
}

/// What the leg demands after each packet of speech, and the samples that its open part has then.
fn demands_during_speech() -> Vec<(Demand, usize)> {
    let (mut calls, port, _) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    let mut demands = Vec::new();
    for packet in sentence().chunks(160) {
        calls.play(port, &mut sender, packet);
        let part = calls.heard.values().last().map_or(0, Vec::len);
        demands.push((calls.switchboard.demand(port), part));
    }
    demands
}

#[test]
fn leg_presses_when_a_fragment_is_nearly_there_and_is_patient_within_one() {
    let settings = VirtualCalls::settings();
    let fragment = usize::try_from(settings.fragment.0).unwrap();
    let demands = demands_during_speech();
    let of_speech = |&(_, part): &(Demand, usize)| part > 0;
    let speech: Vec<_> = demands.iter().copied().filter(of_speech).collect();
    let grows = |pair: &[(Demand, usize)]| pair[1].1 == pair[0].1 + 160;
    let growing = || {
        speech
            .windows(2)
            .filter(|pair| grows(pair))
            .map(|pair| pair[0])
    };
    let missing = |part| Samples((fragment - part % fragment) as u64).as_duration();
    assert!(growing().all(|(demand, part)| time_within(demand) <= missing(part)));
    let last = growing().filter(|&(_, part)| missing(part) == PACKET);
    assert!(last.count() >= 5, "{demands:?}");
    let patient = growing().filter(|&(demand, _)| time_within(demand) >= 4 * PACKET);
    assert!(patient.count() > growing().count() / 2, "{demands:?}");
}

/// What the leg demands before the packet that brings the first such line, and after it.
fn demands_around(event: &str) -> [Demand; 2] {
    let (mut calls, port, _) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    let mut before = Demand::LEAST;
    for packet in sentence().chunks(160) {
        calls.play(port, &mut sender, packet);
        let demand = calls.switchboard.demand(port);
        if !calls.events(event).is_empty() {
            return [before, demand];
        }
        before = demand;
    }
    panic!("no {event}");
}

#[test]
fn leg_presses_before_its_utterance_ends_and_is_patient_after_it() {
    let [before, after] = demands_around("speech_ended");
    assert_eq!(time_within(before), PACKET);
    assert_eq!(after, Demand::LEAST);
}

#[test]
fn leg_presses_before_its_utterance_begins() {
    let [before, _] = demands_around("speech_started");
    assert_eq!(time_within(before), PACKET);
}

#[test]
fn leg_that_waits_for_a_packet_wants_all_there_is() {
    let (mut calls, port, _) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &[0; 8_000]);
    assert_eq!(calls.switchboard.demand(port), Demand::LEAST);
    sender.packet(&[0; 160]);
    calls.play(port, &mut sender, &[0; 160]);
    assert_eq!(calls.switchboard.demand(port), Demand::All);
}

/// What a call of two legs tells whose packets are read so many at a time, each with the time at which it came.
fn story_of_two_legs(packets_at_a_time: usize) -> (Vec<Value>, Vec<Vec<u8>>) {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let ports = [20_000, 20_002].map(|number| calls.switchboard.add_port(number));
    let key = register(&mut calls, "a", &ports).unwrap();
    let mut senders = [("10.0.0.1:4000", 7), ("10.0.0.2:4000", 8)]
        .map(|(address, ssrc)| Sender::new(address, ssrc));
    let audio = sentence();
    let packets: Vec<&[i16]> = audio.chunks_exact(160).collect();
    for group in packets.chunks(packets_at_a_time) {
        let began = calls.now;
        calls.pass(PACKET * u32::try_from(group.len()).unwrap());
        for (&port, sender) in ports.iter().zip(&mut senders) {
            let mut came = began;
            for pcm in group {
                came += PACKET;
                let packet = sender.packet(pcm);
                calls
                    .switchboard
                    .handle_datagram(port, sender.address, &packet, came);
            }
        }
        calls.perform();
    }
    calls.pass(SECOND);
    hang_up(&mut calls, key);
    let told = ["speech_started", "speech_ended", "transcript", "call_ended"];
    let lines = told.iter().flat_map(|event| calls.events(event)).cloned();
    (lines.collect(), calls.audio().into_values().collect())
}

#[test]
fn packets_that_are_read_later_than_they_came_change_nothing_that_is_told() {
    let story = |packets| {
        let (mut lines, audio) = story_of_two_legs(packets);
        for line in &mut lines {
            // When a line was made, and the order of the two legs' lines, may differ by as much as is read at a time.
            let line = line.as_object_mut().unwrap();
            line.retain(|name, _| !["ts", "seq"].contains(&name.as_str()));
        }
        let lines: BTreeSet<String> = lines.iter().map(Value::to_string).collect();
        (lines, audio)
    };
    let at_once = story(1);
    assert_eq!(story(2), at_once);
    assert_eq!(story(4), at_once);
    assert!(at_once.0.len() >= 7, "{:?}", at_once.0);
}

#[test]
fn audio_of_a_part_is_exactly_its_extent() {
    let (mut calls, port, _) = one_leg();
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &sentence());
    calls.pass(SECOND);
    let transcript = calls.events("transcript")[0];
    let samples = (number(transcript, "end_ms") - number(transcript, "start_ms")) * 8;
    let heard: Vec<usize> = calls.heard.values().map(Vec::len).collect();
    assert_eq!(heard, [usize::try_from(samples).unwrap()]);
}

#[test]
fn refused_part_becomes_a_gap_of_its_extent() {
    let (mut calls, port, key) = one_leg();
    calls.answer = Answer::Refuse;
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &sentence());
    calls.pass(SECOND);
    hang_up(&mut calls, key);

    let (gap, ended) = (
        calls.events("speech_ended")[0],
        calls.events("call_ended")[0],
    );
    let told = calls.events("gap")[0];
    assert_eq!(
        (&told["start_ms"], &told["end_ms"]),
        (&gap["start_ms"], &gap["end_ms"])
    );
    assert_eq!(told["reason"], "asr_rejected");
    assert_ledger_adds_up(ended);
    let coverage = &ended["coverage"][0];
    assert_eq!(
        (&coverage["gap_ms"], &coverage["transcribed_ms"]),
        (&coverage["speech_ms"], &0.into())
    );
}

/// Story 6: the last words are lost at hang-up.
#[test]
fn last_words_come_before_call_ended_however_late_their_text_is() {
    let (mut calls, port, key) = one_leg();
    calls.answer = Answer::After(3 * SECOND);
    let mid_word = &sentence()[..16_000];
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), mid_word);
    hang_up(&mut calls, key);
    assert_eq!(calls.events("call_ended").len(), 0);

    calls.pass(4 * SECOND);
    assert_eq!(
        calls.story()[calls.lines.len() - 2..],
        ["transcript", "call_ended"]
    );
    assert_ledger_adds_up(calls.events("call_ended")[0]);
}

/// Story 6 again, when nobody says that the call is over and RTP just stops in mid-word.
#[test]
fn sender_that_stops_in_mid_word_is_recognised_without_waiting_for_more() {
    let (mut calls, port, _) = one_leg();
    calls.play(
        port,
        &mut Sender::new("10.0.0.1:4000", 7),
        &sentence()[..16_000],
    );
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("transcript").len(), 1);
    assert_eq!(calls.open_parts, 0);
}

/// Story 5: hold times out the recogniser or the call.
#[test]
fn ten_minutes_of_hold_are_one_call_on_one_clock_with_no_session_open() {
    let (mut calls, port, key) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    calls.pass(10 * MINUTE);
    assert_eq!(calls.open_parts, 0);
    let resumed_at = calls.now - calls.zero;

    sender.timestamp = sender.timestamp.wrapping_add(8_000 * 600);
    calls.play(port, &mut sender, &sentence());
    calls.pass(2 * SECOND);
    hang_up(&mut calls, key);

    assert_eq!(calls.events("call_started").len(), 1);
    let starts: Vec<u64> = calls
        .events("speech_started")
        .iter()
        .map(|line| number(line, "start_ms"))
        .collect();
    let resumed_ms = u64::try_from(resumed_at.as_millis()).unwrap();
    assert_eq!(starts.len(), 2);
    assert!(
        starts[1].abs_diff(resumed_ms) < 500,
        "{starts:?} against {resumed_ms}"
    );
    assert_ledger_adds_up(calls.events("call_ended")[0]);
}

/// Story 1: port reuse mixes two calls.
#[test]
fn late_sender_of_a_finished_call_is_not_heard_in_the_next_one() {
    let (mut calls, port, key) = one_leg();
    let mut old = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut old, &sentence());
    hang_up(&mut calls, key);

    // It goes on for 40 s: the port does not rest by the clock alone.
    for _ in 0..10 {
        calls.play(port, &mut old, &sentence());
        assert_eq!(
            register(&mut calls, "b", &[port]),
            Err(RegisterError::PortInUse(20_000))
        );
    }
    calls.pass(29 * SECOND);
    assert_eq!(
        register(&mut calls, "b", &[port]),
        Err(RegisterError::PortInUse(20_000))
    );
    calls.pass(2 * SECOND);
    assert!(register(&mut calls, "b", &[port]).is_ok());
    let speech: BTreeSet<&str> = calls
        .events("transcript")
        .iter()
        .filter_map(|line| line["call_id"].as_str())
        .collect();
    assert_eq!(speech, BTreeSet::from(["a"]));
}

#[test]
fn port_that_is_never_silent_is_given_out_again_after_ten_minutes() {
    let (mut calls, port, key) = one_leg();
    let mut old = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut old, &sentence());
    hang_up(&mut calls, key);
    for _ in 0..601 {
        let packet = old.packet(&[0; 160]);
        calls.send(port, old.address, &packet);
        calls.pass(SECOND);
    }
    assert!(register(&mut calls, "b", &[port]).is_ok());
}

/// Story 8: caller and agent swapped.
#[test]
fn roles_follow_the_ports_whichever_leg_comes_first() {
    for agent_first in [true, false] {
        let mut calls = VirtualCalls::new(VirtualCalls::settings());
        let (customer, agent) = (
            calls.switchboard.add_port(20_000),
            calls.switchboard.add_port(20_002),
        );
        let key = register(&mut calls, "a", &[customer, agent]).unwrap();
        let mut senders = [
            (customer, Sender::new("10.0.0.1:4000", 7)),
            (agent, Sender::new("10.0.0.1:4002", 8)),
        ];
        if agent_first {
            senders.reverse();
        }
        for (port, mut sender) in senders {
            calls.play(port, &mut sender, &sentence());
        }
        calls.pass(SECOND);
        hang_up(&mut calls, key);
        let mut roles: Vec<_> = calls
            .events("transcript")
            .iter()
            .map(|line| {
                (
                    number(line, "channel"),
                    line["role"].clone(),
                    number(line, "start_ms"),
                )
            })
            .collect();
        roles.sort_by_key(|(_, _, start_ms)| *start_ms);
        let expected = if agent_first {
            ["AGENT", "CUSTOMER"]
        } else {
            ["CUSTOMER", "AGENT"]
        };
        assert_eq!(
            roles.iter().map(|role| &role.1).collect::<Vec<_>>(),
            expected
        );
        assert!(
            roles[1].2 > 4_700,
            "the second leg is not on the clock of the first: {roles:?}"
        );
        assert!(
            calls
                .events("transcript")
                .iter()
                .all(|line| line["role_source"] == "registered")
        );
    }
}

#[test]
fn leg_that_never_comes_is_told_as_one_way_and_is_not_in_the_ledger() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let (customer, agent) = (
        calls.switchboard.add_port(20_000),
        calls.switchboard.add_port(20_002),
    );
    let key = register(&mut calls, "a", &[customer, agent]).unwrap();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(customer, &mut sender, &sentence());
    calls.play(customer, &mut sender, &sentence());
    hang_up(&mut calls, key);
    calls.pass(SECOND);

    let health = calls.events("channel_health");
    assert_eq!(health.len(), 1, "{health:?}");
    assert_eq!(
        (&health[0]["state"], number(health[0], "channel")),
        (&"one_way".into(), 1)
    );
    assert_eq!(
        calls.events("call_ended")[0]["coverage"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn call_without_any_packet_says_why_and_still_begins_and_ends() {
    let (mut calls, _, key) = one_leg();
    calls.pass(10 * SECOND);
    hang_up(&mut calls, key);
    assert_eq!(
        calls.story(),
        ["channel_health", "call_started", "call_ended"]
    );
    assert_eq!(calls.events("channel_health")[0]["state"], "no_rtp");
}

#[test]
fn nobody_begins_a_call_on_a_port_that_nobody_registered() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let port = calls.switchboard.add_port(20_000);
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &sentence());
    assert_eq!(calls.lines, Vec::<Value>::new());
}

#[test]
fn datagrams_before_the_registration_are_not_part_of_the_call() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let port = calls.switchboard.add_port(20_000);
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    let key = register(&mut calls, "a", &[port]).unwrap();
    calls.play(port, &mut sender, &[0; 1_600]);
    hang_up(&mut calls, key);
    let ended = calls.events("call_ended")[0];
    assert_eq!(number(ended, "duration_ms"), 200);
}

fn unregistered() -> Settings {
    Settings {
        unregistered_calls: true,
        ..VirtualCalls::settings()
    }
}

#[test]
fn unregistered_sender_is_a_call_of_its_own_and_ends_by_silence() {
    let mut calls = VirtualCalls::new(unregistered());
    let port = calls.switchboard.add_port(20_000);
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &sentence());
    calls.pass(61 * SECOND);
    let started = calls.events("channel_started")[0];
    assert_eq!(
        (&started["role_source"], started.get("role")),
        (&"unknown".into(), None)
    );
    let ended = calls.events("call_ended")[0];
    assert_eq!(ended["reason"], "idle_timeout");
    assert_eq!(calls.switchboard.calls().count(), 0);
}

/// Senders that multiplex RTCP with RTP use every port; the port above a leg is still where its RTCP comes.
#[test]
fn audio_on_the_port_above_a_leg_is_a_call_of_its_own_and_rtcp_there_is_the_legs() {
    let mut calls = VirtualCalls::new(unregistered());
    let ports = [20_000, 20_001].map(|number| calls.switchboard.add_port(number));
    let mut senders = [
        Sender::new("10.0.0.1:4000", 7),
        Sender::new("10.0.0.1:4001", 8),
    ];
    calls.play(ports[0], &mut senders[0], &sentence());
    calls.play(ports[1], &mut senders[1], &sentence());
    assert_eq!(calls.events("channel_started").len(), 2);
    calls.send(ports[1], senders[1].address, &senders[1].bye());
    calls.pass(SECOND);
    let [ended] = calls.events("call_ended")[..] else {
        panic!("the second call is over: {:?}", calls.story());
    };
    assert!(ended["call_id"].as_str().unwrap().starts_with("port20001-"));
    calls.send(ports[1], senders[0].address, &senders[0].bye());
    calls.pass(SECOND);
    assert_eq!(calls.events("call_ended").len(), 2);
}

#[test]
fn junk_begins_no_call() {
    let mut calls = VirtualCalls::new(unregistered());
    let port = calls.switchboard.add_port(20_000);
    let mut seed = 1_u64;
    let address = "10.0.0.1:4000".parse().unwrap();
    for length in 0..400 {
        let mut byte = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u8::try_from(seed >> 56).unwrap()
        };
        let mut junk: Vec<u8> = (0..length).map(|_| byte()).collect();
        if let Some(first) = junk.first_mut() {
            *first &= 0x3F;
        }
        calls.send(port, address, &junk);
        calls.pass(PACKET);
    }
    assert_eq!(calls.lines, Vec::<Value>::new());
}

#[test]
fn line_is_one_call_of_all_its_legs_and_bye_ends_it() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let ports = [
        calls.switchboard.add_port(20_000),
        calls.switchboard.add_port(20_002),
    ];
    let legs = vec![
        (ports[0], Some(Role::Customer)),
        (ports[1], Some(Role::Agent)),
    ];
    calls.switchboard.add_line(Line {
        name: "trunk".into(),
        legs,
    });
    let mut senders = [
        Sender::new("10.0.0.1:4000", 7),
        Sender::new("10.0.0.1:4002", 8),
    ];
    for (port, sender) in ports.iter().zip(&mut senders) {
        calls.play(*port, sender, &sentence());
    }
    for (port, sender) in ports.iter().zip(&senders) {
        calls.send(*port, sender.address, &sender.bye());
    }
    calls.pass(SECOND);
    let ended = calls.events("call_ended");
    assert_eq!((ended.len(), &ended[0]["reason"]), (1, &"rtcp_bye".into()));
    assert_ledger_adds_up(ended[0]);
    assert!(ended[0]["call_id"].as_str().unwrap().starts_with("trunk-"));

    // The old stream begins nothing, a new one the next call at once.
    calls.play(ports[1], &mut senders[1], &sentence());
    assert_eq!(calls.events("call_started").len(), 1);
    calls.play(ports[0], &mut Sender::new("10.0.0.1:4000", 9), &sentence());
    assert_eq!(calls.events("call_started").len(), 2);
}

/// A hold, or a transfer: whoever registered the call says when it ends.
#[test]
fn bye_does_not_end_a_registered_call() {
    let (mut calls, port, key) = one_leg();
    let mut first = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut first, &sentence());
    let bye = first.bye();
    calls.send(port, first.address, &bye);
    calls.pass(5 * MINUTE);
    assert_eq!(calls.events("call_ended").len(), 0);

    calls.play(port, &mut Sender::new("10.0.0.1:4002", 8), &sentence());
    hang_up(&mut calls, key);
    calls.pass(SECOND);
    assert_eq!(calls.events("transcript").len(), 2);
    assert_ledger_adds_up(calls.events("call_ended")[0]);
}

#[test]
fn ports_are_given_out_in_turn_and_not_while_a_stray_stream_comes_in() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let ports =
        [20_000, 20_001, 20_002, 20_003, 20_004].map(|port| calls.switchboard.add_port(port));
    let mut stray = Sender::new("10.0.0.1:4000", 7);
    calls.play(ports[0], &mut stray, &[0; 160]);
    let find = |calls: &mut VirtualCalls| calls.switchboard.find_ports(1, calls.now);
    assert_eq!(find(&mut calls), Ok(vec![ports[2]]));
    assert_eq!(find(&mut calls), Ok(vec![ports[4]]));
    assert_eq!(find(&mut calls), Ok(vec![ports[2]]));
    calls.pass(31 * SECOND);
    assert_eq!(find(&mut calls), Ok(vec![ports[4]]));
    assert_eq!(find(&mut calls), Ok(vec![ports[0]]));
    let refused = RegisterError::NoFreePort { needed: 4, free: 3 };
    assert_eq!(calls.switchboard.find_ports(4, calls.now), Err(refused));
}

#[test]
fn stranger_of_another_network_disturbs_no_port() {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let port = calls.switchboard.add_port(20_000);
    calls.play(port, &mut Sender::new("8.8.8.8:4000", 7), &[0; 160]);
    assert_eq!(calls.switchboard.find_ports(1, calls.now), Ok(vec![port]));
}

#[test]
fn receiver_reports_go_out_every_five_seconds_until_bye() {
    let settings = Settings {
        receiver_reports: true,
        ..VirtualCalls::settings()
    };
    let mut calls = VirtualCalls::new(settings);
    let port = calls.switchboard.add_port(20_000);
    register(&mut calls, "a", &[port]).unwrap();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &[0; 8_000 * 11]);
    assert_eq!(calls.reports.len(), 2);
    let report = &calls.reports[1];
    assert_eq!(report.to, "10.0.0.1:4001".parse().unwrap());
    assert_eq!(
        (report.is_muxed, &report.packet[8..12]),
        (false, &[0, 0, 0, 7][..])
    );

    let bye = sender.bye();
    calls.send(port, sender.address, &bye);
    calls.pass(MINUTE);
    assert_eq!(calls.reports.len(), 2);
}

#[test]
fn sender_report_tells_the_senders_time_of_day_at_a_place_of_the_call() {
    let (mut calls, port, key) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    let clock = |calls: &VirtualCalls| {
        let call = calls.switchboard.call(key).unwrap();
        serde_json::to_value(&call.snapshot(calls.now).legs[0]).unwrap()["sender_clock"].clone()
    };
    assert_eq!(clock(&calls), Value::Null);
    // 2026-11-25T18:00:00.5Z.
    let seconds = 1_795_629_600 + 2_208_988_800_u64;
    let report = sender.sender_report(seconds << 32 | 1 << 31);
    calls.send(port, sender.address, &report);
    let expected = serde_json::json!({"at": "2026-11-25T18:00:00.500Z", "position_ms": 4_760});
    assert_eq!(clock(&calls), expected);
    // A clock that counts from when the sender was switched on tells no time of day.
    calls.send(port, sender.address, &sender.sender_report(77 << 32));
    assert_eq!(clock(&calls), Value::Null);
}

#[test]
fn no_receiver_report_goes_out_unless_asked_for() {
    let (mut calls, port, _) = one_leg();
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 7), &[0; 8_000 * 11]);
    assert_eq!(calls.reports, []);
}

#[test]
fn second_registration_of_an_id_is_refused() {
    let (mut calls, _, _) = one_leg();
    let other = calls.switchboard.add_port(20_002);
    assert_eq!(
        register(&mut calls, "a", &[other]),
        Err(RegisterError::DuplicateId("a".into()))
    );
}

#[test]
fn what_is_learned_late_is_saved_at_once() {
    let (mut calls, port, key) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    // The only call has the first slot.
    calls.switchboard.forget_news(0);
    calls.play(port, &mut sender, &[0; 160]);
    assert_eq!(calls.switchboard.pressing_slots().count(), 0);
    let update = CallUpdate {
        roles: vec![(0, Role::Agent)],
        ..CallUpdate::default()
    };
    calls.switchboard.handle_update(key, update, calls.now);
    assert_eq!(calls.switchboard.pressing_slots().collect::<Vec<_>>(), [0]);
}

#[test]
fn what_is_learned_late_is_told_and_used() {
    let (mut calls, port, key) = one_leg();
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    let update = CallUpdate {
        roles: vec![(0, Role::Agent)],
        ..CallUpdate::default()
    };
    calls.switchboard.handle_update(key, update, calls.now);
    calls.perform();
    calls.play(port, &mut sender, &sentence());
    calls.pass(SECOND);
    let roles: Vec<_> = calls
        .events("transcript")
        .iter()
        .map(|line| line["role"].clone())
        .collect();
    assert_eq!(roles, ["CUSTOMER", "AGENT"]);
    assert_eq!(calls.events("call_updated").len(), 1);
}

#[test]
fn everything_is_closed_and_settled_when_the_switchboard_closes() {
    let (mut calls, port, _) = one_leg();
    calls.answer = Answer::Never;
    calls.play(
        port,
        &mut Sender::new("10.0.0.1:4000", 7),
        &sentence()[..16_000],
    );
    calls
        .switchboard
        .handle_close(EndReason::Shutdown, calls.now);
    calls.perform();
    assert_eq!(calls.events("call_ended").len(), 0);
    calls.answer_all();
    let ended = calls.events("call_ended")[0];
    assert_eq!(ended["reason"], "shutdown");
    assert_ledger_adds_up(ended);
}

/// Story 12: state of the last call in the next.
#[test]
fn ten_thousand_calls_one_after_the_other_leave_nothing_behind() {
    let mut calls = VirtualCalls::new(unregistered());
    let port = calls.switchboard.add_port(20_000);
    for number in 0..10_000_u32 {
        let mut sender = Sender::new("10.0.0.1:4000", number);
        calls.play(port, &mut sender, &[0; 320]);
        calls.send(port, sender.address, &sender.bye());
        calls.pass(PACKET);
    }
    let ended = calls.events("call_ended");
    assert_eq!(ended.len(), 10_000);
    assert!(
        ended.iter().all(|line| number(line, "duration_ms") == 40),
        "{:?}",
        ended[1]
    );
    let ids: BTreeSet<_> = ended
        .iter()
        .map(|line| line["call_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 10_000);
    assert_eq!(calls.switchboard.calls().count(), 0);
    assert_eq!(calls.switchboard.poll_timeout(), None);
}

/// A phone system that always uses the same SSRC calls again, from another port, after the first call ran out.
#[test]
fn next_call_with_the_same_ssrc_is_heard_on_an_unregistered_port() {
    let mut calls = VirtualCalls::new(unregistered());
    let port = calls.switchboard.add_port(20_000);
    calls.play(port, &mut Sender::new("10.0.0.1:4000", 1), &sentence());
    calls.pass(75 * SECOND);
    calls.play(port, &mut Sender::new("10.0.0.1:5444", 1), &sentence());
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("call_started").len(), 2);
    assert_eq!(calls.events("transcript").len(), 2);
}

#[test]
fn call_that_comes_off_a_long_hold_is_heard_again_on_an_unregistered_port() {
    let mut calls = VirtualCalls::new(unregistered());
    let port = calls.switchboard.add_port(20_000);
    let mut sender = Sender::new("10.0.0.1:4000", 1);
    calls.play(port, &mut sender, &sentence());
    calls.pass(65 * SECOND);
    calls.play(port, &mut sender, &sentence());
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("transcript").len(), 2);
}

/// A line with two legs.
fn trunk() -> (VirtualCalls, [PortIndex; 2]) {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let ports = [
        calls.switchboard.add_port(20_000),
        calls.switchboard.add_port(20_002),
    ];
    let legs = vec![(ports[0], None), (ports[1], None)];
    calls.switchboard.add_line(Line {
        name: "trunk".into(),
        legs,
    });
    (calls, ports)
}

/// A transfer: one leg says BYE and goes on with another stream, then the other leg says BYE.
#[test]
fn bye_before_a_transfer_is_not_the_end_of_the_leg() {
    let (mut calls, ports) = trunk();
    let (mut first, mut other) = (
        Sender::new("10.0.0.1:4000", 7),
        Sender::new("10.0.0.1:4002", 8),
    );
    calls.play(ports[0], &mut first, &sentence());
    calls.play(ports[1], &mut other, &sentence());
    calls.send(ports[0], first.address, &first.bye());
    let mut transferred = Sender::new("10.0.0.1:4000", 9);
    calls.play(ports[0], &mut transferred, &sentence());
    calls.send(ports[1], other.address, &other.bye());
    calls.play(ports[0], &mut transferred, &sentence());
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("call_ended").len(), 0);
    assert_eq!(calls.events("transcript").len(), 4);
}

/// The pause that ended the call was silence: what comes after it is somebody who speaks.
#[test]
fn sender_that_comes_again_after_the_shortest_idle_timeout_is_heard() {
    let settings = Settings {
        unregistered_calls: true,
        idle_timeout: SECOND,
        ..VirtualCalls::settings()
    };
    let mut calls = VirtualCalls::new(settings);
    let port = calls.switchboard.add_port(20_000);
    let mut sender = Sender::new("10.0.0.1:4000", 7);
    calls.play(port, &mut sender, &sentence());
    calls.pass(SECOND + SECOND / 10);
    assert_eq!(calls.events("call_ended")[0]["reason"], "idle_timeout");
    calls.play(port, &mut sender, &sentence());
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("call_started").len(), 2);
    assert_eq!(calls.events("transcript").len(), 2);
}

/// Story 1 on a line: the leg beside the one that begins the next call still gets the old stream.
#[test]
fn old_stream_on_a_sibling_port_is_not_heard_in_the_next_call_of_the_line() {
    let (mut calls, ports) = trunk();
    let mut old = Sender::new("10.0.0.1:4002", 8);
    calls.play(ports[1], &mut old, &sentence());
    let key = calls.switchboard.calls().next().map(|call| call.key());
    hang_up(&mut calls, key.unwrap());
    let mut next = Sender::new("10.0.0.1:4000", 9);
    for chunk in sentence().chunks_exact(160) {
        let packets = [old.packet(chunk), next.packet(chunk)];
        calls.send(ports[1], old.address, &packets[0]);
        calls.send(ports[0], next.address, &packets[1]);
        calls.pass(PACKET);
    }
    calls.pass(2 * SECOND);
    assert_eq!(calls.events("call_started").len(), 2);
    let heard: Vec<_> = calls
        .events("channel_started")
        .iter()
        .map(|line| line["ssrc"].clone())
        .collect();
    assert_eq!(heard, [8, 9]);
}
