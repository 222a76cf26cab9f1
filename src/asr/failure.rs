//! What can go wrong between a part and its text.

use std::fmt;
use std::time::Duration;

use crate::asr::message::ServiceError;

/// Why a session did not give its text. What to do about it: [`crate::asr::verdict`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection came about.
    #[error("cannot reach {address}: {step}: {detail}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// How far it got.
        step: Step,
        /// What the system or the library said.
        detail: String,
    },
    /// The handshake was answered with a status that is not 101.
    #[error("handshake refused with {status} {}", Said(.error))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body, where it could be read.
        error: ServiceError,
        /// What the `Retry-After` header asks for.
        retry_after: Option<Duration>,
    },
    /// There is nothing to authenticate with.
    #[error("no credentials: {detail}")]
    NoCredentials {
        /// Why.
        detail: String,
        /// Whether the same try can do better later.
        passing: bool,
    },
    /// Nothing is tried for a while, because every try would be refused.
    #[error("halted: {0}")]
    Halted(String),
    /// The service said ERROR or FATAL_ERROR.
    #[error("the service said {}", Said(.0))]
    Service(ServiceError),
    /// The service ended the session before it was asked to, or ended it otherwise than normally.
    #[error("the service ended the session early ({0})")]
    EndedEarly(String),
    /// The service takes less audio than the part has.
    #[error("the part is longer than a session may be")]
    TooLong,
    /// A message that cannot be read may have been words.
    #[error("unreadable message: {0}")]
    Malformed(String),
    /// The peer closed the connection.
    #[error("the service closed the connection ({} {reason:?})", Code(*.code))]
    Closed {
        /// The close code; none when it came without one.
        code: Option<u16>,
        /// The reason the peer gave.
        reason: String,
    },
    /// The connection broke.
    #[error("connection broken: {0}")]
    Broken(String),
    /// The peer kept silent.
    #[error("{0}")]
    Silent(Silence),
}

impl Failure {
    /// What kind it is.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { .. } => FailureKind::Unreachable,
            Self::Refused { .. } => FailureKind::Refused,
            Self::NoCredentials { .. } => FailureKind::NoCredentials,
            Self::Halted(_) => FailureKind::Halted,
            Self::Service(_) => FailureKind::Service,
            Self::EndedEarly(_) => FailureKind::EndedEarly,
            Self::TooLong => FailureKind::TooLong,
            Self::Malformed(_) => FailureKind::Malformed,
            Self::Closed { .. } => FailureKind::Closed,
            Self::Broken(_) => FailureKind::Broken,
            Self::Silent(_) => FailureKind::Silent,
        }
    }

    /// Whether the connection still works, and so ought to be closed and not just dropped.
    pub fn leaves_connection_open(&self) -> bool {
        matches!(
            self,
            Self::Service(_) | Self::EndedEarly(_) | Self::TooLong | Self::Malformed(_)
        )
    }
}

/// The kinds of [`Failure`], to count them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as the variants of Failure")]
pub enum FailureKind {
    Unreachable,
    Refused,
    NoCredentials,
    Halted,
    Service,
    EndedEarly,
    TooLong,
    Malformed,
    Closed,
    Broken,
    Silent,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Unreachable,
        Self::Refused,
        Self::NoCredentials,
        Self::Halted,
        Self::Service,
        Self::EndedEarly,
        Self::TooLong,
        Self::Malformed,
        Self::Closed,
        Self::Broken,
        Self::Silent,
    ];

    /// The kind in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::NoCredentials => "no_credentials",
            Self::Halted => "halted",
            Self::Service => "service_error",
            Self::EndedEarly => "ended_early",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Silent => "silent",
        }
    }
}

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The name was being looked up.
    Resolve,
    /// The TCP connection was being made.
    Connect,
    /// The proxy was asked for a tunnel.
    Proxy,
    /// TLS was being agreed.
    Tls,
    /// The HTTP request was under way.
    Request,
}

/// What the peer kept silent about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Silence {
    /// START was not answered.
    #[error("no answer to START in time")]
    Start,
    /// END was not answered, though the connection lived.
    #[error("no answer to END in time")]
    End,
    /// Nothing that was written was taken.
    #[error("the peer takes no data")]
    Write,
    /// A ping was not answered.
    #[error("no answer to a ping")]
    Pong,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name lookup",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
            Self::Request => "HTTP",
        })
    }
}

/// Code and sentence of a service error.
struct Said<'a>(&'a ServiceError);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.error_code, self.0.error_msg)
    }
}

/// A close code, or its absence.
struct Code(Option<u16>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "{code}"),
            None => f.write_str("no code"),
        }
    }
}
