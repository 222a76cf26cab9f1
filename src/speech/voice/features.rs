//! What the network hears of a frame: levels in bands, the loud and the quiet of the last seconds,
//! and how periodic the sound is. `training/voice/features.py` computes the same.

use std::sync::LazyLock;

use crate::media::{FRAME_SAMPLES, SAMPLE_RATE};
use crate::speech::voice::mean_power;
use crate::speech::voice::spectrum::{BINS, LEN, Spectrum};

/// Numbers that describe a frame.
pub(super) const FEATURES: usize = BANDS + 4;

/// The memory from frame to frame of one leg.
#[derive(Clone, Debug)]
pub(super) struct Features {
    /// The end of the frame before.
    overlap: [f32; OVERLAP],
    /// Level of the loud, in nepers of power: rises at once, falls slowly.
    peak: f32,
    /// Level of the background: falls at once, rises slowly.
    floor: f32,
}

impl Features {
    /// Describes the next frame.
    pub(super) fn describe(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> [f32; FEATURES] {
        let spectrum = power_spectrum(&self.window(pcm));
        let level = (spectrum.iter().sum::<f32>() + 10.0 * EPSILON).ln();
        self.follow(level);
        let mut features = [0.0; FEATURES];
        for (feature, band) in features.iter_mut().zip(&TABLES.bands) {
            *feature = scaled((band.power(&spectrum) + EPSILON).ln());
        }
        features[BANDS] = scaled(level);
        features[BANDS + 1] = scaled(self.peak);
        features[BANDS + 2] = scaled(self.floor);
        features[BANDS + 3] = periodicity(&spectrum) * 2.0 - 1.0;
        features
    }

    /// Takes a frame that nobody asks about.
    pub(super) fn pass(&mut self, pcm: &[i16; FRAME_SAMPLES]) {
        self.follow((mean_power(pcm) * WINDOW_POWER + 10.0 * EPSILON).ln());
        for (sample, &pcm) in self.overlap.iter_mut().zip(&pcm[FRAME_SAMPLES - OVERLAP..]) {
            *sample = full_scale(pcm);
        }
    }

    fn follow(&mut self, level: f32) {
        self.peak = level.max(self.peak - PEAK_FALL);
        self.floor = level.min(self.floor + FLOOR_RISE);
    }

    /// Everything, in numbers.
    pub(super) fn memory(&self) -> Vec<f32> {
        let levels = [self.peak, self.floor];
        self.overlap.iter().copied().chain(levels).collect()
    }

    /// The reverse of [`Self::memory`]; as many numbers as that gives.
    pub(super) fn recall(&mut self, memory: &[f32]) {
        if let [overlap @ .., peak, floor] = memory {
            self.overlap.copy_from_slice(overlap);
            (self.peak, self.floor) = (*peak, *floor);
        }
    }

    /// The frame and the end of the one before under a Hann window.
    fn window(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> [f32; LEN] {
        let mut window = [0.0; LEN];
        let (before, now) = window.split_at_mut(OVERLAP);
        before.copy_from_slice(&self.overlap);
        for (sample, &pcm) in now.iter_mut().zip(pcm) {
            *sample = full_scale(pcm);
        }
        self.overlap
            .copy_from_slice(&now[FRAME_SAMPLES - OVERLAP..]);
        for (sample, hann) in window.iter_mut().zip(&TABLES.hann) {
            *sample *= hann;
        }
        window
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            overlap: [0.0; OVERLAP],
            peak: START,
            floor: START,
        }
    }
}

fn power_spectrum(window: &[f32; LEN]) -> [f32; BINS] {
    let spectrum = Spectrum::of(window);
    std::array::from_fn(|k| spectrum.re[k] * spectrum.re[k] + spectrum.im[k] * spectrum.im[k])
}

/// The height of the best peak of the autocorrelation at the periods of voices, 0 to 1.
///
/// Square roots flatten the spectrum first, so that the period stands out from the formants.
fn periodicity(power: &[f32; BINS]) -> f32 {
    let magnitude = power.map(f32::sqrt);
    let mut mirrored = [0.0; LEN];
    mirrored[..BINS].copy_from_slice(&magnitude);
    mirrored[BINS..].copy_from_slice(&magnitude[1..BINS - 1]);
    mirrored[BINS..].reverse();
    // Of a spectrum that is real and even, the transform and its inverse are the same.
    let lags = Spectrum::of(&mirrored).re;
    let best = lags[PERIODS].iter().copied().fold(f32::MIN, f32::max);
    best / (lags[0] + 1e-3 * LEN_F32)
}

fn full_scale(pcm: i16) -> f32 {
    f32::from(pcm) * (1.0 / 32_768.0)
}

fn scaled(nepers: f32) -> f32 {
    (nepers + 4.0) * 0.25
}

/// What depends on nothing heard.
struct Tables {
    hann: [f32; LEN],
    bands: Vec<Band>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    hann: std::array::from_fn(|i| {
        let turn = std::f64::consts::TAU * to_f64(i) / f64::from(LEN_F32);
        narrow(0.5 - 0.5 * turn.cos())
    }),
    bands: (0..BANDS).map(Band::new).collect(),
});

/// A triangle over the bins, one of [`BANDS`] that are equally wide on the mel scale.
#[derive(Debug)]
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl Band {
    fn new(index: usize) -> Self {
        let [low, centre, high] = [0, 1, 2].map(|edge| band_edge(index + edge));
        let weight = |bin: usize| {
            let hz = to_f64(bin) * f64::from(SAMPLE_RATE) / f64::from(LEN_F32);
            ((hz - low) / (centre - low)).min((high - hz) / (high - centre))
        };
        let bins = (0..BINS).filter(|&bin| weight(bin) > 0.0);
        Self {
            first_bin: bins.clone().next().unwrap_or(0),
            weights: bins.map(|bin| narrow(weight(bin))).collect(),
        }
    }

    fn power(&self, spectrum: &[f32; BINS]) -> f32 {
        let bins = spectrum[self.first_bin..].iter();
        bins.zip(&self.weights)
            .map(|(power, weight)| power * weight)
            .sum()
    }
}

/// The Hertz of the n-th of `BANDS + 2` edges, from 80 to 3,920 Hz.
fn band_edge(n: usize) -> f64 {
    let mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (mel(80.0), mel(3_920.0));
    let at = low + (high - low) * to_f64(n) / to_f64(BANDS + 1);
    700.0 * (10.0_f64.powf(at / 2_595.0) - 1.0)
}

#[expect(clippy::cast_precision_loss, reason = "indices are small")]
const fn to_f64(index: usize) -> f64 {
    index as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "tables need no more than 24 bits"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

const BANDS: usize = 24;
const LEN_F32: f32 = 256.0;
/// The sum of a power spectrum per mean power of its sound: half of the bins times the squared window
/// (3/8 of its length).
const WINDOW_POWER: f32 = LEN_F32 / 2.0 * LEN_F32 * 0.375;
const OVERLAP: usize = LEN - FRAME_SAMPLES;
/// 62 to 400 Hz.
const PERIODS: std::ops::Range<usize> = 20..128;
/// The power of G.711's rounding (ITU-T G.711) in a band: what is below is not heard.
const EPSILON: f32 = 1e-5;
const START: f32 = -4.0;
/// Nepers of power per decibel.
const PER_DB: f32 = 1.0 / 4.343;
/// 3 dB a second.
const PEAK_FALL: f32 = 3.0 * PER_DB / 50.0;
/// 1.5 dB a second.
const FLOOR_RISE: f32 = 1.5 * PER_DB / 50.0;
