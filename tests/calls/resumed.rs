//! Calls that are saved by one process and go on in another: their lines, their ledger, their audio. In virtual time.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use crate::virtual_calls::{Answer, PACKET, Restart, Sender, VirtualCalls, sentence};
use callscribe::call::conversation::SavedCall;
use callscribe::call::switchboard::{Hindrance, Line, PortIndex};
use callscribe::event::{EndReason, Role};
use callscribe::speech::utterance::Depth;
use proptest::prelude::*;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);

static TALK: LazyLock<Vec<i16>> = LazyLock::new(|| {
    let sentence = sentence();
    [&sentence[..], &sentence, &sentence].concat()
});

/// A line of two legs; the caller talks.
struct Talk {
    calls: VirtualCalls,
    ports: [PortIndex; 2],
    caller: Sender,
    agent: Sender,
    sent: usize,
}

impl Talk {
    fn new(answer: Answer) -> Self {
        let mut calls = VirtualCalls::new(VirtualCalls::settings());
        calls.answer = answer;
        let ports = add_line(&mut calls);
        Self {
            calls,
            ports,
            caller: Sender::new("10.0.0.1:4000", 7),
            agent: Sender::new("10.0.0.2:4000", 8),
            sent: 0,
        }
    }

    /// The next so many packets of both legs.
    fn go_on(&mut self, packets: usize) {
        for _ in 0..packets {
            let pcm = TALK.get(self.sent * 160..(self.sent + 1) * 160);
            let packet = self.caller.packet(pcm.unwrap_or(&[0; 160]));
            self.calls.send(self.ports[0], self.caller.address, &packet);
            let packet = self.agent.packet(&[0; 160]);
            self.calls.send(self.ports[1], self.agent.address, &packet);
            self.calls.pass(PACKET);
            self.sent += 1;
        }
    }

    /// Nobody hears the next so many packets.
    fn miss(&mut self, packets: usize) {
        for _ in 0..packets {
            self.caller.packet(&[0; 160]);
            self.agent.packet(&[0; 160]);
            self.sent += 1;
        }
    }

    fn restart(&mut self, depth: Depth, away: Duration) -> Vec<Option<Hindrance>> {
        let restart = Restart {
            depth,
            away,
            is_audio_lost: false,
        };
        self.restart_as(restart)
    }

    fn restart_as(&mut self, restart: Restart) -> Vec<Option<Hindrance>> {
        self.calls.restart(restart, |calls| {
            add_line(calls);
        })
    }

    fn hang_up(&mut self) {
        let now = self.calls.now;
        self.calls.switchboard.handle_close(EndReason::Hangup, now);
        self.calls.perform();
        self.calls.pass(SECOND);
        self.calls.answer_all();
    }
}

fn add_line(calls: &mut VirtualCalls) -> [PortIndex; 2] {
    let ports = [20_000, 20_002].map(|number| calls.switchboard.add_port(number));
    calls.switchboard.add_line(Line {
        name: "trunk".into(),
        legs: vec![(ports[0], Some(Role::Customer)), (ports[1], None)],
    });
    ports
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap()
}

fn assert_ledger_adds_up(talk: &Talk) {
    let ended = talk.calls.events("call_ended");
    assert_eq!(ended.len(), 1, "one call_ended");
    for coverage in ended[0]["coverage"].as_array().unwrap() {
        let of = |key| number(coverage, key);
        assert_eq!(of("speech_ms") + of("silence_ms"), of("received_ms"));
        assert_eq!(of("transcribed_ms") + of("gap_ms"), of("speech_ms"));
    }
}

/// Lines as a reader compares them: all but the time of day, and what of the recogniser's work was repeated.
fn lines(talk: &Talk) -> Vec<Value> {
    let mut lines = talk.calls.lines.clone();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        line.remove("ts");
    }
    lines
}

#[test]
fn nothing_shows_that_a_call_was_handed_over() {
    let undisturbed = {
        let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
        talk.go_on(700);
        talk.hang_up();
        talk
    };
    // Of one packet it is not clear yet whether a stream begins with it, so it is not handed over.
    proptest!(ProptestConfig::with_cases(48), |(at in 2_usize..690, again in 1_usize..200)| {
        let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
        talk.go_on(at);
        talk.restart(Depth::Handover, Duration::ZERO);
        let again = again.min(700 - at);
        talk.go_on(again);
        talk.restart(Depth::Handover, Duration::ZERO);
        talk.go_on(700 - at - again);
        talk.hang_up();
        prop_assert_eq!(lines(&talk), lines(&undisturbed));
        prop_assert_eq!(talk.calls.audio(), undisturbed.calls.audio());
    });
}

