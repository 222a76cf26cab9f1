//! What is said on a telephone line becomes utterances, at any level and in noise; tones, noise and
//! clicks become none.

#[path = "support/virtual_calls.rs"]
mod virtual_calls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callscribe::call::conversation::CallSpec;
use callscribe::call::leg::LegSpec;
use callscribe::event::{EndReason, Metadata, Role, RoleSource};
use callscribe::media::receiver::ExpectedSource;
use callscribe::media::{FRAME_SAMPLES, Frame, Law, Samples, g711};
use callscribe::speech::Output;
use callscribe::speech::utterance::{Segmenter, Settings};
use callscribe::speech::voice::Kind;
use virtual_calls::{PACKET, Sender, VirtualCalls};

#[test]
fn every_turn_of_a_call_is_in_an_utterance_at_any_level_of_either_law() {
    for law in [Law::Pcmu, Law::Pcma] {
        for gain in [0.05, 0.5, 1.9] {
            for leg in ["call_agent.wav", "call_caller.wav"] {
                let audio = scaled(&recording(leg), gain);
                assert_turns_are_found(leg, &utterances(law, &audio), 1, &format!("{law} {gain}"));
            }
        }
    }
}

#[test]
fn every_turn_is_in_an_utterance_under_noise() {
    for leg in ["call_agent.wav", "call_caller.wav"] {
        let speech = recording(leg);
        let noise = noise(speech.len(), 0.01);
        let audio = mixed(&speech, &noise);
        assert_turns_are_found(leg, &utterances(Law::Pcma, &audio), 2, "noise");
    }
}

#[test]
fn the_two_voices_of_a_call_are_separate_utterances() {
    let found = utterances(Law::Pcmu, &recording("call_caller.wav"));
    assert_eq!(found.len(), turns("call_caller.wav").len());
}

#[test]
fn ring_back_busy_tone_and_keys_open_no_utterance() {
    let seconds = 20.0;
    for loudness in [0.02, 0.1, 0.4] {
        let ring_back = tone(
            seconds,
            |t| if t % 5.0 < 1.0 { sine(450.0, t) } else { 0.0 },
        );
        let busy = tone(
            seconds,
            |t| if t % 0.7 < 0.35 { sine(450.0, t) } else { 0.0 },
        );
        let keys = tone(seconds, |t| {
            let on = t % 0.5 < 0.15;
            if on {
                sine(770.0, t) + sine(1_336.0, t)
            } else {
                0.0
            }
        });
        for (name, sound) in [("ring-back", ring_back), ("busy", busy), ("keys", keys)] {
            let found = utterances(Law::Pcmu, &scaled(&sound, loudness));
            assert_eq!(found, [], "{name} at {loudness}");
        }
    }
}

#[test]
fn each_word_said_alone_is_an_utterance_with_its_onset() {
    let words = turns("words.wav");
    for law in [Law::Pcmu, Law::Pcma] {
        for (gain, hiss) in [(0.1, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 0.001)] {
            let speech = scaled(&recording("words.wav"), gain);
            let audio = mixed(&speech, &noise(speech.len(), hiss));
            let found = utterances(law, &audio);
            let what = format!("{law}, gain {gain}, noise {hiss}: {found:?}");
            assert_eq!(found.len(), words.len(), "{what}");
            for ((start, end), (from, to)) in words.iter().zip(&found) {
                assert!(from <= start, "onset at {} ms, {what}", start.as_ms());
                assert!(to >= end, "end at {} ms, {what}", end.as_ms());
            }
        }
    }
}

#[test]
fn digits_read_out_one_by_one_are_one_utterance_while_their_pauses_are_shorter_than_the_hangover() {
    let words = recording("words.wav");
    let digits: Vec<_> = turns("words.wav")[5..10]
        .iter()
        .map(|(start, end)| &words[index(*start)..index(*end)])
        .collect();
    for (pause_ms, expected) in [(300, 1), (500, 1), (900, 5)] {
        let silence = vec![0.0; pause_ms * 8];
        let mut audio = vec![0.0; 8_000];
        for digit in &digits {
            audio.extend_from_slice(digit);
            audio.extend_from_slice(&silence);
        }
        audio.resize(audio.len() + 8_000, 0.0);
        let found = utterances(Law::Pcma, &audio);
        assert_eq!(found.len(), expected, "pauses of {pause_ms} ms: {found:?}");
    }
}

