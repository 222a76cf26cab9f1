//! Silero, the network to compare with, by the runtime `rten`.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use callscribe::media::{FRAME_SAMPLES, Frame};
use callscribe::speech::voice::{Sound, VoiceActivity};
use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

/// The network of Silero at 8 kHz on one leg: it judges 32 ms at a time.
pub(crate) struct Silero {
    network: Rc<Network>,
    state: Vec<f32>,
    /// The end of the samples before, then what is too short to be judged.
    waiting: Vec<f32>,
    is_speech: bool,
}

impl Silero {
    pub(crate) fn new(network: &Rc<Network>) -> Self {
        Self {
            network: Rc::clone(network),
            state: vec![0.0; STATE],
            waiting: vec![0.0; CONTEXT],
            is_speech: false,
        }
    }

    /// A verdict for each frame: that on the 32 ms in which its middle is, which a live call does not
    /// have yet when the frame is there.
    pub(crate) fn verdicts(&mut self, frames: &[Frame]) -> Vec<bool> {
        let mut chunks = Vec::new();
        for frame in frames {
            self.hear(&Sound::from(frame), |verdict| chunks.push(verdict));
        }
        let middle = |frame: usize| (frame * FRAME_SAMPLES + FRAME_SAMPLES / 2) / CHUNK;
        let verdict = |frame| chunks.get(middle(frame)).or(chunks.last());
        let frames = 0..frames.len();
        frames
            .map(|at| verdict(at).copied().unwrap_or(false))
            .collect()
    }

    fn hear(&mut self, sound: &Sound, mut heard: impl FnMut(bool)) {
        self.waiting.extend(sound.samples());
        while self.waiting.len() >= CONTEXT + CHUNK {
            let input = self.waiting[..CONTEXT + CHUNK].to_vec();
            self.waiting.drain(..CHUNK);
            let (odds, state) = self.network.judge(input, std::mem::take(&mut self.state));
            self.state = state;
            heard(odds > THRESHOLD);
        }
    }
}

impl VoiceActivity for Silero {
    /// The verdict on the last whole 32 ms.
    fn is_speech(&mut self, sound: &Sound) -> bool {
        let mut last = self.is_speech;
        self.hear(sound, |verdict| last = verdict);
        self.is_speech = last;
        last
    }

    fn reset(&mut self) {
        *self = Self::new(&self.network);
    }
}

/// The network with its weights, for any number of legs.
pub(crate) struct Network {
    model: Model,
    inputs: [NodeId; 3],
    outputs: [NodeId; 2],
    thread: Arc<ThreadPool>,
}

impl Network {
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        if !path.exists() {
            let path = path.to_owned();
            return Err(LoadError::Missing { path });
        }
        let model = Model::load_file(path)?;
        let mut ids = Vec::new();
        for name in ["input", "state", "sr", "output", "stateN"] {
            ids.push(model.node_id(name).map_err(|_| LoadError::Other { name })?);
        }
        Ok(Self {
            inputs: [ids[0], ids[1], ids[2]],
            outputs: [ids[3], ids[4]],
            model,
            thread: Arc::new(ThreadPool::with_num_threads(1)),
        })
    }

    /// The probability of speech, and the state after it.
    fn judge(&self, samples: Vec<f32>, state: Vec<f32>) -> (f32, Vec<f32>) {
        let samples = NdTensor::from_data([1, samples.len()], samples);
        let state = NdTensor::from_data([2, 1, STATE / 2], state);
        let rate = Tensor::from(8_000_i32);
        let [on_samples, on_state, on_rate] = self.inputs;
        let inputs = vec![
            (on_samples, samples.into()),
            (on_state, state.into()),
            (on_rate, rate.into()),
        ];
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.thread));
        let outputs = self.model.run_n(inputs, self.outputs, Some(options));
        let [odds, state] = outputs.expect("the network takes what its inputs are made for");
        let numbers = |value: rten::Value| {
            let tensor: Tensor<f32> = value.try_into().expect("a tensor of floats");
            tensor.to_vec()
        };
        (numbers(odds)[0], numbers(state))
    }
}

/// Why Silero cannot be compared with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{path} is missing")]
    Missing { path: PathBuf },
    #[error(transparent)]
    Model(#[from] rten::LoadError),
    #[error("this is another network: it has no {name}")]
    Other { name: &'static str },
}

/// Samples that are judged at once, at 8 kHz, and those before them that are shown again.
const CHUNK: usize = 256;
const CONTEXT: usize = 32;
/// Two layers of 128 numbers.
const STATE: usize = 256;
/// Its authors' own.
const THRESHOLD: f32 = 0.5;
