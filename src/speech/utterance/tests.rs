//! Utterances from made-up frames: the detector under test takes loud for speech.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::call::speech_settings::SpeechSettings;
use crate::event::Role;

#[test]
fn speech_becomes_pre_roll_speech_and_post_roll() {
    let outputs = run(&[Quiet(50), Speech(100), Quiet(100)]);
    let expected = spans(&outputs);
    assert_eq!(expected, [(ms(1_000 - 300), ms(3_000 + 200))]);
}

#[test]
fn a_click_opens_nothing() {
    assert_eq!(
        run(&[Quiet(50), Speech(2), Quiet(50), Speech(1), Quiet(50)]),
        []
    );
}

#[test]
fn a_short_word_opens_an_utterance() {
    let outputs = run(&[Quiet(50), Speech(6), Quiet(50)]);
    assert_eq!(spans(&outputs), [(ms(700), ms(1_120 + 200))]);
}

#[test]
fn the_first_part_opens_with_the_frame_that_decides_the_onset() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Quiet(50));
    leg.play(Speech(3));
    assert!(leg.segmenter.is_speech());
    assert_eq!(leg.outputs, []);
    leg.play(Speech(1));
    assert!(
        matches!(leg.outputs[1], Output::PartOpened { part: 0, start, .. } if start == ms(700))
    );
    assert_eq!(audio(&leg.outputs).last().unwrap().end(), ms(1_080));
}

#[test]
fn a_thinking_pause_stays_inside_the_utterance() {
    let outputs = run(&[Speech(50), Quiet(29), Speech(50), Quiet(40)]);
    assert_eq!(spans(&outputs), [(ms(0), ms(2_580 + 200))]);
}

#[test]
fn beyond_the_post_roll_a_pause_is_withheld_until_speech_resumes() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Speech(50));
    leg.play(Quiet(25));
    assert_eq!(audio(&leg.outputs).last().unwrap().end(), ms(1_200));
    leg.play(Speech(2));
    assert_eq!(audio(&leg.outputs).last().unwrap().end(), ms(1_540));
}

#[test]
fn other_settings_hold_from_the_next_utterance_on() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Speech(50));
    let hasty = Timing {
        hangover: Duration::from_millis(300),
        ..Timing::default()
    };
    leg.segmenter.adopt(Arc::new(Settings::new(hasty).unwrap()));
    // 580 ms of pause: within the old hangover, beyond the new one.
    for input in [
        Quiet(29),
        Speech(50),
        Quiet(50),
        Speech(50),
        Quiet(29),
        Speech(50),
        Quiet(50),
    ] {
        leg.play(input);
    }
    assert_eq!(spans(&leg.outputs).len(), 3, "{:?}", spans(&leg.outputs));
}

#[test]
fn meter_rises_at_once_and_falls_back_slowly() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Quiet(10));
    let quiet = leg.segmenter.level_dbfs();
    leg.play(Speech(1));
    let loud = leg.segmenter.level_dbfs();
    assert!(loud > quiet + 10.0, "{quiet} to {loud}");
    leg.play(Quiet(10));
    assert!((leg.segmenter.level_dbfs() - (loud - 5.0)).abs() < 0.1);
}

#[test]
fn the_pre_roll_is_clipped_at_the_end_of_the_utterance_before() {
    let timing = Timing {
        hangover: Duration::from_millis(300),
        ..Timing::default()
    };
    let outputs = run_with(timing, &[Speech(50), Quiet(20), Speech(50), Quiet(50)]);
    assert_eq!(
        spans(&outputs),
        [(ms(0), ms(1_200)), (ms(1_200), ms(2_600))]
    );
}

#[test]
fn a_telephone_event_is_no_speech() {
    assert_eq!(run(&[Quiet(10), Event(100), Quiet(100)]), []);
}