#[test]
fn ring_back_keys_and_clicks_between_the_words_change_no_utterance() {
    let leg = "call_caller.wav";
    let speech = recording(leg);
    let plain = utterances(Law::Pcmu, &speech);
    let silent_ms = [500..4_500, 10_500..13_000, 26_000..30_000];
    let mut ring_back = |t: f32| 0.2 * sine(450.0, t);
    let mut keys = |t: f32| {
        let on = t % 0.5 < 0.15;
        f32::from(u8::from(on)) * 0.2 * (sine(852.0, t) + sine(1_209.0, t))
    };
    let mut clicks = |t: f32| f32::from(u8::from(t % 0.4 < 0.008)) * 0.6;
    let sounds: [(&str, &mut dyn FnMut(f32) -> f32); 3] = [
        ("ring-back", &mut ring_back),
        ("keys", &mut keys),
        ("clicks", &mut clicks),
    ];
    for (name, sound) in sounds {
        let mut audio = speech.clone();
        for span in &silent_ms {
            let span = span.start * 8..span.end * 8;
            let sound = tone(4.0, &mut *sound);
            for (sample, sound) in audio[span].iter_mut().zip(sound) {
                *sample += sound;
            }
        }
        let found = utterances(Law::Pcmu, &audio);
        assert_eq!(found.len(), plain.len(), "{name}: {found:?}");
        assert_turns_are_found(leg, &found, 1, name);
    }
}

#[test]
fn two_people_who_talk_over_each_other_are_each_heard_whole_on_their_own_leg() {
    let sentences = |names: &[&str]| {
        let mut leg = vec![0.0; 8_000];
        for name in names {
            leg.extend(trimmed(&recording(name)));
            leg.resize(leg.len() + 8_000, 0.0);
        }
        leg
    };
    // The second begins while the first speaks, and so on to the end.
    let customer = sentences(&["s02.wav", "s04.wav", "s05.wav"]);
    let agent = sentences(&["s01.wav", "s03.wav", "s12.wav"]);
    let heard = heard_in_a_call(&[&customer, &agent]);
    for (channel, audio) in [customer, agent].iter().enumerate() {
        let alone = utterances(Law::Pcmu, audio);
        assert_eq!(alone.len(), 3, "leg {channel}: {alone:?}");
        let sent = encoded(audio);
        let expected: Vec<_> = alone
            .iter()
            .map(|(start, end)| sent[index(*start)..index(*end).min(sent.len())].to_vec())
            .collect();
        assert!(
            heard[channel] == expected,
            "leg {channel} was heard otherwise"
        );
    }
}

#[test]
fn noise_alone_opens_no_utterance() {
    for loudness in [0.001, 0.01, 0.1] {
        let found = utterances(Law::Pcma, &noise(15 * 8_000, loudness));
        assert_eq!(found, [], "at {loudness}");
    }
}

#[test]
fn silence_and_clicks_open_no_utterance() {
    let mut audio = vec![0.0; 15 * 8_000];
    for at in (8_000..audio.len() - 200).step_by(11_000) {
        audio[at..at + 40].fill(0.7);
        audio[at + 40..at + 80].fill(-0.7);
    }
    assert_eq!(utterances(Law::Pcma, &audio), []);
}

#[test]
fn speech_after_minutes_of_noise_is_found_like_the_first() {
    let mut audio = noise(4 * 60 * 8_000, 0.003);
    let start = audio.len() as u64;
    audio.extend(recording("call_agent.wav"));
    let found = utterances(Law::Pcmu, &audio);
    let found: Vec<_> = found
        .iter()
        .filter(|(_, end)| end.0 > start)
        .map(|(from, to)| (Samples(from.0.saturating_sub(start)), Samples(to.0 - start)))
        .collect();
    assert_turns_are_found("call_agent.wav", &found, 1, "after noise");
}

