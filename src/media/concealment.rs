//! Packet loss concealment: a hole is filled from the sound on both sides of it.
//!
//! The past is continued by repeating its last pitch periods and fading them out over 60 ms, as ITU-T G.711
//! Appendix I does. There is no playout to keep up with here, so what follows the hole is always at hand: it is
//! continued backward in the same way, and the two are cross-faded. Received samples are never altered.

use std::array;

/// Samples on either side of a hole that are looked at: 48.75 ms (G.711 Appendix I §I.2.2).
pub(crate) const MAX_CONTEXT: usize = 390;

/// Longest hole that is filled in one piece: both sides have faded out in the middle of it.
pub(crate) const MAX_HOLE: usize = 2 * FADED;

/// Fills a hole of up to [`MAX_HOLE`] samples between `past` and `future`, which may be short or empty.
pub(crate) fn conceal(past: &[i16], future: &[i16], hole: &mut [i16]) {
    let len = hole.len();
    let mut forward = [0; MAX_HOLE];
    let mut backward = [0; MAX_HOLE];
    let mut mirrored: [i16; MAX_CONTEXT] = [0; MAX_CONTEXT];
    let ahead = &future[..future.len().min(MAX_CONTEXT)];
    for (to, from) in mirrored.iter_mut().zip(ahead.iter().rev()) {
        *to = *from;
    }
    let has_forward = extrapolate(past, &mut forward[..len]);
    let has_backward = extrapolate(&mirrored[..ahead.len()], &mut backward[..len]);
    for (n, sample) in hole.iter_mut().enumerate() {
        let (before, behind) = (forward[n], backward[len - 1 - n]);
        *sample = match (has_forward, has_backward) {
            (true, true) => mix(before, behind, n, len),
            (_, false) => before,
            (false, true) => behind,
        };
    }
}

/// Continues a sound beyond its end, fading out; false if there is too little of it.
fn extrapolate(sound: &[i16], out: &mut [i16]) -> bool {
    let Some(pitch) = pitch_period(sound) else {
        return false;
    };
    // Longer holes repeat more periods, so that the repetition is not heard as a tone (Appendix I §I.2.5).
    let wanted = 1 + out.len().saturating_sub(1) / TEN_MS;
    let periods = wanted.min(3).min((sound.len() - pitch / 4) / pitch).max(1);
    let len = pitch * periods;
    let overlap = (pitch / 4).min(sound.len() - len);
    let start = sound.len() - len;
    let template: [i16; 3 * MAX_PITCH] = array::from_fn(|n| {
        let Some(&sample) = sound.get(start + n) else {
            return 0;
        };
        // The end of the template leads into its start.
        match (n + overlap).checked_sub(len) {
            Some(into) => mix(sample, sound[start + n - len], into, overlap),
            None => sample,
        }
    });
    let step = i32::from(sound[sound.len() - 1]) - i32::from(sound[start.saturating_sub(1)]);
    for (n, sample) in out.iter_mut().enumerate() {
        let repeated = i32::from(template[n % len]);
        // The step from the last true sample to the first repeated one is spread over the overlap.
        let spread = step * to_i32(overlap.saturating_sub(n)) / to_i32(overlap.max(1));
        *sample = saturate((repeated + spread) * gain(n) / UNITY);
    }
    true
}

/// The period in samples by which the end of the sound resembles itself most; `None` if it is too short to tell.
fn pitch_period(sound: &[i16]) -> Option<usize> {
    let window = sound.len().checked_sub(MAX_PITCH)?.min(CORRELATED);
    if window < MIN_PITCH {
        return None;
    }
    let end = &sound[sound.len() - window..];
    let likeness = |lag: usize| {
        let lagged = &sound[sound.len() - window - lag..sound.len() - lag];
        let correlation = dot(end, lagged);
        let energy = dot(lagged, lagged).max(1);
        correlation.max(0) as f64 / (energy as f64).sqrt()
    };
    (MIN_PITCH..=MAX_PITCH).max_by(|&a, &b| likeness(a).total_cmp(&likeness(b)))
}

