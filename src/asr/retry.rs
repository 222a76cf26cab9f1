//! When a part is run again, and when it is given up.

use std::time::{Duration, Instant};

use crate::asr::verdict::Verdict;
use crate::event::GapReason;

/// How hard a part is tried for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions that a part may open, 1 to 100. Default 8. Each is billed by its audio.
    pub attempts: u32,
    /// The pause before the second retry; it doubles from there. Default 250 ms.
    pub first_delay: Duration,
    /// The longest pause. Default 5 s.
    pub max_delay: Duration,
    /// For how long a part is tried after it has stopped growing. Default 60 s.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 8,
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            deadline: Duration::from_secs(60),
        }
    }
}

/// The retries of one part.
#[derive(Clone, Debug)]
pub struct Schedule {
    settings: Settings,
    /// The audio there was at the last failure, and when it was last seen to have grown.
    audio: Duration,
    grown: Instant,
    sessions: u32,
    failures: u32,
    credentials_renewed: bool,
    random: u64,
}

/// What becomes of a part after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again then.
    RetryAt(Instant),
    /// Renew the credentials that were refused, then try again.
    RenewCredentials,
    /// Report a gap. `can_wait` when the same audio may be recognised at another time.
    GiveUp {
        /// Why.
        reason: GapReason,
        /// Whether trying again later could succeed.
        can_wait: bool,
    },
}

impl Schedule {
    /// The schedule of a part that began at `opened`. Parts with different seeds do not retry in
    /// step.
    pub fn new(settings: Settings, seed: u64, opened: Instant) -> Self {
        Self {
            settings,
            audio: Duration::ZERO,
            grown: opened,
            sessions: 0,
            failures: 0,
            credentials_renewed: false,
            random: seed,
        }
    }

    /// A handshake succeeded: a session begins.
    pub fn handle_session(&mut self) {
        self.sessions += 1;
    }

    /// A try failed and was judged; the part has `audio` so far.
    pub fn handle_failure(&mut self, verdict: Verdict, audio: Duration, now: Instant) -> Decision {
        self.failures += 1;
        if audio > self.audio {
            self.audio = audio;
            self.grown = now;
        }
        let pause = match verdict {
            Verdict::GiveUp(reason) => {
                return Decision::GiveUp {
                    reason,
                    can_wait: false,
                };
            }
            Verdict::StopAll(_) => return waiting(GapReason::AsrRejected),
            Verdict::NewCredentialsOnce if self.credentials_renewed => {
                return waiting(GapReason::AsrRejected);
            }
            Verdict::NewCredentialsOnce => {
                self.credentials_renewed = true;
                return Decision::RenewCredentials;
            }
            Verdict::RetryNow | Verdict::WithoutVocabulary if self.failures == 1 => Duration::ZERO,
            Verdict::RetryNow | Verdict::WithoutVocabulary => self.back_off(),
            Verdict::RetryLater(least) | Verdict::Throttled(least) => least + self.back_off(),
        };
        let deadline = self.grown + self.settings.deadline;
        if self.sessions >= self.settings.attempts || now + pause > deadline {
            return waiting(if matches!(verdict, Verdict::Throttled(_)) {
                GapReason::Quota
            } else {
                GapReason::AsrUnavailable
            });
        }
        Decision::RetryAt(now + pause)
    }

    /// Sessions begun.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Doubles with each failure; between half of that and all of it.
    fn back_off(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(2).min(16);
        let full = self.settings.first_delay * 2_u32.pow(doublings);
        let full = full.min(self.settings.max_delay);
        let half = full / 2;
        half + half.mul_f64(self.fraction())
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), as a number from 0 up to 1.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let upper = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default();
        f64::from(upper) / f64::from(u32::MAX)
    }
}

