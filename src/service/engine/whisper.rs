//! The engine that recognises: Whisper, on threads of its own behind a bounded queue.

mod piece;
mod queue;
mod text;
mod transcriber;
mod upsample;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use whisper_rs::{WhisperContext, WhisperContextParameters};

use super::{Failure, Job, Outcome};
use queue::{Queue, Work};
use transcriber::{Tokens, Transcriber};

/// Whisper, loaded and ready. Dropping it ends its threads after the piece they are at.
pub struct Whisper {
    name: String,
    queue: Arc<Queue>,
}

/// Which model, and how much of the machine it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhisperConfig {
    /// A model file of whisper.cpp.
    pub model: PathBuf,
    /// Threads that work on one piece together. They spin while they wait for each other: more than
    /// the idle cores make it slower.
    pub threads: usize,
    /// Sessions recognised at once; each takes `threads`.
    pub workers: usize,
    /// Sessions that may wait; more are refused with `SIS.0312`.
    pub queue: usize,
}

impl WhisperConfig {
    /// That model with the measured defaults.
    pub const fn new(model: PathBuf) -> Self {
        Self {
            model,
            threads: 1,
            workers: 1,
            queue: 256,
        }
    }
}

/// Why Whisper cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no model.
    #[error(
        "no recognition model at {path}: run `make model` to fetch it, or give a whisper.cpp model with --model"
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there, and is no model.
    #[error("{path} is not a whisper.cpp model: {reason}; run `make model` to fetch one")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What whisper.cpp says.
        reason: String,
    },
    /// The compiled code would stop with an illegal instruction.
    #[error("this processor lacks AVX2, FMA, F16C or BMI2, which the recogniser was compiled for")]
    Processor,
    /// A thread could not be started.
    #[error("cannot start a recognition thread: {0}")]
    Thread(#[from] io::Error),
}

impl Whisper {
    /// Loads the model and starts the threads; takes a fraction of a second.
    ///
    /// # Errors
    /// When there is no usable model, or the processor is too old.
    pub fn load(config: &WhisperConfig) -> Result<Self, LoadError> {
        if !processor_is_able() {
            return Err(LoadError::Processor);
        }
        let path = &config.model;
        if !path.is_file() {
            return Err(LoadError::Missing { path: path.clone() });
        }
        // Without this, whisper.cpp writes its own log to standard error.
        whisper_rs::install_logging_hooks();
        let unusable = |reason: whisper_rs::WhisperError| LoadError::Unusable {
            path: path.clone(),
            reason: reason.to_string(),
        };
        let context = WhisperContext::new_with_params(path, WhisperContextParameters::default())
            .map_err(unusable)?;
        let whisper = Self {
            name: name_of(path),
            queue: Arc::new(Queue::new(config.queue)),
        };
        for _ in 0..config.workers {
            let tokens = Tokens {
                start: context.token_sot(),
                no_speech: context.token_nosp(),
            };
            let state = context.create_state().map_err(unusable)?;
            whisper.start_worker(Transcriber::new(state, tokens, config.threads))?;
        }
        Ok(whisper)
    }

    /// `whisper-` and the name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a free worker, then for the text.
    pub(super) async fn recognise(&self, job: Job) -> Outcome {
        if job.interim && self.queue.is_busy() {
            return Ok(Vec::new());
        }
        let (reply, outcome) = oneshot::channel();
        if self.queue.push(Work { job, reply }).is_err() {
            return Err(Failure::new(
                "SIS.0312",
                "over the maximum resource concurrency",
            ));
        }
        outcome
            .await
            .unwrap_or_else(|_| Err(Failure::new("SIS.0306", "the recogniser stopped")))
    }

    fn start_worker(&self, mut transcriber: Transcriber) -> Result<(), io::Error> {
        let queue = Arc::clone(&self.queue);
        let work = move || {
            while let Some(Work { job, reply }) = queue.pop() {
                // Nobody waits for the text of a session that was cancelled meanwhile: the error
                // may be ignored.
                drop(reply.send(transcriber.transcribe(&job)));
                queue.done();
            }
        };
        thread::Builder::new()
            .name("whisper".into())
            .spawn(work)
            .map(drop)
    }
}

impl Drop for Whisper {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// `ggml-base.bin` is `whisper-base`.
fn name_of(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let plain: String = stem
        .trim_start_matches("ggml-")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("whisper-{plain}")
}

#[cfg(target_arch = "x86_64")]
fn processor_is_able() -> bool {
    std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("f16c")
        && std::is_x86_feature_detected!("bmi2")
}

#[cfg(not(target_arch = "x86_64"))]
const fn processor_is_able() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_named_for_its_model() {
        assert_eq!(name_of(Path::new("/m/ggml-base.bin")), "whisper-base");
        assert_eq!(name_of(Path::new("large v3.bin")), "whisper-large-v3");
    }

    #[test]
    fn a_missing_model_is_told_with_its_path_and_the_remedy() {
        let error = Whisper::load(&WhisperConfig::new("/nowhere/ggml-base.bin".into()))
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(
            message.contains("/nowhere/ggml-base.bin") && message.contains("make model"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_no_model_is_told() {
        let error = Whisper::load(&WhisperConfig::new("Cargo.toml".into()))
            .err()
            .unwrap();
        assert!(matches!(error, LoadError::Unusable { .. }), "{error}");
    }
}
