//! The heard stream, to be saved.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Stream;
use crate::media::dtmf::{Digit, Keypad, SavedKeypad};
use crate::media::framer::{Framer, SavedFramer};
use crate::media::quiet::Quiet;
use crate::media::reception::Reception;
use crate::media::reorder::{Reorder, SavedReorder};
use crate::media::sequence::SequenceExtender;
use crate::media::settings::Settings;
use crate::media::statistics::Statistics;
use crate::media::timeline::Timeline;

/// A [`Stream`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedStream {
    sequence: SequenceExtender,
    reorder: SavedReorder,
    reception: Reception,
    timeline: Timeline,
    framer: SavedFramer,
    keypad: SavedKeypad,
    digits: Vec<Digit>,
    quiet: Quiet,
    is_speech: bool,
    may_resume: Option<i64>,
    total: Statistics,
}

impl Stream {
    pub(crate) fn save(&self, now: Instant) -> SavedStream {
        SavedStream {
            sequence: self.sequence,
            reorder: self.reorder.save(now),
            reception: self.reception,
            timeline: self.timeline.clone(),
            framer: self.framer.save(),
            keypad: self.keypad.save(now),
            digits: self.digits.clone(),
            quiet: self.quiet,
            is_speech: self.is_speech,
            may_resume: self.may_resume,
            total: self.total,
        }
    }

    pub(crate) fn restore(saved: SavedStream, settings: Arc<Settings>, saved_at: Instant) -> Self {
        Self {
            sequence: saved.sequence,
            reorder: Reorder::restore(saved.reorder, settings.reorder_wait, saved_at),
            reception: saved.reception,
            timeline: saved.timeline,
            framer: Framer::restore(saved.framer, settings.concealment),
            keypad: Keypad::restore(&saved.keypad, saved_at),
            digits: saved.digits,
            quiet: saved.quiet,
            is_speech: saved.is_speech,
            may_resume: saved.may_resume,
            total: saved.total,
            settings,
        }
    }
}
