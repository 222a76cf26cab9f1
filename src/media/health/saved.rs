//! What was said of a port, to be saved.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Health;
use crate::moment::Moment;

/// A [`Health`] between two processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SavedHealth {
    bad_payload: Option<Moment>,
    source_rejected: Option<Moment>,
    ssrc_changed: Option<Moment>,
}

impl Health {
    pub(crate) fn save(&self, now: Instant) -> SavedHealth {
        let moment = |at: Option<Instant>| at.map(|at| Moment::new(at, now));
        SavedHealth {
            bad_payload: moment(self.bad_payload),
            source_rejected: moment(self.source_rejected),
            ssrc_changed: moment(self.ssrc_changed),
        }
    }

    pub(crate) fn restore(saved: SavedHealth, saved_at: Instant) -> Self {
        let instant = |moment: Option<Moment>| moment.map(|moment| moment.at(saved_at));
        Self {
            bad_payload: instant(saved.bad_payload),
            source_rejected: instant(saved.source_rejected),
            ssrc_changed: instant(saved.ssrc_changed),
        }
    }
}
