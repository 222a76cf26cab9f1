//! A token that is renewed: when to use it, when to fetch another, when to leave it.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use crate::asr::failure::Failure;
use crate::asr::verdict::LOCK_OUT;

/// The token in use and what is known about it.
///
/// The shell asks [`need`](TokenCache::need), fetches when told to (one fetch at a time), and
/// reports what came of fetches and handshakes.
#[derive(Debug, Default)]
pub struct TokenCache {
    is_fixed: bool,
    token: Option<Token>,
    generation: u64,
    refused: Option<SecretString>,
    trouble: Option<Trouble>,
    failures: u32,
}

/// What to do before a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Use the token.
    Nothing,
    /// Use the token, and let one caller fetch another.
    RefreshAhead,
    /// Fetch a token first.
    Fetch,
    /// Nothing can be fetched for now; this is why.
    Wait(Failure),
}

/// What came of a handshake that the service refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is, or will be, another token to try.
    Renewable,
    /// The token had never been accepted: another one would fare no better.
    Final,
}

impl TokenCache {
    /// A secret that is never fetched and stays in use even when it is refused.
    pub fn fixed(secret: SecretString) -> Self {
        let token = Token {
            secret,
            proven: false,
            renew: None,
            expires: None,
        };
        Self {
            is_fixed: true,
            token: Some(token),
            ..Self::default()
        }
    }

    /// What to do before a handshake.
    pub fn need(&self, now: Instant) -> Need {
        let barred = self.trouble.as_ref().filter(|trouble| trouble.until > now);
        match (&self.token, barred) {
            (Some(token), _) if token.expires.is_none_or(|at| now < at) => {
                let due = token.renew.is_some_and(|at| at <= now);
                match due && barred.is_none() {
                    true => Need::RefreshAhead,
                    false => Need::Nothing,
                }
            }
            (_, Some(trouble)) => Need::Wait(trouble.failure.clone()),
            (_, None) => Need::Fetch,
        }
    }

    /// The token and its generation, which grows with each new one.
    pub fn current(&self) -> Option<(&SecretString, u64)> {
        let token = self.token.as_ref()?;
        Some((&token.secret, self.generation))
    }

    /// The generation of the last token.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Until when the token is used, where that is known.
    pub fn expires(&self) -> Option<Instant> {
        self.token.as_ref()?.expires
    }

    /// Whether the service has accepted the token.
    pub fn is_proven(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.proven)
    }

    /// A token was fetched; it is to be fetched again after half its lifetime, if it has one, and
    /// not used in its last minute, or in the last quarter of a short life.
    pub fn handle_fetched(
        &mut self,
        secret: SecretString,
        lifetime: Option<Duration>,
        now: Instant,
    ) {
        if self
            .refused
            .as_ref()
            .is_some_and(|old| is_same(old, &secret))
        {
            self.handle_fetch_failed(
                Failure::NoCredentials {
                    detail: "there is only the token that was refused".into(),
                    passing: false,
                },
                now,
            );
            return;
        }
        let old = self
            .token
            .take()
            .filter(|old| is_same(&old.secret, &secret));
        if old.is_none() {
            self.generation += 1;
        }
        self.token = Some(Token {
            secret,
            proven: old.is_some_and(|old| old.proven),
            renew: lifetime.map(|life| now + life / 2),
            expires: lifetime.map(|life| now + life - MARGIN.min(life / 4)),
        });
        self.trouble = None;
        self.failures = 0;
    }

    /// No token could be fetched. The next try waits: a little while for what may pass, longer for
    /// a refusal, so that no account is locked.
    pub fn handle_fetch_failed(&mut self, failure: Failure, now: Instant) {
        let passing = matches!(failure, Failure::NoCredentials { passing: true, .. });
        let pause = match passing {
            true => (FIRST_PAUSE * 2_u32.pow(self.failures.min(5))).min(LAST_PAUSE),
            false => LOCK_OUT,
        };
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(Trouble {
            failure,
            until: now + pause,
        });
    }

    /// A handshake with the token of that generation succeeded.
    pub fn handle_accepted(&mut self, generation: u64) {
        if generation == self.generation
            && let Some(token) = &mut self.token
        {
            token.proven = true;
        }
    }

    /// A handshake with the token of that generation was refused.
    pub fn handle_refused(&mut self, generation: u64) -> Refusal {
        if generation != self.generation || self.token.is_none() {
            return Refusal::Renewable;
        }
        if self.is_fixed {
            self.token.iter_mut().for_each(|token| token.proven = false);
            return Refusal::Final;
        }
        let refused = self.token.take();
        let proven = refused.as_ref().is_some_and(|token| token.proven);
        self.refused = refused.map(|token| token.secret);
        match proven {
            true => Refusal::Renewable,
            false => Refusal::Final,
        }
    }
}

