//! The engine of `callscribe service`, in process.

use std::time::{Duration, Instant};

use callscribe::cli::service::default_model;
use callscribe::media::{Frame, Law, Samples};
use callscribe::service::audio::{Audio, AudioFormat};
use callscribe::service::engine::whisper::{LoadError, Whisper, WhisperConfig};
use callscribe::service::engine::{Engine, Job, JobId};
use callscribe::service::settings::Settings;
use tokio::runtime::Runtime;

/// Whisper, as the service runs it.
pub(crate) struct Recogniser {
    runtime: Runtime,
    engine: Engine,
}

impl Recogniser {
    pub(crate) fn load(threads: usize) -> Result<Self, LoadError> {
        let config = WhisperConfig {
            threads,
            ..WhisperConfig::new(default_model())
        };
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            engine: Engine::Whisper(Whisper::load(&config)?),
        })
    }

    /// The text of one session, and the time it took. Audio of any length is taken: over half a
    /// minute the engine cuts it for itself, where that costs it least.
    pub(crate) fn recognise(&self, law: Law, g711: Vec<u8>) -> (String, Duration) {
        let format = match law {
            Law::Pcmu => AudioFormat::ULAW_8K,
            Law::Pcma => AudioFormat::ALAW_8K,
        };
        let job = Job {
            id: JobId::new(0),
            trace_id: String::new(),
            settings: Settings {
                format,
                property: "chinese_8k_common".to_owned(),
                add_punc: true,
                digit_norm: true,
                interim_results: false,
                need_word_info: false,
            },
            audio: Audio {
                format,
                bytes: g711,
            },
            interim: false,
        };
        let length = Samples(job.audio.bytes.len() as u64).as_duration();
        eprint!("  recognising {:.1} s", length.as_secs_f32());
        let began = Instant::now();
        let segments = self.runtime.block_on(self.engine.recognise(job));
        let texts = segments
            .into_iter()
            .flatten()
            .filter_map(|segment| segment.result);
        let took = began.elapsed();
        eprintln!(" took {:.1} s", took.as_secs_f32());
        (texts.map(|result| result.text).collect(), took)
    }
}

/// The audio of frames of one law.
pub(crate) fn g711(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).copied().collect()
}