#[test]
fn lost_frames_neither_open_nor_end_an_utterance() {
    assert_eq!(run(&[Quiet(10), Lost(100), Quiet(10)]), []);
    let outputs = run(&[Speech(50), Lost(40), Speech(50), Quiet(50)]);
    assert_eq!(spans(&outputs), [(ms(0), ms(2_800 + 200))]);
    let Some(Output::PartClosed { speech, .. }) = outputs.iter().rev().nth(1) else {
        panic!()
    };
    assert_eq!(*speech, ms(2_000 + 200));
}

#[test]
fn an_endless_loss_ends_the_utterance() {
    let outputs = run(&[Speech(50), Lost(100)]);
    assert_eq!(spans(&outputs), [(ms(0), ms(1_200))]);
}

#[test]
fn a_short_silence_of_the_sender_is_audible_silence_in_the_utterance() {
    let outputs = run(&[Speech(50), Suppressed(ms(333)), Speech(50), Quiet(50)]);
    assert_eq!(spans(&outputs), [(ms(0), ms(2_333 + 200))]);
    let Some(Output::PartClosed { speech, .. }) = outputs.iter().rev().nth(1) else {
        panic!()
    };
    assert_eq!(*speech, ms(2_533));
}

#[test]
fn ten_minutes_of_the_senders_silence_end_the_utterance_and_cost_a_few_frames() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Speech(50));
    leg.play(Suppressed(ms(600_000)));
    leg.play(Speech(50));
    leg.segmenter.handle_end();
    leg.drain();
    assert_eq!(
        spans(&leg.outputs),
        [(ms(0), ms(1_200)), (ms(600_700), ms(602_000))]
    );
    assert!(leg.segmenter.withheld.len() <= 25);
}

#[test]
fn the_end_of_the_stream_closes_the_utterance_at_once_and_more_opens_another() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Speech(50));
    leg.play(Quiet(5));
    leg.segmenter.handle_end();
    leg.drain();
    assert_eq!(spans(&leg.outputs), [(ms(0), ms(1_100))]);
    leg.play(Speech(50));
    leg.segmenter.handle_end();
    leg.drain();
    assert_eq!(
        spans(&leg.outputs),
        [(ms(0), ms(1_100)), (ms(1_100), ms(2_100))]
    );
}

#[test]
fn a_hole_in_the_frames_closes_the_utterance_and_an_old_frame_is_ignored() {
    let mut leg = Leg::new(Timing::default());
    leg.play(Speech(50));
    leg.at = ms(5_000);
    leg.play(Speech(50));
    leg.at = ms(4_000);
    leg.play(Speech(10));
    leg.segmenter.handle_end();
    leg.drain();
    assert_eq!(
        spans(&leg.outputs),
        [(ms(0), ms(1_000)), (ms(5_000), ms(6_000))]
    );
}

#[test]
fn long_speech_is_cut_at_its_first_sentence_pause_past_forty_seconds() {
    let pauses = [
        Speech(1_950),
        Quiet(20),
        Speech(80),
        Quiet(20),
        Speech(500),
        Quiet(50),
    ];
    let outputs = run(&pauses);
    assert_eq!(
        parts(&outputs),
        [(ms(0), ms(41_200)), (ms(41_200), ms(51_600))]
    );
}

#[test]
fn speech_without_a_pause_is_cut_within_the_limit() {
    let outputs = run(&[Speech(10_000), Quiet(50)]);
    let parts = parts(&outputs);
    assert!(parts.len() >= 4);
    assert!(parts.iter().all(|(start, end)| *end - *start <= ms(58_000)));
}

#[test]
fn a_cut_within_words_is_heard_on_both_sides() {
    let timing = Timing {
        overlap: Duration::from_millis(2_500),
        ..Timing::default()
    };
    let outputs = run_with(timing, &[Speech(4_000), Quiet(50)]);
    assert_eq!(lead_ins(&outputs), [ms(0), ms(2_500)]);
}

#[test]
fn a_cut_in_a_pause_is_heard_once() {
    let timing = Timing {
        overlap: Duration::from_millis(2_500),
        ..Timing::default()
    };
    let outputs = run_with(timing, &[Speech(2_100), Quiet(20), Speech(500), Quiet(50)]);
    assert_eq!(lead_ins(&outputs), [ms(0), ms(0)]);
}

