//! From frames to utterances, and from utterances to parts that one recognition can hold.
//!
//! [`utterance::Segmenter`] is the circuit: frames in, [`Output`]s out.

pub mod cut;
pub mod utterance;
pub mod voice;

use crate::media::{Frame, Samples};

/// What the segmenter asks of the leg. For one utterance the order is `Started`, then for each part `PartOpened`,
/// `LeadIn`…, `Audio`…, `PartClosed`, then `Ended`; the parts tile the utterance without overlap or hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Speech began.
    Started {
        /// Ordinal of the utterance on its leg, from 0.
        utterance: u64,
        /// Onset, less the pre-roll.
        start: Samples,
    },
    /// A piece that fits one recognition begins; its audio follows.
    PartOpened {
        /// Ordinal of the utterance on its leg.
        utterance: u64,
        /// Ordinal of the part in its utterance, from 0.
        part: u32,
        /// Where the part starts on the call clock.
        start: Samples,
        /// How much of the part before its recogniser is to hear again; zero but after a cut within words.
        lead_in: Samples,
    },
    /// The next frame of the lead-in: it belongs to the part before, and only helps to understand this one.
    LeadIn(Frame),
    /// The next frame of the open part.
    Audio(Frame),
    /// The open part is complete.
    PartClosed {
        /// Where the part ends on the call clock.
        end: Samples,
        /// Received samples in the part: what the ledger calls speech.
        speech: Samples,
        /// Whether the utterance ends with this part.
        last: bool,
    },
    /// Speech ended.
    Ended {
        /// Ordinal of the utterance on its leg.
        utterance: u64,
        /// Where the utterance started.
        start: Samples,
        /// Where it ended: the end of its last part.
        end: Samples,
    },
}
