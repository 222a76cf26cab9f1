//! What a leg has not made a frame of, to be saved.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Framer, Run};
use crate::media::{FRAME_SAMPLES, Law, Samples};

/// A [`Framer`] between two processes. The sound before a hole is not kept: one that begins with
/// the restart is filled in from what follows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedFramer {
    position: Samples,
    law: Law,
    #[serde(with = "crate::octets")]
    frame: Vec<u8>,
    lost: usize,
    telephone_event: bool,
    runs: Vec<Run>,
    #[serde(with = "crate::octets")]
    audio: Vec<u8>,
    hole: usize,
}

impl Framer {
    pub(crate) fn save(&self) -> SavedFramer {
        SavedFramer {
            position: self.position,
            law: self.frame.law,
            frame: self.frame.g711[..self.frame.len].to_vec(),
            lost: self.frame.lost,
            telephone_event: self.frame.telephone_event,
            runs: self.runs.iter().copied().collect(),
            audio: self.audio.iter().copied().collect(),
            hole: self.hole,
        }
    }

    pub(crate) fn restore(saved: SavedFramer, conceals: bool) -> Self {
        let mut framer = Self::new(saved.position, saved.law, conceals);
        let len = saved.frame.len().min(FRAME_SAMPLES);
        framer.frame.g711[..len].copy_from_slice(&saved.frame[..len]);
        framer.frame.len = len;
        framer.frame.lost = saved.lost;
        framer.frame.telephone_event = saved.telephone_event;
        framer.runs = VecDeque::from(saved.runs);
        framer.audio = VecDeque::from(saved.audio);
        framer.hole = saved.hole;
        framer
    }
}
