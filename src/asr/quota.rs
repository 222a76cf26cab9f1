//! Who may open a session: a fair queue in front of a limit that only the service knows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How many sessions there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions at one time, over all workers, 1 to 100,000. Default 1,000.
    pub max_sessions: u32,
    /// How long a complete part may wait for a session. Default 20 s.
    pub max_wait: Duration,
    /// How long after a refusal, and after each step, one session more is tried. Default 10 s.
    pub probe_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sessions: 1_000,
            max_wait: Duration::from_secs(20),
            probe_interval: Duration::from_secs(10),
        }
    }
}

/// A place in the queue. The order is that of service: live speech before backlog, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    urgency: Urgency,
    since: Instant,
    serial: u64,
}

/// How urgent a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody is speaking it, or just did.
    Live,
    /// It waited on disk.
    Backlog,
}

/// Grants sessions in order. A refusal by the service brings the limit down to the sessions it
/// did accept; from there it grows by one in each probe interval, back to the configured maximum.
///
/// [`poll_granted`](Self::poll_granted) is drained after each input.
#[derive(Debug)]
pub struct Quota {
    settings: Settings,
    limit: u32,
    in_use: u32,
    waiting: BTreeSet<Ticket>,
    /// When the limit grows; none while it is at its maximum.
    probe_at: Option<Instant>,
    serial: u64,
    refusals: u64,
}

impl Quota {
    /// A quota with nobody in it.
    pub fn new(settings: Settings) -> Self {
        Self {
            limit: settings.max_sessions,
            settings,
            in_use: 0,
            waiting: BTreeSet::new(),
            probe_at: None,
            serial: 0,
            refusals: 0,
        }
    }

    /// A part that began at `since` wants a session.
    pub fn handle_request(&mut self, urgency: Urgency, since: Instant) -> Ticket {
        self.serial += 1;
        let ticket = Ticket {
            urgency,
            since,
            serial: self.serial,
        };
        self.waiting.insert(ticket);
        ticket
    }

    /// A part no longer wants what it waited for, or was granted.
    pub fn handle_release(&mut self, ticket: Ticket) {
        if !self.waiting.remove(&ticket) {
            self.in_use = self.in_use.saturating_sub(1);
        }
    }

    /// The service refused a session for want of quota; it still counts as in use.
    pub fn handle_refusal(&mut self, now: Instant) {
        self.refusals += 1;
        self.limit = self.in_use.saturating_sub(1).clamp(1, self.limit);
        self.probe_at = Some(now + self.settings.probe_interval);
    }

    /// There may be more sessions from now on, or fewer; those that are open stay. What the service
    /// refused before is forgotten: the new limit may come with a larger quota.
    pub fn handle_settings(&mut self, settings: Settings) {
        if settings.max_sessions != self.settings.max_sessions {
            self.limit = settings.max_sessions;
            self.probe_at = None;
        }
        self.settings = settings;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.probe_at.is_some_and(|at| at <= now) {
            self.limit = (self.limit + 1).min(self.settings.max_sessions);
            let below = self.limit < self.settings.max_sessions;
            self.probe_at = below.then(|| now + self.settings.probe_interval);
        }
    }

    /// The next part that may open its session.
    pub fn poll_granted(&mut self) -> Option<Ticket> {
        if self.in_use >= self.limit {
            return None;
        }
        let ticket = self.waiting.pop_first()?;
        self.in_use += 1;
        Some(ticket)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.probe_at
    }

    /// What the metrics show.
    pub fn usage(&self) -> Usage {
        Usage {
            in_use: self.in_use,
            limit: self.limit,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            refusals: self.refusals,
        }
    }
}

