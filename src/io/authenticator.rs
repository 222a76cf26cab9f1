//! Keeps credentials fresh, and keeps everybody back when they are refused.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads clocks and waits"
)]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::token_source::{self, FreshToken, lacking};
use super::transport::Connector;
use crate::asr::auth::Credentials;
use crate::asr::auth::iam::IamUser;
use crate::asr::auth::token::{Need, Refusal, TokenCache};
use crate::asr::endpoint::Endpoint;
use crate::asr::failure::Failure;

/// Gives each handshake its headers.
///
/// One fetch of a token runs at a time. As long as the service has not accepted the credentials,
/// one handshake at a time is made with them: an access key that is wrong is refused once, not
/// once for every call, and does not lock.
#[derive(Debug)]
pub struct Authenticator {
    credentials: Credentials,
    endpoint: Endpoint,
    connector: Connector,
    cache: Mutex<TokenCache>,
    halt: Mutex<Option<Halt>>,
    /// Held by who fetches; when the token file was last read.
    fetching: tokio::sync::Mutex<Option<Instant>>,
    /// Held by who tries credentials that have not been accepted yet.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Authenticator {
    /// An authenticator for handshakes with `endpoint`; it fetches tokens by `connector`.
    pub fn new(credentials: Credentials, endpoint: Endpoint, connector: Connector) -> Self {
        let cache = match &credentials {
            Credentials::None => TokenCache::fixed(SecretString::default()),
            Credentials::FixedToken(token) => TokenCache::fixed(token.clone()),
            Credentials::AccessKey(key) => TokenCache::fixed(key.secret.clone()),
            Credentials::TokenFile(_) | Credentials::Password(_) => TokenCache::default(),
        };
        Self {
            credentials,
            endpoint,
            connector,
            cache: Mutex::new(cache),
            halt: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            turn: Arc::default(),
        }
    }

    /// Makes sure that there are credentials, and that they may be tried.
    ///
    /// # Errors
    /// When there are none to be had for now, or everything is halted.
    pub async fn prepare(&self) -> Result<(), Failure> {
        match &self.credentials {
            Credentials::TokenFile(path) => self.reread(path).await,
            Credentials::Password(user) => self.renew_if_due(user).await,
            Credentials::None | Credentials::FixedToken(_) | Credentials::AccessKey(_) => {}
        }
        self.check()
    }

    /// The headers of one handshake. Keep the pass until the answer was reported.
    ///
    /// # Errors
    /// When the credentials were refused meanwhile, or cannot be put in a header.
    pub async fn pass(&self) -> Result<Pass, Failure> {
        let turn = self.turn().await;
        self.check()?;
        let (secret, generation) = self
            .with_cache(|cache| cache.current().map(|(secret, n)| (secret.clone(), n)))
            .ok_or_else(|| lacking("the token was refused a moment ago", true))?;
        let fields = match &self.credentials {
            Credentials::None => vec![],
            Credentials::AccessKey(key) => key.sign(&self.endpoint, jiff::Timestamp::now()),
            Credentials::FixedToken(_) | Credentials::TokenFile(_) | Credentials::Password(_) => {
                vec![("x-auth-token", secret)]
            }
        };
        Ok(Pass {
            headers: headers(fields)?,
            generation,
            _turn: turn,
        })
    }

    /// The service accepted the handshake.
    pub fn accept(&self, pass: &Pass) {
        self.with_cache(|cache| cache.handle_accepted(pass.generation));
        let ended = self.halted().take();
        if ended.is_some() {
            tracing::info!("the recogniser accepts connections again");
        }
    }

    /// The service refused these credentials; returns whether others may be tried.
    pub fn renew(&self, generation: u64) -> bool {
        self.with_cache(|cache| cache.handle_refused(generation)) == Refusal::Renewable
    }

    /// Keeps every handshake back for a while, or until there are new credentials.
    pub fn halt(&self, failure: &Failure, hold: Duration) {
        let until = Instant::now() + hold;
        let generation = self.with_cache(|cache| cache.generation());
        let mut halt = self.halted();
        let is_longer = halt.as_ref().is_none_or(|old| old.until < until);
        if is_longer && !hold.is_zero() {
            tracing::error!(%failure, hold_s = hold.as_secs(), "no part can be recognised for now");
            *halt = Some(Halt {
                detail: failure.to_string(),
                generation,
                until,
            });
        }
    }