#[derive(Debug)]
struct Token {
    secret: SecretString,
    proven: bool,
    renew: Option<Instant>,
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    failure: Failure,
    until: Instant,
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// A token in its last minute may expire on its way.
const MARGIN: Duration = Duration::from_secs(60);

/// The pause after the first fetch that failed for a passing reason; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin of virtual time"
    )]
    fn with_token() -> (TokenCache, Instant) {
        let epoch = Instant::now();
        let mut cache = TokenCache::default();
        assert_eq!(cache.need(epoch), Need::Fetch);
        cache.handle_fetched("one".into(), Some(DAY), epoch);
        (cache, epoch)
    }

    fn outage() -> Failure {
        Failure::NoCredentials {
            detail: "IAM is away".into(),
            passing: true,
        }
    }

    #[test]
    fn token_is_renewed_at_half_its_life_and_used_until_its_end() {
        let (cache, epoch) = with_token();
        assert_eq!(cache.need(epoch + DAY / 2 - MARGIN), Need::Nothing);
        assert_eq!(cache.need(epoch + DAY / 2), Need::RefreshAhead);
        assert_eq!(cache.need(epoch + DAY - MARGIN * 2), Need::RefreshAhead);
        assert_eq!(cache.need(epoch + DAY - MARGIN), Need::Fetch);
    }

    #[test]
    fn token_with_a_life_of_seconds_is_used_for_most_of_it() {
        let (mut cache, epoch) = with_token();
        let life = Duration::from_secs(8);
        cache.handle_fetched("short".into(), Some(life), epoch);
        assert_eq!(cache.need(epoch + life / 4), Need::Nothing);
        assert_eq!(cache.need(epoch + life / 2), Need::RefreshAhead);
        assert_eq!(cache.need(epoch + life * 3 / 4), Need::Fetch);
    }

    #[test]
    fn outage_of_the_identity_service_leaves_the_old_token_in_use() {
        let (mut cache, epoch) = with_token();
        let now = epoch + DAY / 2;
        cache.handle_fetch_failed(outage(), now);
        assert_eq!(cache.need(now), Need::Nothing);
        assert_eq!(cache.need(now + FIRST_PAUSE), Need::RefreshAhead);
    }

    #[test]
    fn outage_without_a_token_is_not_hammered() {
        let (mut cache, epoch) = with_token();
        let mut now = epoch + DAY;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            cache.handle_fetch_failed(outage(), now);
            let pause = Duration::from_secs(pause);
            assert_eq!(
                cache.need(now + pause - Duration::from_millis(1)),
                Need::Wait(outage())
            );
            now += pause;
            assert_eq!(cache.need(now), Need::Fetch);
        }
    }

    #[test]
    fn wrong_password_is_not_tried_again_for_five_minutes() {
        let (mut cache, epoch) = with_token();
        let now = epoch + DAY;
        let refused = Failure::NoCredentials {
            detail: "The username or password is wrong.".into(),
            passing: false,
        };
        cache.handle_fetch_failed(refused.clone(), now);
        assert_eq!(cache.need(now + LOCK_OUT - MARGIN), Need::Wait(refused));
    }

    #[test]
    fn token_that_worked_is_renewed_when_refused_and_a_fresh_one_is_not() {
        let (mut cache, epoch) = with_token();
        cache.handle_accepted(1);
        assert_eq!(cache.handle_refused(1), Refusal::Renewable);
        assert_eq!(cache.need(epoch), Need::Fetch);
        cache.handle_fetched("two".into(), Some(DAY), epoch);
        assert_eq!(
            cache.handle_refused(1),
            Refusal::Renewable,
            "a late answer to the old token"
        );
        assert_eq!(cache.need(epoch), Need::Nothing);
        assert_eq!(cache.handle_refused(2), Refusal::Final);
    }

    #[test]
    fn refused_token_is_not_taken_again() {
        let (mut cache, epoch) = with_token();
        cache.handle_accepted(1);
        cache.handle_refused(1);
        cache.handle_fetched("one".into(), None, epoch);
        assert!(matches!(cache.need(epoch), Need::Wait(_)));
        cache.handle_fetched("two".into(), None, epoch);
        assert_eq!(cache.need(epoch), Need::Nothing);
        assert_eq!(cache.generation(), 2);
    }

    #[test]
    fn fixed_secret_stays_but_must_prove_itself_again() {
        let (_, epoch) = with_token();
        let mut cache = TokenCache::fixed("one".into());
        cache.handle_accepted(0);
        assert!(cache.is_proven());
        assert_eq!(cache.handle_refused(0), Refusal::Final);
        assert!(!cache.is_proven());
        assert_eq!(cache.need(epoch), Need::Nothing);
    }

    #[test]
    fn same_token_read_again_stays_proven() {
        let (mut cache, epoch) = with_token();
        cache.handle_accepted(1);
        cache.handle_fetched("one".into(), None, epoch);
        assert!(cache.is_proven());
        assert_eq!(cache.generation(), 1);
    }
}