/// How much of the quota is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Sessions that are open or being opened.
    pub in_use: u32,
    /// Sessions there may be at present.
    pub limit: u32,
    /// Parts that wait for a session.
    pub waiting: u32,
    /// How often the service refused one for want of quota.
    pub refusals: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: Duration = Duration::from_secs(10);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin of virtual time"
    )]
    fn quota(max_sessions: u32) -> (Quota, Instant) {
        let settings = Settings {
            max_sessions,
            ..Settings::default()
        };
        (Quota::new(settings), Instant::now())
    }

    fn grant(quota: &mut Quota) -> Vec<Ticket> {
        std::iter::from_fn(|| quota.poll_granted()).collect()
    }

    #[test]
    fn oldest_speech_comes_first_and_live_before_backlog() {
        let (mut quota, epoch) = quota(1);
        let first = quota.handle_request(Urgency::Live, epoch);
        assert_eq!(grant(&mut quota), [first]);
        let backlog = quota.handle_request(Urgency::Backlog, epoch);
        let late = quota.handle_request(Urgency::Live, epoch + STEP * 2);
        let early = quota.handle_request(Urgency::Live, epoch + STEP);
        let mut last = first;
        for expected in [early, late, backlog] {
            assert_eq!(grant(&mut quota), []);
            quota.handle_release(last);
            assert_eq!(grant(&mut quota), [expected]);
            last = expected;
        }
    }

    #[test]
    fn new_limit_lets_those_in_who_wait_and_touches_nobody_inside() {
        let (mut quota, epoch) = quota(1);
        let tickets: Vec<_> = (0..3)
            .map(|_| quota.handle_request(Urgency::Live, epoch))
            .collect();
        assert_eq!(grant(&mut quota), tickets[..1]);
        let of = |max_sessions| Settings {
            max_sessions,
            ..Settings::default()
        };
        quota.handle_settings(of(2));
        assert_eq!(grant(&mut quota), tickets[1..2]);
        quota.handle_settings(of(1));
        quota.handle_release(tickets[0]);
        assert_eq!(grant(&mut quota), []);
        quota.handle_release(tickets[1]);
        assert_eq!(grant(&mut quota), tickets[2..]);
    }

    #[test]
    fn refusals_shrink_the_limit_to_what_the_service_takes_and_it_probes_back() {
        let (mut quota, epoch) = quota(12);
        let tickets: Vec<_> = (0..12)
            .map(|_| quota.handle_request(Urgency::Live, epoch))
            .collect();
        assert_eq!(grant(&mut quota).len(), 12);
        // The service takes ten.
        for ticket in &tickets[10..] {
            quota.handle_refusal(epoch);
            quota.handle_release(*ticket);
        }
        assert_eq!(quota.usage().limit, 10);
        let again = quota.handle_request(Urgency::Live, epoch);
        assert_eq!(grant(&mut quota), []);
        quota.handle_timeout(epoch + STEP);
        assert_eq!(grant(&mut quota), [again]);
        quota.handle_timeout(epoch + STEP * 2);
        assert_eq!(quota.usage().limit, 12);
        assert_eq!(quota.poll_timeout(), None);
    }

    #[test]
    fn one_session_is_always_left_to_try_with() {
        let (mut quota, epoch) = quota(5);
        let ticket = quota.handle_request(Urgency::Live, epoch);
        grant(&mut quota);
        quota.handle_refusal(epoch);
        quota.handle_refusal(epoch);
        quota.handle_release(ticket);
        assert_eq!(quota.usage().limit, 1);
        assert_eq!(quota.usage().refusals, 2);
    }

    #[test]
    fn part_that_stops_waiting_leaves_no_trace() {
        let (mut quota, epoch) = quota(1);
        let held = quota.handle_request(Urgency::Live, epoch);
        grant(&mut quota);
        let gone = quota.handle_request(Urgency::Live, epoch);
        quota.handle_release(gone);
        quota.handle_release(held);
        assert_eq!(grant(&mut quota), []);
        assert_eq!(
            quota.usage(),
            Usage {
                limit: 1,
                ..Usage::default()
            }
        );
    }

    proptest! {
        #[test]
        fn limit_is_never_passed_and_nobody_is_forgotten(
            steps in prop::collection::vec((0_u8..4, 0_u64..30), 0..200),
            max in 1_u32..8,
        ) {
            let (mut quota, mut now) = quota(max);
            let (mut held, mut waiting) = (vec![], 0_usize);
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0 | 1 => {
                        quota.handle_request(Urgency::Live, now);
                        waiting += 1;
                    }
                    2 if !held.is_empty() => quota.handle_release(held.remove(0)),
                    3 if !held.is_empty() => quota.handle_refusal(now),
                    _ => {}
                }
                quota.handle_timeout(now);
                let granted = grant(&mut quota);
                waiting -= granted.len();
                held.extend(granted);
                prop_assert!(held.len() <= max as usize);
                let usage = quota.usage();
                let told = (usage.in_use as usize, usage.waiting as usize);
                prop_assert_eq!(told, (held.len(), waiting));
                prop_assert!(waiting == 0 || usage.in_use >= usage.limit);
            }
        }
    }
}
