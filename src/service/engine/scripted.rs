//! The engine that recognises nothing: it says what its script says, when its script says.
#![expect(clippy::disallowed_methods, reason = "a script's delay is waited for")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Failure, Job, Outcome, whole};
use crate::asr::message::{Segment, WordInfo};
use crate::service::tone_code;

/// Says what its [`Script`] says.
pub struct Scripted {
    script: Script,
    said: AtomicUsize,
}

/// What the engine says, and how long it takes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Script {
    /// The source of its text.
    pub says: Says,
    /// From the end of a session to its text.
    pub delay: Duration,
}

/// Where scripted text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Says {
    /// The stream and second that the [`tone_code`] in the audio tells, and how much of each second
    /// was heard: `7.3:1000 7.4:430`.
    #[default]
    ToneCode,
    /// These lines, one a session, over and over.
    Lines(Vec<String>),
    /// How much audio there was: `3250 ms`. It costs nothing, so it suits load tests.
    Length,
}

impl Scripted {
    /// The engine's name.
    pub const NAME: &str = "scripted";

    /// An engine with that script.
    pub const fn new(script: Script) -> Self {
        Self {
            script,
            said: AtomicUsize::new(0),
        }
    }

    /// Says its text.
    pub(super) async fn recognise(&self, job: Job) -> Outcome {
        if !job.interim && !self.script.delay.is_zero() {
            tokio::time::sleep(self.script.delay).await;
        }
        match &self.script.says {
            Says::Lines(lines) => Ok(vec![whole(
                &job.audio,
                self.line(lines, &job),
                1.0,
                Vec::new(),
            )]),
            Says::Length => {
                let text = format!("{} ms", job.audio.length().as_millis());
                Ok(vec![whole(&job.audio, text, 1.0, Vec::new())])
            }
            // A minute of audio takes milliseconds to decode, which is long for a thread that
            // answers pings.
            Says::ToneCode => tokio::task::spawn_blocking(move || vec![decode(&job)])
                .await
                .map_err(|error| Failure::new("SIS.0306", &error.to_string())),
        }
    }

    /// An interim result shows the line that the session will end with.
    fn line(&self, lines: &[String], job: &Job) -> String {
        let ordinal = if job.interim {
            self.said.load(Ordering::Relaxed)
        } else {
            self.said.fetch_add(1, Ordering::Relaxed)
        };
        lines
            .get(ordinal % lines.len().max(1))
            .cloned()
            .unwrap_or_default()
    }
}

fn decode(job: &Job) -> Segment {
    let runs = tone_code::decode(&job.audio.to_samples());
    let text = runs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let words = if job.settings.need_word_info {
        word_info(&runs)
    } else {
        Vec::new()
    };
    whole(&job.audio, text, 1.0, words)
}

fn word_info(runs: &[tone_code::Run]) -> Vec<WordInfo> {
    runs.iter()
        .map(|run| WordInfo {
            start_time: run.start_ms,
            end_time: run.start_ms + run.length_ms,
            word: run.to_string(),
        })
        .collect()
}