#[test]
fn without_overlap_nothing_is_heard_twice() {
    let outputs = run(&[Speech(4_000), Quiet(50)]);
    assert_eq!(lead_ins(&outputs), [ms(0), ms(0)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_tile_utterances_and_utterances_never_overlap(script in scripts(), settings in timings()) {
        let mut leg = Leg::new(settings);
        let bound = settings.hangover * 2 + settings.pre_roll + settings.onset * 3;
        let bound = bound.as_millis() as usize / 20 + 5;
        for stretch in script {
            for piece in stretch.pieces() {
                leg.play(piece);
                prop_assert!(leg.segmenter.withheld.len() <= bound);
                if let Phase::Speech { parts, .. } = &leg.segmenter.phase {
                    prop_assert!(parts.held_len() <= Samples::from_duration(settings.look_ahead));
                }
            }
        }
        leg.segmenter.handle_end();
        leg.drain();
        let mut order = Order::new(Samples::from_duration(settings.cut_limit));
        for output in &leg.outputs {
            order.check(output);
        }
        prop_assert!(order.at_rest());
        let played: HashMap<Samples, Frame> = leg.played.iter().map(|f| (f.start, *f)).collect();
        for frame in audio(&leg.outputs) {
            let silent = frame.g711 == [0xFF; 160];
            prop_assert!(silent || played.get(&frame.start) == Some(&frame));
        }
    }

    #[test]
    fn parts_tile_utterances_and_keep_their_limits_when_roles_and_settings_change_in_mid_call(
        script in prop::collection::vec((stretch(), prop::option::of((0_u64..400, role()))), 1..30),
        timings in [timings(), timings(), timings()],
    ) {
        let [all, customer, agent] = timings.map(|timing| Settings::new(timing).unwrap());
        let by_role = SpeechSettings::new(all)
            .with_role(Role::Customer, customer)
            .with_role(Role::Agent, agent);
        let mut leg = Leg::new(timings[0]);
        let mut order = Order::new(all.cut.limit);
        let (mut seen, mut next) = (0, None);
        for (stretch, change) in script {
            for (at, piece) in (0..).zip(stretch.pieces()) {
                if let Some((_, role)) = change.filter(|(moment, _)| *moment == at) {
                    let settings = by_role.of(role);
                    leg.segmenter.adopt(Arc::clone(settings));
                    // An utterance keeps what it began with.
                    if order.at_rest() {
                        order.limit = settings.cut.limit;
                    } else {
                        next = Some(settings.cut.limit);
                    }
                }
                leg.play(piece);
                for output in &leg.outputs[seen..] {
                    order.check(output);
                    if order.at_rest() {
                        order.limit = next.take().unwrap_or(order.limit);
                    }
                }
                seen = leg.outputs.len();
            }
        }
        leg.segmenter.handle_end();
        leg.drain();
        leg.outputs[seen..].iter().for_each(|output| order.check(output));
        prop_assert!(order.at_rest());
        let played: HashMap<Samples, Frame> = leg.played.iter().map(|f| (f.start, *f)).collect();
        for frame in audio(&leg.outputs) {
            let silent = frame.g711 == [0xFF; 160];
            prop_assert!(silent || played.get(&frame.start) == Some(&frame));
        }
    }

    #[test]
    fn speech_of_an_onset_is_in_an_utterance(before in 0_u64..100, frames in 4_u64..200) {
        let outputs = run(&[Quiet(before), Speech(frames), Quiet(100)]);
        let (start, end) = spans(&outputs)[0];
        prop_assert!(start <= ms(before * 20));
        prop_assert!(end >= ms((before + frames) * 20));
    }
}

/// The documented order of outputs, as a model.
struct Order {
    limit: Samples,
    utterance: u64,
    open: Option<Samples>,
    part: Option<(u32, Samples, Samples)>,
    next_part: u32,
    last_closed: bool,
    at: Samples,
    lead_in: Samples,
    lead_in_at: Samples,
    part_before: Vec<Frame>,
}

impl Order {
    fn new(limit: Samples) -> Self {
        Self {
            limit,
            utterance: 0,
            open: None,
            part: None,
            next_part: 0,
            last_closed: false,
            at: Samples::ZERO,
            lead_in: Samples::ZERO,
            lead_in_at: Samples::ZERO,
            part_before: Vec::new(),
        }
    }

    fn at_rest(&self) -> bool {
        self.open.is_none() && self.part.is_none()
    }

    fn check(&mut self, output: &Output) {
        match output {
            Output::Started { utterance, start } => {
                assert!(self.at_rest());
                assert!(*utterance == self.utterance && *start >= self.at);
                (self.open, self.at) = (Some(*start), *start);
                (self.next_part, self.last_closed) = (0, false);
            }
            Output::PartOpened {
                utterance,
                part,
                start,
                lead_in,
            } => {
                assert!(self.part.is_none() && !self.last_closed && self.open.is_some());
                assert_eq!(
                    (*utterance, *part, *start),
                    (self.utterance, self.next_part, self.at)
                );
                self.part = Some((*part, *start, Samples::ZERO));
                (self.lead_in, self.lead_in_at) = (*lead_in, *start - *lead_in);
            }
            Output::LeadIn(frame) => {
                assert_eq!(frame.start, self.lead_in_at);
                self.lead_in_at = frame.end();
                assert!(self.part_before.contains(frame));
            }
            Output::Audio(frame) => {
                assert_eq!(frame.start, self.at);
                let (_, start, _) = self.part.unwrap();
                assert_eq!(self.lead_in_at, start);
                if frame.start == start {
                    self.part_before.clear();
                }
                self.part_before.push(*frame);
                self.at = frame.end();
                self.part.as_mut().unwrap().2 += frame.received();
            }
            Output::PartClosed { end, speech, last } => {
                let (part, start, received) = self.part.take().unwrap();
                assert_eq!((*end, *speech), (self.at, received));
                assert!(*end > start && *end - start + self.lead_in <= self.limit);
                (self.next_part, self.last_closed) = (part + 1, *last);
            }
            Output::Ended {
                utterance,
                start,
                end,
            } => {
                assert!(self.part.is_none() && self.last_closed);
                assert_eq!((*utterance, *end), (self.utterance, self.at));
                assert_eq!(self.open.take(), Some(*start));
                self.utterance += 1;
            }
        }
    }
}

use Stretch::{Event, Lost, Quiet, Speech, Suppressed};

/// Frames of one kind, or time without frames.
#[derive(Clone, Copy, Debug)]
enum Stretch {
    Speech(u64),
    Quiet(u64),
    Event(u64),
    Lost(u64),
    Suppressed(Samples),
}

impl Stretch {
    /// The same, one input each.
    fn pieces(self) -> Vec<Self> {
        let repeat = |piece, count: u64| vec![piece; usize::try_from(count).unwrap()];
        match self {
            Speech(count) => repeat(Speech(1), count),
            Quiet(count) => repeat(Quiet(1), count),
            Event(count) => repeat(Event(1), count),
            Lost(count) => repeat(Lost(1), count),
            Suppressed(_) => vec![self],
        }
    }
}

fn scripts() -> impl Strategy<Value = Vec<Stretch>> {
    prop::collection::vec(stretch(), 1..30)
}

fn stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        4 => (1_u64..400).prop_map(Speech),
        1 => (1_000_u64..4_000).prop_map(Speech),
        4 => (1_u64..60).prop_map(Quiet),
        1 => (1_u64..40).prop_map(Event),
        1 => (1_u64..100).prop_map(Lost),
        1 => (1_u64..20_000).prop_map(|samples| Suppressed(Samples(samples))),
        1 => Just(Suppressed(Samples::from_ms(600_000))),
    ]
}