#[test]
fn speech_without_a_pause_is_one_utterance_cut_where_it_is_quiet() {
    let sentences = (1..=12).map(|n| trimmed(&recording(&format!("s{n:02}.wav"))));
    let once: Vec<f32> = sentences.flatten().collect();
    let audio = once.repeat(4);
    let outputs = segmented(Law::Pcmu, &audio);
    let ended = outputs
        .iter()
        .filter(|output| matches!(output, Output::Ended { .. }));
    assert_eq!(ended.count(), 1);
    let mut start = Samples::ZERO;
    for output in &outputs {
        if let Output::PartClosed { end, last, .. } = output {
            assert!(*end - start <= Samples::from_ms(58_000));
            start = *end;
            let at = usize::try_from(end.0).expect("some minutes");
            let around = &audio[at - 240..(at + 240).min(audio.len())];
            assert!(
                *last || rms(around) < 0.2 * rms(&audio),
                "a cut at {} ms",
                end.as_ms()
            );
        }
    }
}

/// What a recogniser gets of each leg of a call on which all legs are sent at once, per utterance.
fn heard_in_a_call(legs: &[&[f32]]) -> Vec<Vec<Vec<u8>>> {
    let mut calls = VirtualCalls::new(VirtualCalls::settings());
    let roles = [Role::Customer, Role::Agent];
    let ports: Vec<_> = (0..legs.len())
        .map(|leg| {
            calls
                .switchboard
                .add_port(20_000 + 2 * u16::try_from(leg).expect("a few legs"))
        })
        .collect();
    let leg = |(&port, role)| LegSpec {
        port,
        role: Some(role),
        role_source: RoleSource::Registered,
        law: None,
        expected_source: ExpectedSource::Any,
    };
    let spec = CallSpec {
        id: "a".into(),
        legs: ports.iter().zip(roles).map(leg).collect(),
        from: None,
        to: None,
        direction: None,
        metadata: Metadata::new(),
        idle_timeout: Duration::from_secs(3_600),
        is_registered: true,
    };
    let key = calls
        .switchboard
        .register(spec, calls.now)
        .expect("free ports");
    let mut senders = [
        Sender::new("10.0.0.1:4000", 7),
        Sender::new("10.0.0.2:4000", 8),
    ];
    let longest = legs.iter().map(|leg| leg.len()).max().unwrap_or_default();
    for at in (0..longest).step_by(FRAME_SAMPLES) {
        for ((leg, sender), &port) in legs.iter().zip(&mut senders).zip(&ports) {
            if let Some(audio) = leg.get(at..at + FRAME_SAMPLES) {
                let packet = sender.packet(&linear(audio));
                calls.send(port, sender.address, &packet);
            }
        }
        calls.pass(PACKET);
    }
    calls.pass(Duration::from_secs(2));
    calls
        .switchboard
        .handle_end(key, EndReason::Hangup, calls.now);
    calls.perform();
    let mut heard = vec![Vec::new(); legs.len()];
    for ((channel, _, _), audio) in calls.audio() {
        heard[usize::from(channel)].push(audio);
    }
    heard
}

/// Every sentence of the leg lies inside an utterance but for its fading ends, and what is sent is
/// not much longer.
fn assert_turns_are_found(leg: &str, found: &[(Samples, Samples)], slack: u64, what: &str) {
    let turns = turns(leg);
    let fade = Samples::from_ms(150);
    for (start, end) in &turns {
        let inside = found
            .iter()
            .any(|(from, to)| *from <= *start + fade && *to + fade >= *end);
        assert!(
            inside,
            "{leg}, {what}: turn at {} ms in {found:?}",
            start.as_ms()
        );
    }
    let length = |spans: &[(Samples, Samples)]| -> u64 {
        spans
            .iter()
            .map(|(start, end)| (*end - *start).as_ms())
            .sum()
    };
    let allowed = length(&turns) + slack * 700 * turns.len() as u64;
    assert!(length(found) <= allowed, "{leg}, {what}: {found:?}");
}

