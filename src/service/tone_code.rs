//! Audio that says which stream it belongs to and which second of it this is.
//!
//! A test sender speaks it, the scripted engine writes down what arrived: a lost, doubled or
//! strayed second is then visible in the transcript. Three tones sound at any moment. The lower two
//! name one of 4,096 streams, the highest the second, modulo 64. Tones lie on a grid of 15.625 Hz,
//! so that any 64 ms tell them apart, wherever the audio was cut and whatever law it was companded
//! with. The level dips four times a second, as syllables do, so that voice activity detection
//! takes it for speech.

use std::f64::consts::TAU;
use std::fmt;

use crate::media::SAMPLE_RATE;

/// Streams that can be told apart.
pub const STREAMS: u16 = 4_096;

/// Seconds that can be told apart; one session holds fewer.
pub const SECONDS: u8 = 64;

/// Speaks for `milliseconds`, beginning at the start of second `first_second` of stream `stream`.
pub fn encode(stream: u16, first_second: u64, milliseconds: u64) -> Vec<i16> {
    let samples = milliseconds * u64::from(SAMPLE_RATE) / 1000;
    (0..samples)
        .map(|n| sample(stream % STREAMS, first_second, n))
        .collect()
}

/// A stretch of audio that names one second of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The stream, 0 to 4,095.
    pub stream: u16,
    /// The second, modulo 64.
    pub second: u8,
    /// Where it begins in the audio, to 20 ms.
    pub start_ms: u64,
    /// How much of the second was heard, to 20 ms.
    pub length_ms: u64,
}

/// `STREAM.SECOND:MILLISECONDS`
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.stream, self.second, self.length_ms)
    }
}

/// Writes down what 8 kHz audio names, in order; silence and other sounds name nothing.
pub fn decode(samples: &[i16]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (n, hop) in samples.chunks(HOP).enumerate() {
        let Some((stream, second)) = name(window(samples, n * HOP), hop) else {
            continue;
        };
        let start_ms = n as u64 * HOP_MS;
        let length_ms = hop.len() as u64 * 1000 / u64::from(SAMPLE_RATE);
        match runs.last_mut() {
            Some(run) if run.is_before(stream, second, start_ms) => run.length_ms += length_ms,
            _ => runs.push(Run {
                stream,
                second,
                start_ms,
                length_ms,
            }),
        }
    }
    without_blips(runs)
}

impl Run {
    fn is_before(&self, stream: u16, second: u8, start_ms: u64) -> bool {
        (self.stream, self.second) == (stream, second) && self.end_ms() == start_ms
    }

    const fn end_ms(&self) -> u64 {
        self.start_ms + self.length_ms
    }
}

/// Where tones change, a hop may hear both sides and name neither: it is counted to the side
/// before.
fn without_blips(runs: Vec<Run>) -> Vec<Run> {
    let mut kept: Vec<Run> = Vec::new();
    for run in runs {
        match kept.last_mut() {
            Some(last) if last.end_ms() == run.start_ms && run.length_ms <= HOP_MS => {
                last.length_ms += run.length_ms;
            }
            Some(last) if last.is_before(run.stream, run.second, run.start_ms) => {
                last.length_ms += run.length_ms;
            }
            _ => kept.push(run),
        }
    }
    kept
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "three tones of 5000 fit 16 bits"
)]
fn sample(stream: u16, first_second: u64, n: u64) -> i16 {
    let rate = u64::from(SAMPLE_RATE);
    let second = (first_second + n / rate) % u64::from(SECONDS);
    let (low, middle) = (u64::from(stream) / GROUP, u64::from(stream) % GROUP);
    // The phase modulo one turn, so that an hour into the call it is as exact as at its start.
    let tone = |bin: u64| ((bin * n % WINDOW as u64) as f64 / WINDOW as f64 * TAU).sin();
    let tones = tone(bin(0, low)) + tone(bin(1, middle)) + tone(bin(2, second));
    let is_dip = (rate / 10..rate * 3 / 20).contains(&(n % (rate / 4)));
    (tones * if is_dip { DIP_LEVEL } else { LEVEL }) as i16
}

