//! How fast the backlog is recognised: one part at a time until the service proves well, then more.

use std::time::{Duration, Instant};

/// The pace of the backlog. A failure brings it down to one part at a time, after a pause that doubles.
#[derive(Clone, Debug)]
pub struct Pace {
    max: usize,
    allowed: usize,
    pause: Duration,
    not_before: Option<Instant>,
    successes: u64,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Pace {
    /// Up to `max` parts at a time.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            allowed: 1,
            pause: FIRST_PAUSE,
            not_before: None,
            successes: 0,
        }
    }

    /// A part has its text.
    pub fn handle_success(&mut self) {
        self.successes += 1;
        self.allowed = (self.allowed * 2).min(self.max);
        self.pause = FIRST_PAUSE;
        self.not_before = None;
    }

    /// A part failed for a reason that passes.
    pub fn handle_failure(&mut self, now: Instant) {
        self.allowed = 1;
        self.not_before = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Whether another part may begin beside so many.
    pub fn permits(&self, running: usize, now: Instant) -> bool {
        running < self.allowed && self.not_before.is_none_or(|at| now >= at)
    }

    /// Parts that have their text, ever.
    pub const fn successes(&self) -> u64 {
        self.successes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin of virtual time"
    )]
    fn failure_slows_down_and_success_speeds_up_to_the_bound() {
        let (mut pace, now) = (Pace::new(5), Instant::now());
        assert!(pace.permits(0, now) && !pace.permits(1, now));
        (0..3).for_each(|_| pace.handle_success());
        assert!(pace.permits(4, now) && !pace.permits(5, now));
        pace.handle_failure(now);
        assert!(!pace.permits(0, now));
        assert!(pace.permits(0, now + FIRST_PAUSE) && !pace.permits(1, now + FIRST_PAUSE));
        (0..10).for_each(|_| pace.handle_failure(now));
        assert!(pace.permits(0, now + LONGEST_PAUSE));
    }
}
