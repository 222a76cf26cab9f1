//! What was found of a leg's health, to be saved.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Health;
use crate::event::HealthState;
use crate::moment::{Absence, Moment};

/// A [`Health`] between two processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedHealth {
    told: Option<HealthState>,
    detail: String,
    expected_since: Moment,
    last_frame: Option<Moment>,
    last_sound: Option<Moment>,
    fault: Option<(HealthState, String)>,
}

impl Health {
    /// What another process needs to go on.
    pub fn save(&self, now: Instant) -> SavedHealth {
        let moment = |at: Instant| Moment::new(at, now);
        SavedHealth {
            told: self.told,
            detail: self.detail.clone(),
            expected_since: moment(self.expected_since),
            last_frame: self.last_frame.map(moment),
            last_sound: self.last_sound.map(moment),
            fault: self.fault.clone(),
        }
    }

    /// Goes on with what was saved before an absence, which is nobody's silence.
    pub fn restore(saved: SavedHealth, absence: Absence) -> Self {
        let instant = |moment| absence.silent_since(moment);
        Self {
            told: saved.told,
            detail: saved.detail,
            expected_since: instant(saved.expected_since),
            last_frame: saved.last_frame.map(instant),
            last_sound: saved.last_sound.map(instant),
            fault: saved.fault,
        }
    }
}
