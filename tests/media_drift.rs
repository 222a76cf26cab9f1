//! A sender whose clock is wrong by 100 ppm, through a network that loses 3 %, for an hour: the
//! call clock stays right within one packet, and no correction cuts or repeats speech. With
//! `--nocapture` the errors are printed.
#![expect(clippy::print_stdout, reason = "errors are printed for people")]

#[path = "support/network.rs"]
mod network;

use std::array;
use std::time::Duration;

use callscribe::media::receiver::Output;
use callscribe::media::{Frame, Law, g711};
use network::{Bench, Chance, Sender};

#[test]
fn fast_sender_is_followed() {
    Hour::run(-100, false).check();
}

#[test]
fn slow_sender_is_followed() {
    Hour::run(100, false).check();
}

#[test]
fn sender_that_suppresses_silence_is_followed() {
    Hour::run(-100, true).check();
    Hour::run(100, true).check();
}

/// What an hour showed. Speech is a beep of a second now and then over faint noise: its onset shows
/// the clock, its length whether anything was cut or repeated.
#[derive(Default)]
struct Hour {
    worst_error: u64,
    beeps: u64,
    damaged: u64,
}

impl Hour {
    fn check(&self) {
        let Self {
            worst_error,
            beeps,
            damaged,
        } = self;
        println!("worst error {worst_error} samples; of {beeps} beeps {damaged} damaged");
        assert!(*worst_error < 160);
        assert_eq!((*beeps, *damaged), (720, 0));
    }

    fn run(ppm: i64, suppression: bool) -> Self {
        let mut chance = Chance::new(42);
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let (quiet, loud) = (noise(60, &mut chance), noise(8_000, &mut chance));
        let mut hour = Self::default();
        let mut ear = Ear::default();
        for n in 0..180_000u64 {
            let is_beep = n % 250 < 50;
            if suppression && !is_beep {
                sender.pause(160);
                continue;
            }
            let variant =
                usize::from(chance.happens(500)) * 8 + usize::try_from(n % 8).unwrap_or(0);
            let packet = sender.audio(if is_beep {
                &loud[variant]
            } else {
                &quiet[variant]
            });
            // Around the edges of a beep nothing is lost, so that its length can be measured.
            let is_edge = matches!(n % 250, 247..|0| 47..=52);
            if !is_edge && chance.happens(30) {
                continue;
            }
            let sent = n.cast_signed() * 20_000 * (1_000_000 + ppm) / 1_000_000;
            let jitter = if n == 0 { 0 } else { chance.below(18_000) };
            let arrival = Duration::from_micros(sent.cast_unsigned() + jitter);
            bench.deliver(arrival, sender.source, &packet);
            ear.listen_to(&mut bench);
        }
        bench.end();
        ear.listen_to(&mut bench);
        for (onset, len) in ear.beeps {
            let nominal = (onset + 20_000) / 40_000 * 40_000;
            let truth = nominal.cast_signed() * (1_000_000 + ppm) / 1_000_000;
            hour.worst_error = hour.worst_error.max(truth.abs_diff(onset.cast_signed()));
            hour.beeps += 1;
            hour.damaged += u64::from(len != 8_000);
        }
        hour
    }
}

/// Finds the beeps: where each starts and how long it is.
#[derive(Default)]
struct Ear {
    beeps: Vec<(u64, u64)>,
}

impl Ear {
    fn listen_to(&mut self, bench: &mut Bench) {
        for output in bench.outputs.drain(..) {
            if let Output::Frame(frame) = output {
                self.listen(&frame);
            }
        }
    }

    fn listen(&mut self, frame: &Frame) {
        let bytes = frame.bytes();
        // A beep is longer than a frame, so one that is quiet at both ends is quiet.
        let is_loud = |code: &u8| g711::mean_magnitude(frame.law, &[*code]) >= 1_000;
        if !bytes.first().is_some_and(is_loud) && !bytes.last().is_some_and(is_loud) {
            return;
        }
        for (position, code) in (frame.start.0..).zip(bytes) {
            if !is_loud(code) {
                continue;
            }
            match self.beeps.last_mut() {
                Some((onset, len)) if position - *onset < 12_000 => *len = position - *onset + 1,
                _ => self.beeps.push((position, 1)),
            }
        }
    }
}

/// Noise of one loudness: 16 packets of it, to be sent in any order.
fn noise(level: i16, chance: &mut Chance) -> [[u8; 160]; 16] {
    let mut plus_and_minus = [0; 2];
    g711::encode(Law::Pcmu, &[level, -level], &mut plus_and_minus);
    array::from_fn(|_| array::from_fn(|_| plus_and_minus[usize::from(chance.happens(500))]))
}
