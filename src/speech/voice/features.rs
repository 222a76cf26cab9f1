//! What the network hears of a frame: levels in bands, the loud and the quiet of the last seconds,
//! how periodic the sound is, and how new. `training/voice/features.py` computes the same.

use std::sync::LazyLock;

use crate::media::{FRAME_SAMPLES, SAMPLE_RATE};
use crate::speech::voice::spectrum::{BINS, Complex, HALF, LEN, Pairs, Workspace};
use crate::speech::voice::vector::{Scalar, Simd, ln, mul_add};

/// Numbers that describe a frame.
pub(super) const FEATURES: usize = BANDS + 5;

/// The memory from frame to frame of one leg.
#[derive(Clone, Debug)]
pub(super) struct Features {
    /// The end of the frame before.
    overlap: [f32; OVERLAP],
    /// Level of the loud, in nepers of power: rises at once, falls slowly.
    peak: f32,
    /// Level of the background: falls at once, rises slowly.
    floor: f32,
    /// Magnitudes of the bins with partials, the mean of the last frames.
    usual: [f32; PARTIALS],
}

impl Features {
    /// Describes the next frame; full scale is 1.
    #[inline(always)]
    pub(super) fn describe<S: Simd>(&mut self, samples: &[f32; FRAME_SAMPLES]) -> [f32; FEATURES] {
        let tables = &*TABLES;
        let (mut a, mut b) = (Complex::ZERO, Complex::ZERO);
        let mut workspace = Workspace::new(&mut a, &mut b);
        let (mut pairs, mut power) = (Pairs::ZERO, [0.0; BINS]);
        self.window(tables, samples, &mut pairs);
        workspace.power::<S>(&pairs, &mut power);
        let mut logarithms = [1.0; BANDS + LANES];
        for (group, powers) in tables.bands.iter().zip(logarithms.as_chunks_mut().0) {
            *powers = group.powers::<S>(&power);
        }
        logarithms[BANDS] = sum(&power) + 10.0 * EPSILON;
        logarithms = logarithms.map(|value| ln::<S>(value));
        self.follow(logarithms[BANDS]);
        let mut features = [0.0; FEATURES];
        features.copy_from_slice(&logarithms.map(scaled)[..FEATURES]);
        features[BANDS + 1] = scaled(self.peak);
        features[BANDS + 2] = scaled(self.floor);
        let magnitudes = power.map(f32::sqrt);
        mirror(&magnitudes, &mut pairs);
        features[BANDS + 3] = periodicity::<S>(&mut workspace, &pairs) * 2.0 - 1.0;
        features[BANDS + 4] = self.novelty(&magnitudes) * 4.0 - 1.0;
        features
    }

    /// Reads a little of every line of what a frame needs that nobody asks about.
    pub(super) fn touch_passing(&self) -> f32 {
        self.overlap.iter().step_by(16).sum::<f32>() + self.peak
    }

    /// The same of what one needs beyond that which is to be described.
    pub(super) fn touch(&self) -> f32 {
        self.usual.iter().step_by(16).sum()
    }

    /// Takes a frame that nobody asks about, of this mean power.
    pub(super) fn pass(&mut self, samples: &[f32; FRAME_SAMPLES], mean_power: f32) {
        self.follow(ln::<Scalar>(mean_power * WINDOW_POWER + 10.0 * EPSILON));
        self.keep_end(samples);
    }

    fn follow(&mut self, level: f32) {
        self.peak = level.max(self.peak - PEAK_FALL);
        self.floor = level.min(self.floor + FLOOR_RISE);
    }

    /// How unlike the frame is to the ones before, 0 to 1: a note stays where it is, a voice glides.
    #[inline(always)]
    fn novelty(&mut self, magnitudes: &[f32; BINS]) -> f32 {
        let (mut changes, mut sums) = ([0.0; LANES], [0.0; LANES]);
        let usual = self.usual.as_chunks_mut::<LANES>().0;
        for (usual, now) in usual.iter_mut().zip(magnitudes.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let change = now[lane] - usual[lane];
                changes[lane] += change.abs();
                sums[lane] += now[lane] + usual[lane];
                usual[lane] += 0.5 * change;
            }
        }
        changes.iter().sum::<f32>() / (sums.iter().sum::<f32>() + 1e-2)
    }

    fn keep_end(&mut self, samples: &[f32; FRAME_SAMPLES]) {
        self.overlap
            .copy_from_slice(&samples[FRAME_SAMPLES - OVERLAP..]);
    }

    /// Everything, in numbers.
    pub(super) fn memory(&self) -> Vec<f32> {
        let levels = [self.peak, self.floor];
        let overlap = self.overlap.iter().copied();
        overlap.chain(self.usual).chain(levels).collect()
    }

    /// The reverse of [`Self::memory`]; as many numbers as that gives.
    pub(super) fn recall(&mut self, memory: &[f32]) {
        if let [sounds @ .., peak, floor] = memory {
            let (overlap, usual) = sounds.split_at(OVERLAP);
            self.overlap.copy_from_slice(overlap);
            self.usual.copy_from_slice(usual);
            (self.peak, self.floor) = (*peak, *floor);
        }
    }

    /// The frame and the end of the one before under a Hann window.
    #[inline(always)]
    fn window(&mut self, tables: &Tables, samples: &[f32; FRAME_SAMPLES], pairs: &mut Pairs) {
        let (even, even_now) = pairs.even.split_at_mut(OVERLAP / 2);
        let (odd, odd_now) = pairs.odd.split_at_mut(OVERLAP / 2);
        let (hann, hann_now) = tables.hann.split_at(OVERLAP / 2);
        under(hann, &self.overlap, even, odd);
        under(hann_now, samples, even_now, odd_now);
        self.keep_end(samples);
    }
}