fn role() -> impl Strategy<Value = Option<Role>> {
    prop::sample::select(vec![None, Some(Role::Customer), Some(Role::Agent)])
}

fn timings() -> impl Strategy<Value = Timing> {
    let presets = prop_oneof![Just(Timing::dialogue()), Just(Timing::monologue())];
    (
        presets,
        0_u64..500,
        100_u64..900,
        2_000_u64..59_000,
        100_u64..9_000,
        0_u64..5_000,
    )
        .prop_map(
            |(preset, pre_roll, hangover, limit, look_ahead, overlap)| Timing {
                pre_roll: Duration::from_millis(pre_roll),
                hangover: Duration::from_millis(hangover),
                post_roll: Duration::from_millis(hangover / 2),
                cut_limit: Duration::from_millis(limit),
                cut_from: Duration::from_millis((limit * 2 / 3).max(1_000)),
                look_ahead: Duration::from_millis(look_ahead),
                overlap: Duration::from_millis(overlap),
                ..preset
            },
        )
}

struct Leg {
    segmenter: Segmenter,
    at: Samples,
    played: Vec<Frame>,
    outputs: Vec<Output>,
}

impl Leg {
    fn new(timing: Timing) -> Self {
        let settings = Arc::new(Settings::new(timing).unwrap());
        Self {
            segmenter: Segmenter::new(settings, Box::new(Loudness)),
            at: Samples::ZERO,
            played: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn play(&mut self, stretch: Stretch) {
        match stretch {
            Speech(count) => self.play_frames(count, 0x80, 0, false),
            Quiet(count) => self.play_frames(count, 0xFF, 0, false),
            Event(count) => self.play_frames(count, 0x80, 0, true),
            Lost(count) => self.play_frames(count, 0x80, 160, false),
            Suppressed(len) => {
                self.segmenter.handle_silence(self.at, len);
                self.at += len;
            }
        }
        self.drain();
    }

    fn play_frames(&mut self, count: u64, byte: u8, lost: u8, telephone_event: bool) {
        for _ in 0..count {
            let frame = Frame {
                start: self.at,
                law: Law::Pcmu,
                g711: [byte; 160],
                len: 160,
                lost,
                telephone_event,
            };
            self.segmenter.handle_frame(&frame);
            self.played.push(frame);
            self.at = frame.end();
        }
    }

    fn drain(&mut self) {
        self.outputs
            .extend(std::iter::from_fn(|| self.segmenter.poll_output()));
    }
}

/// Takes loud for speech.
struct Loudness;

impl VoiceActivity for Loudness {
    fn is_speech(&mut self, sound: &Sound) -> bool {
        sound.level_dbfs() > -30.0
    }

    fn reset(&mut self) {}
}

fn run(script: &[Stretch]) -> Vec<Output> {
    run_with(Timing::default(), script)
}

fn run_with(timing: Timing, script: &[Stretch]) -> Vec<Output> {
    let mut leg = Leg::new(timing);
    script.iter().for_each(|stretch| leg.play(*stretch));
    leg.outputs
}

fn spans(outputs: &[Output]) -> Vec<(Samples, Samples)> {
    let mut spans = Vec::new();
    for output in outputs {
        if let Output::Ended { start, end, .. } = output {
            spans.push((*start, *end));
        }
    }
    spans
}

fn parts(outputs: &[Output]) -> Vec<(Samples, Samples)> {
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for output in outputs {
        if let Output::PartOpened { start, .. } = output {
            starts.push(*start);
        } else if let Output::PartClosed { end, .. } = output {
            ends.push(*end);
        }
    }
    starts.into_iter().zip(ends).collect()
}

fn lead_ins(outputs: &[Output]) -> Vec<Samples> {
    let mut lead_ins = Vec::new();
    for output in outputs {
        if let Output::PartOpened { lead_in, .. } = output {
            lead_ins.push(*lead_in);
        }
    }
    lead_ins
}

fn audio(outputs: &[Output]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for output in outputs {
        if let Output::Audio(frame) = output {
            frames.push(*frame);
        }
    }
    frames
}

const fn ms(ms: u64) -> Samples {
    Samples::from_ms(ms)
}
