//! Whether the time of day may be believed: a clock that has jumped must not delete what is kept for a time.
//!
//! A clock that is set far ahead makes every line too old. It cannot be told from a daemon that was off for as long; so
//! after any jump nothing is done by age until the clock is back where it was, or has gone on for a day.

/// A jump by more than this is doubted, unless lines are kept for less than ten of them.
const JUMP_MS: i64 = DAY_MS;

/// How long a clock must go on after a jump to be believed.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The clock as it was seen, from one run of the daemon to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// When it was looked at last, by itself.
    pub(super) seen_ms: i64,
    /// Why it is not believed, while it is not.
    pub(super) doubt: Option<Doubt>,
}

/// A jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Where the clock was before.
    pub(super) before_ms: i64,
    /// Where it has gone on from.
    pub(super) since_ms: i64,
}

impl Clock {
    /// A clock that has shown this, and is believed.
    pub(super) const fn new(seen_ms: i64) -> Self {
        Self {
            seen_ms,
            doubt: None,
        }
    }

    /// Looks at the clock; `true` if what is older than `max_age_ms` may go by it.
    pub(super) fn is_believed(&mut self, now_ms: i64, max_age_ms: i64) -> bool {
        let jump_ms = JUMP_MS.min(max_age_ms / 10);
        let is_near = |ms: i64| now_ms.abs_diff(ms) <= jump_ms.unsigned_abs();
        let has_jumped = !is_near(self.seen_ms);
        self.doubt = match self.doubt {
            Some(doubt) if is_near(doubt.before_ms) => None,
            Some(doubt) if has_jumped => Some(Doubt {
                since_ms: now_ms,
                ..doubt
            }),
            Some(doubt) => (now_ms.saturating_sub(doubt.since_ms) < DAY_MS).then_some(doubt),
            None => has_jumped.then_some(Doubt {
                before_ms: self.seen_ms,
                since_ms: now_ms,
            }),
        };
        self.seen_ms = now_ms;
        self.doubt.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const MONTH_MS: i64 = 30 * DAY_MS;
    const YEAR_MS: i64 = 365 * DAY_MS;

    /// What it says when it is looked at every minute from `from` on for so long.
    fn go_on(clock: &mut Clock, from_ms: i64, for_ms: i64) -> Vec<bool> {
        let looks = (0..=for_ms / MINUTE_MS).map(|minute| from_ms + minute * MINUTE_MS);
        looks
            .map(|now_ms| clock.is_believed(now_ms, MONTH_MS))
            .collect()
    }

    #[test]
    fn clock_that_goes_on_is_believed() {
        let mut clock = Clock::new(0);
        let said = go_on(&mut clock, 0, 3 * DAY_MS);
        assert!(said.iter().all(|&is_believed| is_believed));
        assert!(clock.is_believed(clock.seen_ms + DAY_MS, MONTH_MS));
    }

    #[test]
    fn clock_that_jumped_ahead_is_believed_again_when_it_is_back() {
        let mut clock = Clock::new(0);
        assert!(
            go_on(&mut clock, YEAR_MS, DAY_MS - MINUTE_MS)
                .iter()
                .all(|&is_believed| !is_believed)
        );
        assert!(clock.is_believed(DAY_MS, MONTH_MS));
    }

    #[test]
    fn clock_that_stays_where_it_jumped_to_is_believed_after_a_day() {
        let mut clock = Clock::new(0);
        let said = go_on(&mut clock, YEAR_MS, DAY_MS);
        let doubts = said.iter().filter(|&&is_believed| !is_believed).count();
        assert_eq!((doubts, said.last()), (24 * 60, Some(&true)));
    }

    #[test]
    fn clock_that_jumps_again_is_doubted_from_there() {
        let mut clock = Clock::new(0);
        go_on(&mut clock, YEAR_MS, DAY_MS / 2);
        let said = go_on(&mut clock, 3 * YEAR_MS, DAY_MS - MINUTE_MS);
        assert!(said.iter().all(|&is_believed| !is_believed));
    }

    #[test]
    fn clock_that_fell_back_is_doubted_too() {
        let mut clock = Clock::new(50 * YEAR_MS);
        assert!(!clock.is_believed(0, MONTH_MS));
        assert!(clock.is_believed(50 * YEAR_MS + MINUTE_MS, MONTH_MS));
    }

    #[test]
    fn jump_of_less_than_a_day_matters_to_lines_that_are_kept_for_a_day() {
        let mut clock = Clock::new(0);
        assert!(!clock.is_believed(DAY_MS / 2, DAY_MS));
    }
}
