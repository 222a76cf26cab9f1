//! A small recurrent network of our own, trained by `training/voice`.

use std::sync::LazyLock;

use crate::media::FRAME_SAMPLES;
use crate::speech::voice::background::Background;
use crate::speech::voice::features::{FEATURES, Features};
use crate::speech::voice::vector::{Arch, Simd, WithSimd, mul_add, sigmoid, tanh};
use crate::speech::voice::{Sound, VoiceActivity};

/// The network on one leg: features, a layer of rectified sums, a gated recurrent layer (Cho et
/// al. 2014, the reset gate applied after the product), a logistic output.
///
/// Between utterances, most frames are more of the same background: those are not shown to it.
#[derive(Clone, Debug)]
pub struct Network {
    background: Background,
    features: Features,
    state: [f32; UNITS],
}

impl Network {
    /// A network that has heard nothing.
    pub fn new() -> Self {
        Self {
            background: Background::default(),
            features: Features::default(),
            state: [0.0; UNITS],
        }
    }

    /// The network's trust that the frame holds speech, as log odds: 0 is undecided.
    pub fn log_odds(&mut self, sound: &Sound) -> f32 {
        Arch::new().dispatch(Judgement {
            network: self,
            samples: sound.samples(),
        })
    }

    #[inline(always)]
    fn judge<S: Simd>(&mut self, samples: &[f32; FRAME_SAMPLES]) -> f32 {
        let weights = &*WEIGHTS;
        let features = self.features.describe::<S>(samples);
        let dense = weights.dense.apply::<S>(&features);
        self.step::<S>(weights, &dense.map(|sum| sum.max(0.0)));
        let mut products = [0.0; LANES];
        let out = weights.out.as_chunks().0;
        for (state, out) in self.state.as_chunks::<LANES>().0.iter().zip(out) {
            accumulate::<S, LANES>(&mut products, state, out);
        }
        products.iter().sum::<f32>() + weights.out_bias
    }

    #[inline(always)]
    fn step<S: Simd>(&mut self, weights: &Weights, dense: &[f32; DENSE]) {
        let gates = weights.gates.apply::<S>(dense, &self.state);
        let (reset, update) = gates.split_at(UNITS);
        let given = weights.new.given.apply::<S>(dense);
        let own = weighted::<S, UNITS>(weights.hidden_bias, &weights.new.hidden, &self.state);
        for unit in 0..UNITS {
            let new = mul_add::<S>(sigmoid::<S>(reset[unit]), own[unit], given[unit]);
            let new = tanh::<S>(new);
            let kept = self.state[unit] - new;
            self.state[unit] = mul_add::<S>(sigmoid::<S>(update[unit]), kept, new);
        }
    }
}

/// A frame to be judged with whatever lanes the processor has.
struct Judgement<'a> {
    network: &'a mut Network,
    samples: &'a [f32; FRAME_SAMPLES],
}

impl WithSimd for Judgement<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        self.network.judge::<S>(self.samples)
    }
}

