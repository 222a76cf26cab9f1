//! A key that is down, to be saved.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{EventId, Keypad, Press};
use crate::media::Samples;
use crate::moment::Moment;

/// A [`Keypad`] between two processes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedKeypad {
    pressed: Option<SavedPress>,
    reported: Option<(EventId, Moment)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPress {
    id: EventId,
    start: Samples,
    before: u64,
    duration: u16,
    last: Moment,
}

impl Keypad {
    pub(crate) fn save(&self, now: Instant) -> SavedKeypad {
        SavedKeypad {
            pressed: self.pressed.map(|press| SavedPress {
                id: press.id,
                start: press.start,
                before: press.before,
                duration: press.duration,
                last: Moment::new(press.last, now),
            }),
            reported: self.reported.map(|(id, at)| (id, Moment::new(at, now))),
        }
    }

    pub(crate) fn restore(saved: &SavedKeypad, saved_at: Instant) -> Self {
        Self {
            pressed: saved.pressed.as_ref().map(|press| Press {
                id: press.id,
                start: press.start,
                before: press.before,
                duration: press.duration,
                last: press.last.at(saved_at),
            }),
            reported: saved.reported.map(|(id, at)| (id, at.at(saved_at))),
        }
    }
}
