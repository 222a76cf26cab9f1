//! The recogniser's protocol, client side: messages, the session machine, credentials, the quota, and
//! what each failure means.
//!
//! Nothing here touches a socket: `io::recogniser` pumps bytes between a WebSocket and
//! [`session::Session`].

pub mod auth;
pub mod endpoint;
pub mod failure;
#[doc(hidden)]
pub mod fuzz;
pub mod message;
pub mod pace;
pub mod quota;
pub mod retry;
pub mod seam;
pub mod session;
pub mod verdict;

use crate::media::Samples;

/// The text of one part, joined from every final segment of its session.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Recognition {
    /// The words; empty when the recogniser heard none.
    pub text: String,
    /// Mean score of the segments, 0 to 1, where the service gave one.
    pub confidence: Option<f64>,
    /// Word timings from the start of the audio, if asked for.
    pub words: Vec<Word>,
    /// The service's name for the session, for its support desk.
    pub trace_id: String,
    /// Sessions it took, the successful one included.
    pub attempts: u32,
    /// From the last audio sent to the final text, in milliseconds.
    pub latency_ms: u64,
}

/// A word and where it stands in the audio that was recognised.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Word {
    /// The word; a character, in Mandarin.
    pub text: String,
    /// Start, from the start of the audio.
    pub start: Samples,
    /// End, from the start of the audio.
    pub end: Samples,
}