impl VoiceActivity for Network {
    fn is_speech(&mut self, sound: &Sound) -> bool {
        if self.background.covers(sound) {
            self.features.pass(sound.samples(), sound.mean_power());
            return false;
        }
        let log_odds = self.log_odds(sound);
        self.background.note(sound, log_odds);
        log_odds > 0.0
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    fn touch(&self) -> f32 {
        let passing = self.features.touch_passing();
        if self.background.is_passing() {
            return passing;
        }
        let state = self.state[0] + self.state[UNITS / 2] + self.state[UNITS - 1];
        passing + self.features.touch() + state
    }

    fn memory(&self) -> Vec<f32> {
        let mut memory = self.features.memory();
        memory.extend(self.state);
        memory
    }

    fn recall(&mut self, memory: &[f32]) {
        let features = self.features.memory().len();
        if memory.len() == features + UNITS {
            self.features.recall(&memory[..features]);
            self.state.copy_from_slice(&memory[features..][..UNITS]);
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

    #[inline(always)]
    fn apply<S: Simd>(&self, inputs: &[f32; INPUTS]) -> [f32; SUMS] {
        weighted::<S, SUMS>(self.bias, &self.weights, inputs)
    }
}

/// Sums of the recurrent layer.
#[derive(Debug)]
struct Recurrent<const SUMS: usize> {
    given: Layer<DENSE, SUMS>,
    hidden: Box<[[f32; SUMS]]>,
}

impl<const SUMS: usize> Recurrent<SUMS> {
    fn read(numbers: &mut impl Iterator<Item = f32>) -> Self {
        Self {
            given: Layer::read(numbers),
            hidden: (0..UNITS).map(|_| read(numbers)).collect(),
        }
    }

    #[inline(always)]
    fn apply<S: Simd>(&self, dense: &[f32; DENSE], state: &[f32; UNITS]) -> [f32; SUMS] {
        weighted::<S, SUMS>(self.given.apply::<S>(dense), &self.hidden, state)
    }
}

/// Adds the weights of every input, as often as the input says.
#[inline(always)]
fn weighted<S: Simd, const SUMS: usize>(
    mut sums: [f32; SUMS],
    weights: &[[f32; SUMS]],
    inputs: &[f32],
) -> [f32; SUMS] {
    for (weights, input) in weights.iter().zip(inputs) {
        accumulate::<S, SUMS>(&mut sums, weights, &[*input; SUMS]);
    }
    sums
}

#[inline(always)]
fn accumulate<S: Simd, const SUMS: usize>(
    sums: &mut [f32; SUMS],
    a: &[f32; SUMS],
    b: &[f32; SUMS],
) {
    for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
        *sum = mul_add::<S>(*a, *b, *sum);
    }
}

struct Weights {
    dense: Layer<FEATURES, DENSE>,
    /// Reset and update.
    gates: Recurrent<{ 2 * UNITS }>,
    new: Recurrent<UNITS>,
    hidden_bias: [f32; UNITS],
    out: [f32; UNITS],
    out_bias: f32,
}

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let (numbers, _) = BYTES.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Weights {
        dense: Layer::read(&mut numbers),
        gates: Recurrent::read(&mut numbers),
        new: Recurrent::read(&mut numbers),
        hidden_bias: read(&mut numbers),
        out: read(&mut numbers),
        out_bias: numbers.next().unwrap_or_default(),
    }
});

fn read<const COUNT: usize>(numbers: &mut impl Iterator<Item = f32>) -> [f32; COUNT] {
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

/// Little-endian 32-bit floats in the order of `training/voice/export.py`.
static BYTES: &[u8] = include_bytes!("network.f32");
const DENSE: usize = 32;
const UNITS: usize = 40;
/// Products that are summed side by side.
const LANES: usize = 8;
const NUMBERS: usize =
    DENSE + FEATURES * DENSE + 3 * (UNITS + DENSE * UNITS + UNITS * UNITS) + 2 * UNITS + 1;
const _: () = assert!(
    BYTES.len() == NUMBERS * 4,
    "the weights are of another network"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::voice::vector::Scalar;

    #[test]
    fn the_trainer_and_the_daemon_hear_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/s04.wav");
        let samples = hound::WavReader::open(path).unwrap().into_samples();
        let pcm: Vec<i16> = samples.map(Result::unwrap).collect();
        let mut network = Network::new();
        let frames = pcm.as_chunks().0.iter();
        let said: Vec<f32> = frames
            .map(|frame| network.log_odds(&Sound::from_pcm(frame)))
            .collect();
        // By `forward` of training/voice/train.py, on `features` of the same recording.
        let trained = [
            (0, -3.273),
            (10, 6.186),
            (30, 10.231),
            (50, 9.265),
            (70, 7.442),
        ];
        for (frame, log_odds) in trained {
            let heard: f32 = said[frame];
            assert!((heard - log_odds).abs() < 0.02, "frame {frame}: {heard}");
        }
    }

    #[test]
    fn a_reset_network_has_heard_nothing() {
        let loud = |n| if n / 20 % 2 == 0 { 9_000 } else { -9_000 };
        let loud = Sound::from_pcm(&std::array::from_fn(loud));
        let mut network = Network::new();
        let first = network.log_odds(&loud);
        network.log_odds(&loud);
        network.reset();
        assert_eq!(network.log_odds(&loud), first);
    }

    #[test]
    fn processors_without_wide_lanes_hear_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/s10.wav");
        let samples = hound::WavReader::open(path).unwrap().into_samples();
        let pcm: Vec<i16> = samples.map(Result::unwrap).collect();
        let (mut network, mut plain) = (Network::new(), Network::new());
        for pcm in pcm.as_chunks().0 {
            let sound = Sound::from_pcm(pcm);
            let (wide, plain) = (
                network.log_odds(&sound),
                plain.judge::<Scalar>(sound.samples()),
            );
            assert!((wide - plain).abs() < 1e-3, "{wide} and {plain}");
        }
    }
}
