//! What turns the audio of a session into text.

pub mod scripted;
#[cfg(feature = "whisper")]
pub mod whisper;

use crate::asr::message::{Segment, SegmentResult, WordInfo};

use super::audio::Audio;
use super::settings::Settings;
use scripted::Scripted;
#[cfg(feature = "whisper")]
use whisper::Whisper;

/// The engines, by name: the name starts every trace id, so that scripted text never passes for
/// recognition.
pub enum Engine {
    /// Says what its script says.
    Scripted(Scripted),
    /// Recognises.
    #[cfg(feature = "whisper")]
    Whisper(Whisper),
}

/// Audio on its way to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Names the job on its connection.
    pub id: JobId,
    /// Names the session.
    pub trace_id: String,
    /// What START asked for.
    pub settings: Settings,
    /// What was heard so far.
    pub audio: Audio,
    /// Whether more audio may follow: the text is to be shown and replaced.
    pub interim: bool,
}

/// The ordinal of a job on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId(u64);

impl JobId {
    /// The job of that ordinal.
    pub const fn new(ordinal: u64) -> Self {
        Self(ordinal)
    }
}

/// What an engine made of a job.
pub type Outcome = Result<Vec<Segment>, Failure>;

/// Why there is no text, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// `SIS.nnnn`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl Failure {
    /// A failure with that code.
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl Engine {
    /// The engine's name, as trace ids start.
    pub fn name(&self) -> &str {
        match self {
            Self::Scripted(_) => Scripted::NAME,
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.name(),
        }
    }

    /// Recognises; dropping the future abandons the job.
    ///
    /// # Errors
    /// When the engine is broken down or has too much to do.
    pub async fn recognise(&self, job: Job) -> Outcome {
        match self {
            Self::Scripted(scripted) => scripted.recognise(job).await,
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.recognise(job).await,
        }
    }
}

/// One segment over all of `audio`.
pub(crate) fn whole(audio: &Audio, text: String, score: f64, words: Vec<WordInfo>) -> Segment {
    Segment {
        start_time: 0,
        end_time: u64::try_from(audio.length().as_millis()).unwrap_or(u64::MAX),
        is_final: true,
        result: Some(SegmentResult {
            text,
            score: Some(score),
            word_info: words,
        }),
    }
}