/// The samples around a hop from which it is named; zero outside the audio.
fn window(samples: &[i16], hop_start: usize) -> [f64; WINDOW] {
    let before = (WINDOW - HOP) / 2;
    let mut window = [0.0; WINDOW];
    for (n, value) in window.iter_mut().enumerate() {
        let sample = (hop_start + n)
            .checked_sub(before)
            .and_then(|at| samples.get(at));
        *value = sample.map_or(0.0, |&sample| f64::from(sample));
    }
    window
}

/// The stream and second of a hop, if it sounds and three tones make up most of its surroundings.
fn name(window: [f64; WINDOW], hop: &[i16]) -> Option<(u16, u8)> {
    let energy: f64 = window.iter().map(|value| value * value).sum();
    let in_hop: f64 = hop.iter().map(|&value| f64::from(value).powi(2)).sum();
    let is_silent = in_hop / hop.len() as f64 <= (energy / WINDOW as f64 * 0.02).max(100.0);
    if is_silent {
        return None;
    }
    let powers = power_spectrum(window);
    let (low, low_power) = strongest(&powers, 0);
    let (middle, middle_power) = strongest(&powers, 1);
    let (second, second_power) = strongest(&powers, 2);
    // By Parseval's theorem a lone sine of the window's energy has a power of energy * WINDOW / 2
    // in its bin. A window half on either side of a change keeps a quarter of that share; noise
    // spreads over all bins and stays below 0.1.
    let share = (low_power + middle_power + second_power) / (energy * WINDOW as f64 / 2.0);
    let is_balanced =
        low_power.min(middle_power).min(second_power) * 20.0 > low_power.max(middle_power);
    (share > 0.2 && is_balanced).then(|| {
        let stream = low * GROUP + middle;
        (
            u16::try_from(stream).unwrap_or(u16::MAX),
            u8::try_from(second).unwrap_or(u8::MAX),
        )
    })
}

/// Where a value of a group sounds. Neighbouring values lie far apart, so that a change is sharp.
const fn bin(group: u64, value: u64) -> u64 {
    LOWEST_BIN + group * GROUP + value * 27 % GROUP
}

/// The value of a group that sounds strongest, and its power.
fn strongest(powers: &[f64], group: u64) -> (u64, f64) {
    (0..GROUP)
        .filter_map(|value| {
            let power = powers.get(usize::try_from(bin(group, value)).ok()?)?;
            Some((value, *power))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 0.0))
}

/// Power by frequency in steps of 15.625 Hz: a radix-2 fast Fourier transform.
fn power_spectrum(window: [f64; WINDOW]) -> Vec<f64> {
    let bits = WINDOW.trailing_zeros();
    let mut values: Vec<(f64, f64)> = (0..WINDOW)
        .map(|n| (window[n.reverse_bits() >> (usize::BITS - bits)], 0.0))
        .collect();
    let mut half = 1;
    while half < WINDOW {
        for k in 0..half {
            let (sin, cos) = (-TAU * k as f64 / (2 * half) as f64).sin_cos();
            for at in (k..WINDOW).step_by(2 * half) {
                let ((a_re, a_im), (b_re, b_im)) = (values[at], values[at + half]);
                let turned = (b_re * cos - b_im * sin, b_re * sin + b_im * cos);
                values[at] = (a_re + turned.0, a_im + turned.1);
                values[at + half] = (a_re - turned.0, a_im - turned.1);
            }
        }
        half *= 2;
    }
    values
        .into_iter()
        .map(|(re, im)| re * re + im * im)
        .collect()
}