/// Parts even and odd samples, under a window.
#[inline(always)]
fn under(window: &[[f32; 2]], samples: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let weighed = window.iter().zip(samples.as_chunks::<2>().0);
    for ((window, samples), (even, odd)) in weighed.zip(even.iter_mut().zip(odd)) {
        (*even, *odd) = (samples[0] * window[0], samples[1] * window[1]);
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            overlap: [0.0; OVERLAP],
            peak: START,
            floor: START,
            usual: [0.0; PARTIALS],
        }
    }
}

/// The height of the best peak of the autocorrelation at the periods of voices, 0 to 1, by the
/// magnitudes of all bins.
///
/// Magnitudes instead of powers flatten the spectrum, so that the period stands out from the
/// formants.
#[inline(always)]
fn periodicity<S: Simd>(workspace: &mut Workspace<'_>, magnitudes: &Pairs) -> f32 {
    // Of a spectrum that is real and even, the transform and its inverse are the same.
    let mut lags = [0.0; BINS];
    workspace.real::<S>(magnitudes, &mut lags);
    greatest(&lags[PERIODS]) / (lags[0] + 1e-3 * LEN_F32)
}

/// All the bins of a spectrum, by those from 0 to half the sample rate.
#[inline(always)]
fn mirror(bins: &[f32; BINS], pairs: &mut Pairs) {
    for at in 0..HALF / 2 {
        (pairs.even[at], pairs.odd[at]) = (bins[2 * at], bins[2 * at + 1]);
        pairs.even[HALF / 2 + at] = bins[HALF - 2 * at];
        pairs.odd[HALF / 2 + at] = bins[HALF - 1 - 2 * at];
    }
}

#[inline(always)]
fn sum(numbers: &[f32]) -> f32 {
    let (groups, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for (sum, number) in sums.iter_mut().zip(group) {
            *sum += number;
        }
    }
    sums.iter().chain(rest).sum()
}

#[inline(always)]
fn greatest(numbers: &[f32]) -> f32 {
    let (groups, rest) = numbers.as_chunks::<LANES>();
    let mut greatest = [f32::MIN; LANES];
    for group in groups {
        for (greatest, &number) in greatest.iter_mut().zip(group) {
            *greatest = if number > *greatest {
                number
            } else {
                *greatest
            };
        }
    }
    let all = greatest.iter().chain(rest);
    all.copied().fold(f32::MIN, f32::max)
}

fn scaled(nepers: f32) -> f32 {
    (nepers + 4.0) * 0.25
}

/// What depends on nothing heard.
struct Tables {
    /// A Hann window, in pairs.
    hann: [[f32; 2]; HALF],
    bands: [Group; BANDS / LANES],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let hann = |at| {
        let turn = std::f64::consts::TAU * to_f64(at) / f64::from(LEN_F32);
        narrow(0.5 - 0.5 * turn.cos())
    };
    Tables {
        hann: std::array::from_fn(|pair| [hann(2 * pair), hann(2 * pair + 1)]),
        bands: std::array::from_fn(|group| Group::new(group * LANES)),
    }
});

/// Neighbours among the bands: triangles over the bins, [`BANDS`] in all, equally wide on the mel
/// scale.
#[derive(Debug)]
struct Group {
    first_bin: usize,
    /// What each bin gives to each band.
    weights: Vec<[f32; LANES]>,
}

impl Group {
    fn new(first_band: usize) -> Self {
        let weights = |bin| std::array::from_fn(|lane| weight(first_band + lane, bin));
        let is_heard = |bin: &usize| weights(*bin).iter().any(|weight| *weight > 0.0);
        let bins = (0..BINS).filter(is_heard);
        Self {
            first_bin: bins.clone().next().unwrap_or(0),
            weights: bins.map(weights).collect(),
        }
    }

    #[inline(always)]
    fn powers<S: Simd>(&self, spectrum: &[f32; BINS]) -> [f32; LANES] {
        let mut powers = [EPSILON; LANES];
        for (weights, &power) in self.weights.iter().zip(&spectrum[self.first_bin..]) {
            for (sum, &weight) in powers.iter_mut().zip(weights) {
                *sum = mul_add::<S>(weight, power, *sum);
            }
        }
        powers
    }
}

/// What a bin gives to a band.
fn weight(band: usize, bin: usize) -> f32 {
    let [low, centre, high] = [0, 1, 2].map(|edge| band_edge(band + edge));
    let hz = to_f64(bin) * f64::from(SAMPLE_RATE) / f64::from(LEN_F32);
    let height = ((hz - low) / (centre - low)).min((high - hz) / (high - centre));
    narrow(height.max(0.0))
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
/// Bins below 2 kHz, where voices and notes have their partials.
const PARTIALS: usize = 64;
/// Numbers side by side, for the compiler to work on at once.
const LANES: usize = 8;
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
