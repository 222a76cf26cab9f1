//! How to reach and use a recogniser.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::asr::auth::Credentials;
use crate::asr::endpoint::Endpoint;
use crate::asr::{quota, retry, session};
use crate::io::transport::{Proxy, TrustError};

/// How to reach and use a recogniser.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in the event lines. Default `huawei-sis`.
    pub provider: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What the handshake is authenticated with. Default nothing.
    pub credentials: Credentials,
    /// What a session asks for.
    pub session: session::Settings,
    /// How hard a part is tried for.
    pub retry: retry::Settings,
    /// How many sessions there may be.
    pub quota: quota::Settings,
    /// How long a connection is kept for the next part, up to 15 s: the service cuts at 20 s. Default 5 s: the handshakes
    /// are most of what a short part costs, and a gateway limits their rate.
    pub reuse: Option<Duration>,
    /// The proxy to go through. Default none.
    pub proxy: Option<Proxy>,
    /// PEM file with the only certificates to trust. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the answer to the upgrade may take. Default 10 s.
    pub upgrade_timeout: Duration,
}

impl Settings {
    /// The defaults, for the recogniser at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            provider: "huawei-sis".into(),
            endpoint,
            credentials: Credentials::None,
            session: session::Settings::default(),
            retry: retry::Settings::default(),
            quota: quota::Settings::default(),
            reuse: Some(Duration::from_secs(5)),
            proxy: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            upgrade_timeout: Duration::from_secs(10),
        }
    }

    /// Checks what can be checked without the network.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.session.check()?;
        if self.reuse.is_some_and(|idle| idle > MAX_IDLE) {
            return Err(SettingsError::IdleTooLong);
        }
        if self.quota.max_sessions == 0 {
            return Err(SettingsError::NoSessions);
        }
        if self.retry.attempts == 0 {
            return Err(SettingsError::NoAttempts);
        }
        Ok(())
    }
}

/// The service cuts a connection that carries nothing for 20 s.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// Why a recogniser cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A session setting is out of range.
    #[error(transparent)]
    Session(#[from] session::SettingsError),
    /// There is no certificate to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Connections would be kept past the service's own limit.
    #[error("reuse must be 15 s at most: the service cuts idle connections at 20 s")]
    IdleTooLong,
    /// No session would ever be opened.
    #[error("max_sessions is 0; it must be 1 at least")]
    NoSessions,
    /// No part would ever be tried.
    #[error("attempts is 0; it must be 1 at least")]
    NoAttempts,
}