#[test]
fn ledger_adds_up_over_crashes_and_what_was_missed_is_lost() {
    proptest!(ProptestConfig::with_cases(48), |(
        at in 10_usize..600, unsaved in 0_usize..25, away in 0_usize..200, is_audio_lost in any::<bool>(),
    )| {
        let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
        talk.go_on(at);
        // What came after the checkpoint is forgotten, what came while nobody listened never known.
        talk.miss(unsaved + away);
        let away = PACKET * u32::try_from(unsaved + away).unwrap();
        talk.restart_as(Restart { depth: Depth::Checkpoint, away, is_audio_lost });
        talk.go_on(300);
        talk.hang_up();
        assert_ledger_adds_up(&talk);
        let missed_ms = u64::try_from(away.as_millis()).unwrap();
        let ended = talk.calls.events("call_ended")[0];
        for coverage in ended["coverage"].as_array().unwrap() {
            let (lost, received) = (number(coverage, "lost_ms"), number(coverage, "received_ms"));
            prop_assert_eq!(lost + received, number(ended, "duration_ms"));
            prop_assert!(lost.abs_diff(missed_ms) <= 20, "{} of {}", lost, missed_ms);
        }
        let ids = talk.calls.events("speech_started");
        let unique: BTreeSet<_> = ids.iter().map(|line| line["utterance_id"].as_str()).collect();
        prop_assert_eq!(unique.len(), ids.len());
        if is_audio_lost {
            return Ok(());
        }
        prop_assert!(talk.calls.events("gap").iter().all(|gap| gap["reason"] == "rtp_loss"));
    });
}

#[test]
fn speech_whose_audio_is_gone_is_a_gap_and_the_call_goes_on() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(100);
    talk.restart_as(Restart {
        depth: Depth::Handover,
        away: Duration::ZERO,
        is_audio_lost: true,
    });
    talk.go_on(600);
    talk.hang_up();
    assert_ledger_adds_up(&talk);
    let gaps = talk.calls.events("gap");
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0]["reason"], "shutdown");
    assert!(talk.calls.events("transcript").len() >= 3);
}

#[test]
fn closed_part_whose_audio_is_gone_is_a_gap_at_once_though_nothing_is_said_after_it() {
    let mut talk = Talk::new(Answer::Never);
    talk.go_on(230);
    assert_eq!(talk.calls.events("speech_ended").len(), 1);
    talk.restart_as(Restart {
        depth: Depth::Checkpoint,
        away: Duration::ZERO,
        is_audio_lost: true,
    });
    let said: Vec<_> = talk.calls.events("gap");
    assert_eq!(said[0]["reason"], "shutdown");
    talk.hang_up();
    assert_ledger_adds_up(&talk);
}

#[test]
fn call_whose_port_is_gone_ends_with_the_text_of_its_last_words() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(100);
    let restart = Restart {
        depth: Depth::Handover,
        away: Duration::ZERO,
        is_audio_lost: false,
    };
    let hindered = talk.calls.restart(restart, |calls| {
        calls.switchboard.add_port(30_000);
    });
    assert_eq!(hindered, [Some(Hindrance::PortGone(20_000))]);
    talk.calls.pass(SECOND);
    assert_eq!(talk.calls.events("transcript").len(), 1);
    assert_eq!(talk.calls.events("call_ended")[0]["reason"], "interrupted");
    assert_ledger_adds_up(&talk);
}

#[test]
fn call_that_nobody_listened_to_for_long_is_over() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(100);
    let away = 301 * SECOND;
    assert_eq!(
        talk.restart(Depth::Checkpoint, away),
        [Some(Hindrance::TooLate(away))]
    );
    talk.calls.pass(SECOND);
    assert_eq!(talk.calls.events("call_ended")[0]["reason"], "interrupted");
    // Its port is free: whoever sends now begins another call.
    talk.go_on(10);
    assert_eq!(talk.calls.events("call_started").len(), 2);
}

