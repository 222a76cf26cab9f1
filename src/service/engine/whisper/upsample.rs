//! From 8 kHz to the 16 kHz that Whisper hears.

use std::f32::consts::PI;

/// Doubles the sample rate: each sample stands, and between two of them a windowed sinc over 64
/// neighbours speaks.
pub(super) fn double_rate(samples: &[f32]) -> Vec<f32> {
    let taps = taps();
    let mut doubled = Vec::with_capacity(samples.len() * 2);
    for (n, &sample) in samples.iter().enumerate() {
        doubled.push(sample);
        doubled.push(between(samples, n, &taps));
    }
    doubled
}

/// The value half-way between samples `n` and `n + 1`.
fn between(samples: &[f32], n: usize, taps: &[f32; SIDE]) -> f32 {
    let at = |index: Option<usize>| {
        index
            .and_then(|index| samples.get(index))
            .copied()
            .unwrap_or(0.0)
    };
    taps.iter()
        .enumerate()
        .map(|(k, tap)| tap * (at(n.checked_sub(k)) + at(Some(n + 1 + k))))
        .sum()
}

/// One side of the sinc at half-way points, under a Blackman window, scaled to unity gain at zero
/// frequency.
fn taps() -> [f32; SIDE] {
    let mut taps = [0.0; SIDE];
    for (k, tap) in taps.iter_mut().enumerate() {
        let x = k as f32 + 0.5;
        let place = x / SIDE as f32;
        let window = 0.42 + 0.5 * (PI * place).cos() + 0.08 * (2.0 * PI * place).cos();
        *tap = (PI * x).sin() / (PI * x) * window;
    }
    let gain = 2.0 * taps.iter().sum::<f32>();
    taps.map(|tap| tap / gain)
}

/// Neighbours on either side.
const SIDE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_of_the_telephone_band_keep_their_shape() {
        for hertz in [100.0, 1000.0, 3400.0] {
            let tone = |n: usize, rate: f32| (2.0 * PI * hertz * n as f32 / rate).sin();
            let samples: Vec<f32> = (0..400).map(|n| tone(n, 8_000.0)).collect();
            let doubled = double_rate(&samples);
            assert_eq!(doubled.len(), 800);
            for (n, &value) in doubled.iter().enumerate().skip(100).take(600) {
                let error = (value - tone(n, 16_000.0)).abs();
                assert!(error < 0.01, "{hertz} Hz at {n}: off by {error}");
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(double_rate(&[]).is_empty());
    }
}
