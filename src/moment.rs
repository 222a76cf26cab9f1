//! Instants that outlive the process: what a saved state has in their place.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// An instant, as a distance from the one at which the state around it was saved.
///
/// An [`Instant`] means nothing to another process. Who restores a state says when it was saved, on
/// the clock of his own, and gets his own instants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// In microseconds; negative before the state was saved.
    offset: i64,
}

impl Moment {
    /// What `at` is to a state that is saved at `saved_at`.
    pub fn new(at: Instant, saved_at: Instant) -> Self {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let offset = if at >= saved_at {
            micros(at - saved_at)
        } else {
            -micros(saved_at - at)
        };
        Self { offset }
    }

    /// The instant again, of a state that was saved at `saved_at`; never before the clock began.
    pub fn at(self, saved_at: Instant) -> Instant {
        let distance = Duration::from_micros(self.offset.unsigned_abs());
        let moved = if self.offset < 0 {
            saved_at.checked_sub(distance)
        } else {
            saved_at.checked_add(distance)
        };
        moved.unwrap_or(saved_at)
    }
}

/// The time between two processes in which nobody listened.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// When the state was saved that is gone on with.
    pub since: Instant,
    /// When somebody listens again.
    pub until: Instant,
}

impl Absence {
    /// How long it lasts.
    pub fn duration(self) -> Duration {
        self.until.saturating_duration_since(self.since)
    }

    /// A moment from which silence is counted: the absence is none of it.
    pub fn silent_since(self, moment: Moment) -> Instant {
        moment.at(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
    fn instants_keep_their_distance_on_another_clock() {
        let (saved_at, restored) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let (before, after) = (Duration::from_millis(7), Duration::from_secs(3));
        assert_eq!(
            Moment::new(saved_at - before, saved_at).at(restored),
            restored - before
        );
        assert_eq!(
            Moment::new(saved_at + after, saved_at).at(restored),
            restored + after
        );
    }
}