#[test]
fn time_in_which_nobody_listened_is_no_silence_of_the_senders() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(100);
    // Longer than the idle timeout and what a stalled leg is told after, twice.
    for _ in 0..2 {
        let away = 100 * SECOND;
        assert_eq!(talk.restart(Depth::Checkpoint, away), [None]);
        talk.calls.pass(SECOND);
        talk.go_on(100);
    }
    assert_eq!(talk.calls.events("call_started").len(), 1);
    assert!(talk.calls.events("call_ended").is_empty());
    assert!(talk.calls.events("channel_health").is_empty());
}

#[test]
fn silence_before_restarts_counts_for_the_idle_timeout() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(100);
    for _ in 0..2 {
        talk.calls.pass(20 * SECOND);
        talk.restart(Depth::Checkpoint, 100 * SECOND);
    }
    talk.calls.pass(19 * SECOND);
    assert!(talk.calls.events("call_ended").is_empty());
    talk.calls.pass(SECOND);
    let ended = talk.calls.events("call_ended");
    assert_eq!(ended[0]["reason"], "idle_timeout");
    let stalled = talk.calls.events("channel_health");
    let said: Vec<_> = stalled.iter().map(|line| &line["state"]).collect();
    assert_eq!(said, ["stalled", "stalled"], "once a leg");
}

#[test]
fn call_that_waits_for_its_last_text_is_closed_by_it_after_the_restart() {
    let mut talk = Talk::new(Answer::Never);
    talk.go_on(150);
    let now = talk.calls.now;
    talk.calls.switchboard.handle_close(EndReason::Hangup, now);
    talk.calls.perform();
    talk.restart(Depth::Checkpoint, SECOND);
    assert!(talk.calls.events("call_ended").is_empty());
    talk.calls.answer_all();
    let ended = talk.calls.events("call_ended");
    assert_eq!(ended[0]["reason"], "hangup");
    assert_eq!(
        talk.calls.events("transcript").last().unwrap()["is_final"],
        true
    );
    assert_ledger_adds_up(&talk);
}

#[test]
fn stranger_does_not_take_over_a_resumed_leg() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(50);
    talk.restart(Depth::Checkpoint, Duration::from_millis(200));
    let mut stranger = Sender::new("10.9.9.9:4000", 99);
    for _ in 0..5 {
        let packet = stranger.packet(&[1_000; 160]);
        talk.calls.send(talk.ports[0], stranger.address, &packet);
    }
    talk.miss(10);
    talk.go_on(50);
    talk.hang_up();
    assert_eq!(talk.calls.events("channel_started").len(), 2);
    let ended = talk.calls.events("call_ended")[0];
    assert_eq!(number(&ended["coverage"][0], "lost_ms"), 200);
}

/// A call as it was saved by the layout in force, `LAYOUT` of `io::checkpoint`. If it cannot be read any more, the form has
/// changed: raise `LAYOUT`, and make the file anew with `CALLSCRIBE_BLESS=1`.
#[test]
fn call_that_was_saved_in_this_layout_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/saved_call.bin");
    if std::env::var_os("CALLSCRIBE_BLESS").is_some() {
        let mut talk = Talk::new(Answer::Never);
        talk.go_on(230);
        let call = talk.calls.switchboard.calls().next().unwrap();
        let saved = call.save(Depth::Handover, talk.calls.now);
        std::fs::write(path, saved.to_bytes(Vec::new()).unwrap()).unwrap();
    }
    let bytes = std::fs::read(path).unwrap();
    let call = SavedCall::from_bytes(&bytes).unwrap();
    assert_eq!(call.ports().collect::<Vec<_>>(), [20_000, 20_002]);
    assert_eq!(call.to_bytes(Vec::new()).unwrap(), bytes);
    assert!(SavedCall::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn utterance_that_began_after_the_last_checkpoint_keeps_its_name_to_itself() {
    let mut talk = Talk::new(Answer::After(Duration::from_millis(300)));
    talk.go_on(2);
    let saved: Vec<_> = {
        let calls = talk.calls.switchboard.calls();
        calls
            .map(|call| call.save(Depth::Checkpoint, talk.calls.now))
            .collect()
    };
    let saved_at = talk.calls.now;
    talk.go_on(28);
    assert_eq!(talk.calls.events("speech_started").len(), 1);
    talk.calls.crash(saved, saved_at, |calls| {
        add_line(calls);
    });
    talk.go_on(300);
    talk.hang_up();
    let started = talk.calls.events("speech_started");
    let ids: BTreeSet<_> = started
        .iter()
        .map(|line| line["utterance_id"].as_str())
        .collect();
    assert_eq!(ids.len(), started.len());
    assert_ledger_adds_up(&talk);
}
