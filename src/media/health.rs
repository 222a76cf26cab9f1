//! Health: what is wrong on the port, said once and not once a packet.

mod saved;

use std::time::{Duration, Instant};

use crate::event::HealthState;
use crate::media::receiver::Output;
pub(crate) use saved::SavedHealth;

/// Says each trouble once until all of them have been over for a while.
#[derive(Debug, Default)]
pub(crate) struct Health {
    bad_payload: Option<Instant>,
    source_rejected: Option<Instant>,
    ssrc_changed: Option<Instant>,
}

/// What a receiver can find wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    BadPayload,
    SourceRejected,
    SsrcChanged,
}

impl Health {
    /// Takes note of a trouble; gives what to say of it, if it was not said.
    pub(crate) fn report(
        &mut self,
        trouble: Trouble,
        now: Instant,
        detail: impl FnOnce() -> String,
    ) -> Option<Output> {
        let (last, state) = match trouble {
            Trouble::BadPayload => (&mut self.bad_payload, HealthState::BadPayload),
            Trouble::SourceRejected => (&mut self.source_rejected, HealthState::SourceRejected),
            Trouble::SsrcChanged => (&mut self.ssrc_changed, HealthState::SsrcChanged),
        };
        let is_new = last.replace(now).is_none();
        is_new.then(|| Output::Health {
            state,
            detail: detail(),
        })
    }

    /// Audio is heard: gives the all-clear once the last trouble is over.
    pub(crate) fn settle(&mut self, now: Instant) -> Option<Output> {
        let last = self
            .bad_payload
            .max(self.source_rejected)
            .max(self.ssrc_changed)?;
        if now.saturating_duration_since(last) < SETTLED {
            return None;
        }
        *self = Self::default();
        Some(Output::Health {
            state: HealthState::Ok,
            detail: String::from("audio is heard"),
        })
    }
}

/// A trouble that did not recur for so long is over.
const SETTLED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_once_and_again_after_the_all_clear() {
        let mut health = Health::default();
        let now = epoch();
        let report = |health: &mut Health, now| {
            health
                .report(Trouble::SourceRejected, now, String::new)
                .is_some()
        };
        assert!(report(&mut health, now));
        assert!(!report(&mut health, now + Duration::from_secs(9)));
        assert_eq!(health.settle(now + Duration::from_secs(18)), None);
        let clear = health.settle(now + Duration::from_secs(19));
        assert!(matches!(
            clear,
            Some(Output::Health {
                state: HealthState::Ok,
                ..
            })
        ));
        assert!(report(&mut health, now + Duration::from_secs(20)));
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
    fn epoch() -> Instant {
        Instant::now()
    }
}