fn utterances(law: Law, audio: &[f32]) -> Vec<(Samples, Samples)> {
    let mut found = Vec::new();
    for output in segmented(law, audio) {
        if let Output::Ended { start, end, .. } = output {
            found.push((start, end));
        }
    }
    found
}

fn segmented(law: Law, audio: &[f32]) -> Vec<Output> {
    let settings = Arc::new(Settings::default());
    let mut segmenter = Segmenter::new(settings, Kind::default().detector());
    let mut outputs = Vec::new();
    for (index, audio) in audio.chunks_exact(FRAME_SAMPLES).enumerate() {
        segmenter.handle_frame(&frame(law, index, audio));
        outputs.extend(std::iter::from_fn(|| segmenter.poll_output()));
    }
    segmenter.handle_end();
    outputs.extend(std::iter::from_fn(|| segmenter.poll_output()));
    outputs
}

/// Without the quiet at both ends.
fn trimmed(audio: &[f32]) -> Vec<f32> {
    let loud = |sample: &f32| sample.abs() > 0.02;
    let first = audio.iter().position(loud).unwrap_or(0);
    let last = audio.iter().rposition(loud).unwrap_or(0);
    audio[first..last].to_vec()
}

fn rms(audio: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "some minutes")]
    let count = audio.len() as f32;
    (audio.iter().map(|sample| sample * sample).sum::<f32>() / count).sqrt()
}

fn frame(law: Law, index: usize, audio: &[f32]) -> Frame {
    let mut frame = Frame {
        start: Samples((index * FRAME_SAMPLES) as u64),
        law,
        g711: [0; FRAME_SAMPLES],
        len: 160,
        lost: 0,
        telephone_event: false,
    };
    g711::encode(law, &linear(audio), &mut frame.g711);
    frame
}

fn encoded(audio: &[f32]) -> Vec<u8> {
    let mut g711 = vec![0; audio.len()];
    g711::encode(Law::Pcmu, &linear(audio), &mut g711);
    g711
}

fn linear(audio: &[f32]) -> Vec<i16> {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let linear = |sample: &f32| (sample * 32_768.0) as i16;
    audio.iter().map(linear).collect()
}

fn index(at: Samples) -> usize {
    usize::try_from(at.0).expect("some seconds")
}

fn recording(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    let reader = hound::WavReader::open(path).expect("a fixture");
    let samples = reader.into_samples::<i16>();
    samples
        .map(|sample| f32::from(sample.expect("16-bit samples")) / 32_768.0)
        .collect()
}

/// Start and end of each sentence of a leg, or of each word.
fn turns(leg: &str) -> Vec<(Samples, Samples)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let [turns, words] = ["turns.tsv", "words.tsv"]
        .map(|table| std::fs::read_to_string(fixtures.join(table)).expect("a fixture"));
    let text = turns + &words;
    let at = |seconds: &str| {
        let seconds: f64 = seconds.parse().expect("seconds");
        Samples::from_duration(std::time::Duration::from_secs_f64(seconds))
    };
    let rows = text
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0] == leg)
        .map(|row| (at(row[1]), at(row[2])))
        .collect()
}

fn mixed(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn scaled(audio: &[f32], gain: f32) -> Vec<f32> {
    audio.iter().map(|sample| sample * gain).collect()
}

/// White noise of this RMS, the same each time (xorshift).
fn noise(len: usize, rms: f32) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let unit = (state >> 40) as f32 / 16_777_216.0;
        unit - 0.5
    };
    (0..len)
        .map(|_| (0..12).map(|_| uniform()).sum::<f32>() * rms)
        .collect()
}

fn tone(seconds: f32, at: impl FnMut(f32) -> f32) -> Vec<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some seconds"
    )]
    let len = (seconds * 8_000.0) as usize;
    #[expect(clippy::cast_precision_loss, reason = "some seconds of samples")]
    let time = |index: usize| index as f32 / 8_000.0;
    (0..len).map(time).map(at).collect()
}

fn sine(hz: f32, t: f32) -> f32 {
    (std::f32::consts::TAU * hz * t).sin()
}