/// Samples of a window: 64 ms, the period of the tones' grid.
const WINDOW: usize = 512;
/// Samples between two names: 20 ms, a packet.
const HOP: usize = 160;
const HOP_MS: u64 = 20;
/// Tones of a group.
const GROUP: u64 = 64;
/// 312.5 Hz, the lowest tone of the lowest group; the highest of the highest lies at 3297 Hz.
const LOWEST_BIN: u64 = 20;
/// Amplitude of a tone.
const LEVEL: f64 = 5_000.0;
/// Amplitude in the dip between two syllables.
const DIP_LEVEL: f64 = 1_250.0;

#[cfg(test)]
mod tests {
    use super::*;
    use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

    fn text(samples: &[i16]) -> String {
        decode(samples)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn close(runs: &[Run], expected: &[(u16, u8, u64)]) {
        assert_eq!(runs.len(), expected.len(), "{runs:?}");
        for (run, &(stream, second, length_ms)) in runs.iter().zip(expected) {
            assert_eq!((run.stream, run.second), (stream, second), "{runs:?}");
            assert!(run.length_ms.abs_diff(length_ms) <= 20, "{runs:?}");
        }
    }

    #[test]
    fn each_second_is_written_once_and_whole() {
        assert_eq!(text(&encode(7, 3, 3000)), "7.3:1000 7.4:1000 7.5:1000");
    }

    #[test]
    fn every_stream_and_second_is_told_apart() {
        for n in 0..STREAMS {
            let (stream, second) = (n, n % 64);
            let samples = encode(stream, second.into(), 100);
            assert_eq!(text(&samples), format!("{stream}.{second}:100"));
        }
    }

    #[test]
    fn both_laws_leave_it_readable() {
        let samples = encode(4095, 62, 2000);
        let ulaw: Vec<i16> = samples
            .iter()
            .map(|&s| decode_ulaw(encode_ulaw(s)))
            .collect();
        let alaw: Vec<i16> = samples
            .iter()
            .map(|&s| decode_alaw(encode_alaw(s)))
            .collect();
        assert_eq!(text(&ulaw), "4095.62:1000 4095.63:1000");
        assert_eq!(text(&alaw), "4095.62:1000 4095.63:1000");
    }

    #[test]
    fn a_cut_anywhere_leaves_both_sides_their_share() {
        let samples = encode(100, 0, 2000);
        for cut in [1_000, 3_333, 7_990, 8_010, 12_345] {
            let (before, after) = samples.split_at(cut);
            let sum: u64 = [decode(before), decode(after)]
                .concat()
                .iter()
                .map(|run| run.length_ms)
                .sum();
            assert!(
                sum.abs_diff(2000) <= 40,
                "{cut}: {} | {}",
                text(before),
                text(after)
            );
        }
    }

    #[test]
    fn a_lost_and_a_doubled_second_show() {
        let samples = encode(5, 0, 4000);
        let lost = [&samples[..8_000], &samples[16_000..]].concat();
        close(&decode(&lost), &[(5, 0, 1000), (5, 2, 1000), (5, 3, 1000)]);
        let doubled = [&samples[..16_000], &samples[8_000..]].concat();
        close(
            &decode(&doubled),
            &[(5, 0, 1000), (5, 1, 2000), (5, 2, 1000), (5, 3, 1000)],
        );
    }

    #[test]
    fn a_stretch_of_another_stream_shows() {
        let mixed = [encode(5, 0, 1000), encode(6, 1, 200), encode(5, 1, 800)].concat();
        close(&decode(&mixed), &[(5, 0, 1000), (6, 1, 200), (5, 1, 800)]);
    }

    #[test]
    fn silence_around_it_is_not_counted() {
        let padded = [vec![0; 4_000], encode(9, 1, 1000), vec![0; 4_000]].concat();
        close(&decode(&padded), &[(9, 1, 1000)]);
        assert_eq!(decode(&padded)[0].start_ms, 500);
    }

    #[test]
    fn silence_and_noise_name_nothing() {
        let mut state = 1_u32;
        let noise: Vec<i16> = (0..16_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                i16::try_from(state >> 18).unwrap() - 8_192
            })
            .collect();
        assert_eq!(text(&noise), "");
        assert_eq!(text(&[0; 16_000]), "");
    }
}
