//! The open part, to be saved.

use serde::{Deserialize, Serialize};

use super::{Parts, cut};
use crate::media::Samples;
use crate::speech::utterance::saved::SavedFrame;

/// [`Parts`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::speech::utterance) struct SavedParts {
    utterance: u64,
    utterance_start: Samples,
    part: u32,
    part_start: Samples,
    put_out: Samples,
    speech: Samples,
    held: Vec<SavedFrame>,
}

impl Parts {
    pub(in crate::speech::utterance) fn save(&self) -> SavedParts {
        SavedParts {
            utterance: self.utterance,
            utterance_start: self.utterance_start,
            part: self.part,
            part_start: self.part_start,
            put_out: self.put_out,
            speech: self.speech,
            held: self.held.iter().map(SavedFrame::new).collect(),
        }
    }

    pub(in crate::speech::utterance) fn restore(
        saved: SavedParts,
        settings: cut::Settings,
    ) -> Self {
        let mut parts = Self {
            settings,
            utterance: saved.utterance,
            utterance_start: saved.utterance_start,
            part: saved.part,
            part_start: saved.part_start,
            put_out: saved.put_out,
            speech: saved.speech,
            held: std::collections::VecDeque::new(),
            held_len: Samples::ZERO,
            window: Vec::new(),
        };
        for frame in saved.held {
            parts.hold(frame.restore());
        }
        parts
    }
}