const fn waiting(reason: GapReason) -> Decision {
    Decision::GiveUp {
        reason,
        can_wait: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: Duration = Duration::from_secs(3);

    fn schedule(settings: Settings) -> (Schedule, Instant) {
        #[expect(
            clippy::disallowed_methods,
            reason = "an arbitrary origin of virtual time"
        )]
        let epoch = Instant::now();
        (Schedule::new(settings, 7, epoch), epoch)
    }

    #[test]
    fn first_retry_is_at_once_and_the_others_back_off() {
        let (mut schedule, epoch) = schedule(Settings::default());
        let mut pauses = vec![];
        for _ in 0..7 {
            let decision = schedule.handle_failure(Verdict::RetryNow, SPOKEN, epoch);
            let Decision::RetryAt(at) = decision else {
                panic!("{decision:?}")
            };
            pauses.push((at - epoch).as_millis());
        }
        assert_eq!(pauses[0], 0);
        for (pause, full) in pauses[1..].iter().zip([250, 500, 1000, 2000, 4000, 5000]) {
            assert!((full / 2..=full).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn equal_seeds_agree_and_different_seeds_do_not() {
        let (_, epoch) = schedule(Settings::default());
        let pause = |seed| {
            let mut schedule = Schedule::new(Settings::default(), seed, epoch);
            schedule.handle_failure(Verdict::RetryLater(Duration::ZERO), SPOKEN, epoch)
        };
        assert_eq!(pause(1), pause(1));
        assert_ne!(pause(1), pause(2));
    }

    #[test]
    fn sessions_are_limited_and_failed_connects_are_not() {
        let (mut schedule, epoch) = schedule(Settings {
            attempts: 2,
            ..Settings::default()
        });
        for _ in 0..20 {
            let unreachable = Verdict::RetryLater(Duration::ZERO);
            let decision = schedule.handle_failure(unreachable, SPOKEN, epoch);
            assert!(matches!(decision, Decision::RetryAt(_)));
        }
        schedule.handle_session();
        let decision = schedule.handle_failure(Verdict::RetryNow, SPOKEN, epoch);
        assert!(matches!(decision, Decision::RetryAt(_)));
        schedule.handle_session();
        let decision = schedule.handle_failure(Verdict::RetryNow, SPOKEN, epoch);
        assert_eq!(decision, waiting(GapReason::AsrUnavailable));
    }

    #[test]
    fn part_is_given_up_at_its_deadline() {
        let (mut schedule, epoch) = schedule(Settings::default());
        let mut fail = |seconds, audio| {
            let now = epoch + Duration::from_secs(seconds);
            schedule.handle_failure(Verdict::RetryNow, Duration::from_secs(audio), now)
        };
        assert!(matches!(fail(30, 20), Decision::RetryAt(_)));
        assert!(
            matches!(fail(70, 50), Decision::RetryAt(_)),
            "the part was still growing"
        );
        assert!(matches!(fail(120, 50), Decision::RetryAt(_)));
        assert_eq!(fail(131, 50), waiting(GapReason::AsrUnavailable));
    }

    #[test]
    fn refusal_by_quota_is_told_as_such() {
        let (mut schedule, epoch) = schedule(Settings::default());
        let throttled = Verdict::Throttled(Duration::from_secs(2));
        schedule.handle_failure(throttled, SPOKEN, epoch);
        let late = epoch + Duration::from_secs(59);
        let decision = schedule.handle_failure(throttled, SPOKEN, late);
        assert_eq!(decision, waiting(GapReason::Quota));
    }

    #[test]
    fn credentials_are_renewed_once_a_part() {
        let (mut schedule, epoch) = schedule(Settings::default());
        let mut refuse = || schedule.handle_failure(Verdict::NewCredentialsOnce, SPOKEN, epoch);
        assert_eq!(refuse(), Decision::RenewCredentials);
        assert_eq!(refuse(), waiting(GapReason::AsrRejected));
    }

    #[test]
    fn rejected_part_does_not_wait() {
        let (mut schedule, epoch) = schedule(Settings::default());
        let verdict = Verdict::GiveUp(GapReason::AsrRejected);
        let decision = schedule.handle_failure(verdict, SPOKEN, epoch);
        let expected = Decision::GiveUp {
            reason: GapReason::AsrRejected,
            can_wait: false,
        };
        assert_eq!(decision, expected);
    }
}