fn dot(a: &[i16], b: &[i16]) -> i64 {
    let products = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b));
    products.map(i64::from).sum()
}

/// From `from` at step 0 to `to` at step `len`.
fn mix(from: i16, to: i16, step: usize, len: usize) -> i16 {
    let (step, len) = (to_i32(step) * 2 + 1, to_i32(len) * 2);
    saturate((i32::from(from) * (len - step) + i32::from(to) * step) / len.max(1))
}

/// Full for 10 ms, then a fifth less every 10 ms (Appendix I §I.2.7).
fn gain(n: usize) -> i32 {
    let faded = to_i32(n.saturating_sub(TEN_MS).min(FADED - TEN_MS));
    UNITY - faded * UNITY / to_i32(FADED - TEN_MS)
}

fn saturate(sample: i32) -> i16 {
    i16::try_from(sample).unwrap_or(if sample < 0 { i16::MIN } else { i16::MAX })
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Shortest pitch period: 5 ms, 200 Hz (Appendix I §I.2.3).
const MIN_PITCH: usize = 40;

/// Longest pitch period: 15 ms, 66 Hz.
const MAX_PITCH: usize = 120;

/// Samples compared to find the pitch: 20 ms.
const CORRELATED: usize = 160;

const TEN_MS: usize = 80;

/// After 60 ms of repetition there is silence.
const FADED: usize = 480;

const UNITY: i32 = 1 << 10;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn tone_goes_on_through_a_lost_packet() {
        let tone = tone(MAX_CONTEXT + 160 + 160);
        let (past, rest) = tone.split_at(MAX_CONTEXT);
        let (truth, future) = rest.split_at(160);
        let mut hole = [0; 160];
        conceal(past, future, &mut hole);
        let error: i64 = hole.iter().zip(truth).map(|(&a, &b)| square(a, b)).sum();
        assert!(
            error * 20 < dot(truth, truth),
            "{error} of {}",
            dot(truth, truth)
        );
    }

    #[test]
    fn seams_are_no_louder_than_the_tone() {
        let tone = tone(MAX_CONTEXT + 240 + 160);
        let mut hole = [0; 240];
        conceal(&tone[..MAX_CONTEXT], &tone[MAX_CONTEXT + 240..], &mut hole);
        let seam = i32::from(hole[0]) - i32::from(tone[MAX_CONTEXT - 1]);
        assert!(seam.abs() < 4_000, "{seam}");
    }

    #[test]
    fn middle_of_a_long_hole_is_silent() {
        let tone = tone(MAX_CONTEXT);
        let mut hole = [0; MAX_HOLE];
        conceal(&tone, &tone, &mut hole);
        assert!(
            hole[FADED - 20..FADED + 20]
                .iter()
                .all(|sample| sample.abs() < 700)
        );
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        let mut hole = [1; 80];
        conceal(&[], &[9; 100], &mut hole);
        assert_eq!(hole, [0; 80]);
    }

    #[test]
    fn loudest_square_wave_does_not_overflow() {
        let square: Vec<i16> = (0..MAX_CONTEXT)
            .map(|n| if n / 30 % 2 == 0 { i16::MIN } else { i16::MAX })
            .collect();
        for len in [1, 80, 160, 333, MAX_HOLE] {
            conceal(&square, &square, &mut vec![0; len]);
        }
    }

    fn tone(len: usize) -> Vec<i16> {
        let sample = |n: usize| (TAU * 125.0 * n as f64 / 8_000.0).sin() * 8_000.0;
        #[expect(clippy::cast_possible_truncation, reason = "8,000 fits")]
        (0..len).map(|n| sample(n) as i16).collect()
    }

    fn square(a: i16, b: i16) -> i64 {
        (i64::from(a) - i64::from(b)).pow(2)
    }
}
