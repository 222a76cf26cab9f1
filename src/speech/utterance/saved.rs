//! An utterance on its way, to be saved.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parts::{Heard, Parts, SavedParts};
use super::withheld::Withheld;
use super::{Phase, Segmenter, Settings, Verdicts};
use crate::media::{FRAME_SAMPLES, Frame, Law, Samples, g711};
use crate::speech::voice::{self, VoiceActivity};

/// How much of what has no place yet is saved with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything: the next packet is heard as if there had been no restart.
    Handover,
    /// All but the audio before an onset that may come, which is most of what a silent leg is: good
    /// enough where packets are lost anyway.
    Checkpoint,
}

impl Depth {
    /// Utterances that readers may have been told of after the state was saved and before the crash: their numbers are
    /// not used again. One takes longer than half a second.
    const fn unsaved_utterances(self) -> u64 {
        match self {
            Self::Handover => 0,
            Self::Checkpoint => 4,
        }
    }
}

/// A [`Segmenter`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedSegmenter {
    position: Option<Samples>,
    law: Law,
    verdicts: Verdicts,
    withheld: Vec<SavedFrame>,
    speech: Option<SavedSpeech>,
    next_utterance: u64,
    detector: Vec<f32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedSpeech {
    parts: SavedParts,
    pause: Samples,
    quiet: Samples,
}

/// A frame with what the detector made of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedFrame {
    start: Samples,
    law: Law,
    #[serde(with = "crate::octets")]
    g711: Vec<u8>,
    lost: u8,
    telephone_event: bool,
    is_speech: bool,
    level: f32,
}

impl Segmenter {
    /// What another process needs to go on; its outputs must have been drained.
    pub fn save(&self, depth: Depth) -> SavedSegmenter {
        let speech = match &self.phase {
            Phase::Silence => None,
            Phase::Speech {
                parts,
                pause,
                quiet,
            } => Some(SavedSpeech {
                parts: parts.save(),
                pause: *pause,
                quiet: *quiet,
            }),
        };
        let is_needed = speech.is_some() || depth == Depth::Handover;
        let withheld = self.withheld.iter().filter(|_| is_needed);
        let detector = is_needed.then(|| self.detector.memory());
        SavedSegmenter {
            position: self.position,
            law: self.law,
            verdicts: self.verdicts,
            withheld: withheld.map(SavedFrame::new).collect(),
            speech,
            next_utterance: self.next_utterance + depth.unsaved_utterances(),
            detector: detector.unwrap_or_default(),
        }
    }

    /// Goes on with what was saved.
    pub fn restore(
        saved: SavedSegmenter,
        settings: Arc<Settings>,
        mut detector: Box<dyn VoiceActivity>,
    ) -> Self {
        detector.recall(&saved.detector);
        let mut withheld = Withheld::default();
        for frame in saved.withheld {
            withheld.push(frame.restore());
        }
        let phase = match saved.speech {
            None => Phase::Silence,
            Some(speech) => Phase::Speech {
                parts: Box::new(Parts::restore(speech.parts, settings.cut)),
                pause: speech.pause,
                quiet: speech.quiet,
            },
        };
        Self {
            settings,
            next_settings: None,
            detector,
            position: saved.position,
            law: saved.law,
            verdicts: saved.verdicts,
            withheld,
            phase,
            next_utterance: saved.next_utterance,
            level: voice::FLOOR_DBFS,
            outputs: VecDeque::new(),
        }
    }
}

impl SavedFrame {
    pub(super) fn new(heard: &Heard) -> Self {
        let frame = &heard.frame;
        Self {
            start: frame.start,
            law: frame.law,
            g711: frame.bytes().to_vec(),
            lost: frame.lost,
            telephone_event: frame.telephone_event,
            is_speech: heard.is_speech,
            level: heard.level,
        }
    }

    pub(super) fn restore(self) -> Heard {
        let len = self.g711.len().min(FRAME_SAMPLES);
        let mut samples = [g711::silence(self.law); FRAME_SAMPLES];
        samples[..len].copy_from_slice(&self.g711[..len]);
        let frame = Frame {
            start: self.start,
            law: self.law,
            g711: samples,
            len: u8::try_from(len).unwrap_or(u8::MAX),
            lost: self.lost,
            telephone_event: self.telephone_event,
        };
        Heard {
            frame,
            is_speech: self.is_speech,
            level: self.level,
        }
    }
}