    /// Why everything is kept back, and for how much longer.
    pub fn alarm(&self) -> Option<(String, Duration)> {
        let now = Instant::now();
        let generation = self.with_cache(|cache| cache.generation());
        let halt = self.halted();
        let halt = halt.as_ref()?;
        let in_force = halt.until > now && halt.generation == generation;
        in_force.then(|| (halt.detail.clone(), halt.until - now))
    }

    /// How much longer the token in use is good for, where that is known.
    pub fn token_life(&self) -> Option<Duration> {
        let expires = self.with_cache(|cache| cache.expires())?;
        Some(expires.saturating_duration_since(Instant::now()))
    }

    /// Tokens that were had so far.
    pub fn tokens(&self) -> u64 {
        self.with_cache(|cache| cache.generation())
    }

    /// Waits for the handshake before this one, while nobody knows whether it will be refused.
    async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        let is_proven = || self.with_cache(|cache| cache.is_proven());
        if is_proven() {
            return None;
        }
        // A service that does not answer at all is not refusing: no need to queue for it.
        let turn = timeout(TURN, Arc::clone(&self.turn).lock_owned())
            .await
            .ok();
        turn.filter(|_| !is_proven())
    }

    fn check(&self) -> Result<(), Failure> {
        if let Need::Wait(failure) = self.with_cache(|cache| cache.need(Instant::now())) {
            return Err(failure);
        }
        match self.alarm() {
            Some((detail, _)) => Err(Failure::Halted(detail)),
            None => Ok(()),
        }
    }

    /// Reads the token file, at most once a second.
    async fn reread(&self, path: &Path) {
        let mut last = self.fetching.lock().await;
        if last.is_some_and(|last| last.elapsed() < REREAD) {
            return;
        }
        *last = Some(Instant::now());
        self.note_fetched(token_source::read(path).await);
    }

    async fn renew_if_due(&self, user: &IamUser) {
        let need = || self.with_cache(|cache| cache.need(Instant::now()));
        let _fetching = match need() {
            Need::Nothing | Need::Wait(_) => return,
            // Somebody else is at it, and the old token is still good.
            Need::RefreshAhead => match self.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return,
            },
            Need::Fetch => self.fetching.lock().await,
        };
        if matches!(need(), Need::Fetch | Need::RefreshAhead) {
            let fetched = token_source::fetch(&self.connector, user).await;
            self.note_fetched(fetched);
        }
    }

    fn note_fetched(&self, fetched: Result<FreshToken, Failure>) {
        let now = Instant::now();
        self.with_cache(|cache| match fetched {
            Ok(token) => cache.handle_fetched(token.secret, token.lifetime, now),
            Err(failure) => {
                tracing::warn!(%failure, "no new token");
                cache.handle_fetch_failed(failure, now);
            }
        });
    }

    fn with_cache<T>(&self, work: impl FnOnce(&mut TokenCache) -> T) -> T {
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn halted(&self) -> std::sync::MutexGuard<'_, Option<Halt>> {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one handshake.
#[derive(Debug)]
pub struct Pass {
    headers: HeaderMap,
    generation: u64,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Pass {
    /// The headers that authenticate.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Which credentials these are.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes the secrets out of a refusal: the gateway echoes the headers it could not verify.
    pub fn redact(&self, failure: Failure) -> Failure {
        let Failure::Refused {
            status,
            mut error,
            retry_after,
        } = failure
        else {
            return failure;
        };
        for secret in self.headers.values().filter(|value| value.is_sensitive()) {
            if let Ok(secret) = secret.to_str() {
                error.error_msg = error.error_msg.replace(secret, "***");
            }
        }
        error.error_msg = error.error_msg.chars().take(MAX_COMPLAINT).collect();
        Failure::Refused {
            status,
            error,
            retry_after,
        }
    }
}

/// A time in which nothing is tried.
#[derive(Debug)]
struct Halt {
    detail: String,
    generation: u64,
    until: Instant,
}

fn headers(fields: Vec<(&'static str, SecretString)>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, secret) in fields {
        let mut value = HeaderValue::from_str(secret.expose_secret().trim()).map_err(|_| {
            lacking(
                &format!("{name} would have characters that no header can carry"),
                false,
            )
        })?;
        value.set_sensitive(name != "x-sdk-date");
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// How long a token file is believed to be unchanged.
const REREAD: Duration = Duration::from_secs(1);

/// How long a handshake waits for the one before it to prove the credentials.
const TURN: Duration = Duration::from_secs(2);

/// A refusal's message is for people; the gateway's may hold a whole canonical request.
const MAX_COMPLAINT: usize = 300;
