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
    /// Whether the connection still works, and so ought to be closed and not just dropped.
    pub fn leaves_connection_open(&self) -> bool {
        matches!(
            self,
            Self::Service(_) | Self::EndedEarly(_) | Self::TooLong | Self::Malformed(_)
        )
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
