//! A small recurrent network of our own, trained by `training/voice`.

use std::sync::LazyLock;

use crate::media::FRAME_SAMPLES;
use crate::speech::voice::background::Background;
use crate::speech::voice::features::{FEATURES, Features};
use crate::speech::voice::{VoiceActivity, level_dbfs};

/// The network on one leg: features, a layer of rectified sums, a gated recurrent layer (Cho et
/// al. 2014, the reset gate applied after the product), a logistic output.
///
/// Between utterances, most frames are more of the same background: those are not shown to it.
#[derive(Clone, Debug)]
pub struct Network {
    background: Background,
    features: Features,
    state: [f32; UNITS],
    is_speech: bool,
}

impl Network {
    /// A network that has heard nothing.
    pub fn new() -> Self {
        Self {
            background: Background::default(),
            features: Features::default(),
            state: [0.0; UNITS],
            is_speech: false,
        }
    }

    /// The network's trust that the frame holds speech, as log odds: 0 is undecided.
    pub fn log_odds(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> f32 {
        let features = self.features.describe(pcm);
        let weights = &*WEIGHTS;
        let dense = weights.dense.apply(&features).map(|sum| sum.max(0.0));
        self.step(weights, &dense);
        let product = self
            .state
            .iter()
            .zip(&weights.out)
            .map(|(state, weight)| state * weight);
        product.sum::<f32>() + weights.out_bias
    }

    fn step(&mut self, weights: &Weights, dense: &[f32; DENSE]) {
        let reset = weights
            .reset
            .given(dense)
            .plus(&weights.reset.hidden, &self.state);
        let update = weights
            .update
            .given(dense)
            .plus(&weights.update.hidden, &self.state);
        let given = weights.new.given(dense);
        let own = Sums(weights.hidden_bias).plus(&weights.new.hidden, &self.state);
        for unit in 0..UNITS {
            let new = tanh(given.0[unit] + sigmoid(reset.0[unit]) * own.0[unit]);
            let update = sigmoid(update.0[unit]);
            self.state[unit] = update * self.state[unit] + (1.0 - update) * new;
        }
    }
}

impl VoiceActivity for Network {
    fn is_speech(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> bool {
        let level = level_dbfs(pcm);
        if self.background.covers(level) {
            self.features.pass(pcm);
            return false;
        }
        let log_odds = self.log_odds(pcm);
        self.background.note(level, log_odds);
        let threshold = if self.is_speech { STAY } else { ENTER };
        self.is_speech = log_odds > threshold;
        self.is_speech
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    fn memory(&self) -> Vec<f32> {
        let mut memory = self.features.memory();
        memory.extend(self.state);
        memory.push(if self.is_speech { 1.0 } else { 0.0 });
        memory
    }

    fn recall(&mut self, memory: &[f32]) {
        let features = self.features.memory().len();
        if memory.len() == features + UNITS + 1 {
            self.features.recall(&memory[..features]);
            self.state.copy_from_slice(&memory[features..][..UNITS]);
            self.is_speech = memory[features + UNITS] > 0.5;
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// A layer: the weights of each input lie together, so that the sums stay in registers.
#[derive(Debug)]
struct Layer<const INPUTS: usize, const SUMS: usize> {
    bias: [f32; SUMS],
    weights: Box<[[f32; SUMS]]>,
}

impl<const INPUTS: usize, const SUMS: usize> Layer<INPUTS, SUMS> {
    fn read(numbers: &mut impl Iterator<Item = f32>) -> Self {
        Self {
            bias: read(numbers),
            weights: (0..INPUTS).map(|_| read(numbers)).collect(),
        }
    }

    fn apply(&self, inputs: &[f32; INPUTS]) -> [f32; SUMS] {
        Sums(self.bias).plus(&self.weights, inputs).0
    }
}

/// One gate of the recurrent layer.
#[derive(Debug)]
struct Gate {
    given: Layer<DENSE, UNITS>,
    hidden: Box<[[f32; UNITS]]>,
}

impl Gate {
    fn read(numbers: &mut impl Iterator<Item = f32>) -> Self {
        Self {
            given: Layer::read(numbers),
            hidden: (0..UNITS).map(|_| read(numbers)).collect(),
        }
    }

    fn given(&self, dense: &[f32; DENSE]) -> Sums<UNITS> {
        Sums(self.given.apply(dense))
    }
}

struct Sums<const SUMS: usize>([f32; SUMS]);

impl<const SUMS: usize> Sums<SUMS> {
    fn plus(mut self, weights: &[[f32; SUMS]], inputs: &[f32]) -> Self {
        for (weights, input) in weights.iter().zip(inputs) {
            for (sum, weight) in self.0.iter_mut().zip(weights) {
                *sum += weight * input;
            }
        }
        self
    }
}

struct Weights {
    dense: Layer<FEATURES, DENSE>,
    reset: Gate,
    update: Gate,
    new: Gate,
    hidden_bias: [f32; UNITS],
    out: [f32; UNITS],
    out_bias: f32,
}

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let (numbers, _) = BYTES.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Weights {
        dense: Layer::read(&mut numbers),
        reset: Gate::read(&mut numbers),
        update: Gate::read(&mut numbers),
        new: Gate::read(&mut numbers),
        hidden_bias: read(&mut numbers),
        out: read(&mut numbers),
        out_bias: numbers.next().unwrap_or_default(),
    }
});

fn read<const COUNT: usize>(numbers: &mut impl Iterator<Item = f32>) -> [f32; COUNT] {
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

/// Within 0.0001 of the hyperbolic tangent: a continued fraction, for four lanes at once.
fn tanh(x: f32) -> f32 {
    let x = x.clamp(-4.97, 4.97);
    let square = x * x;
    let above = x * (135_135.0 + square * (17_325.0 + square * (378.0 + square)));
    let below = 135_135.0 + square * (62_370.0 + square * (3_150.0 + square * 28.0));
    above / below
}

fn sigmoid(x: f32) -> f32 {
    0.5 + 0.5 * tanh(0.5 * x)
}

/// Little-endian 32-bit floats in the order of `training/voice/export.py`.
static BYTES: &[u8] = include_bytes!("network.f32");
const DENSE: usize = 32;
const UNITS: usize = 40;
const NUMBERS: usize =
    DENSE + FEATURES * DENSE + 3 * (UNITS + DENSE * UNITS + UNITS * UNITS) + 2 * UNITS + 1;
const _: () = assert!(
    BYTES.len() == NUMBERS * 4,
    "the weights are of another network"
);
/// Log odds that begin speech, and that it needs to last.
const ENTER: f32 = 0.0;
const STAY: f32 = -1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trainer_and_the_daemon_hear_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/s04.wav");
        let samples = hound::WavReader::open(path).unwrap().into_samples();
        let pcm: Vec<i16> = samples.map(Result::unwrap).collect();
        let mut network = Network::new();
        let (frames, _) = pcm.as_chunks();
        let said: Vec<f32> = frames.iter().map(|frame| network.log_odds(frame)).collect();
        // By `forward` of training/voice/train.py, on `features` of the same recording.
        let trained = [
            (0, -5.521),
            (10, 3.636),
            (30, 7.915),
            (50, 5.753),
            (70, 4.321),
        ];
        for (frame, log_odds) in trained {
            let heard: f32 = said[frame];
            assert!((heard - log_odds).abs() < 0.02, "frame {frame}: {heard}");
        }
    }

    #[test]
    fn a_reset_network_has_heard_nothing() {
        let loud = std::array::from_fn(|n| if n / 20 % 2 == 0 { 9_000 } else { -9_000 });
        let mut network = Network::new();
        let first = network.log_odds(&loud);
        network.log_odds(&loud);
        network.reset();
        assert_eq!(network.log_odds(&loud), first);
    }

    #[test]
    fn the_tangent_is_near_enough() {
        for tenth in -80..=80_i8 {
            let x = f32::from(tenth) / 10.0;
            assert!((tanh(x) - x.tanh()).abs() < 2e-4, "at {x}");
        }
    }
}
