//! Why a request is refused: a status, a word for programs and a sentence for people.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::json;

use crate::call::conversation::UpdateError;
use crate::call::overload::Refusal;
use crate::call::switchboard::RegisterError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("a user and a password of control.password-file are needed")]
    Unauthorized,
    #[error("there is no call {0:?}; it may have ended")]
    NoSuchCall(String),
    #[error("there is nothing here; GET /v1/openapi.json describes what there is")]
    NoSuchRoute,
    #[error("this method has no meaning here; the Allow header names those that have")]
    MethodNotAllowed,
    #[error("the body did not come within {0} seconds")]
    BodyTooSlow(u64),
    #[error("the body is longer than {0} bytes")]
    BodyTooLong(usize),
    #[error("a call with id {0:?} exists already")]
    DuplicateId(String),
    #[error("{0}")]
    NoFreePort(RegisterError),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the daemon is stopping")]
    Stopping,
    #[error("a media worker does not answer; the daemon is past its capacity")]
    Overloaded,
}

impl ApiError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoSuchCall(_) | Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::DuplicateId(_) => StatusCode::CONFLICT,
            Self::NoFreePort(_)
            | Self::Unavailable(_)
            | Self::Refused(_)
            | Self::Stopping
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::Forbidden(_) => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::NoSuchCall(_) => "no_such_call",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooSlow(_) => "body_too_slow",
            Self::BodyTooLong(_) => "body_too_long",
            Self::DuplicateId(_) => "duplicate_id",
            Self::NoFreePort(_) => "no_free_port",
            Self::Unavailable(_) => "unavailable",
            Self::Stopping => "stopping",
            Self::Refused(_) | Self::Overloaded => "overloaded",
        }
    }
}

/// Calls are refused for at least as long as [`overload::FALL_AFTER`](crate::call::overload::FALL_AFTER)
/// says.
const RETRY_AFTER_SECONDS: &str = "10";

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut response = (self.status(), Json(body)).into_response();
        if matches!(self, Self::Refused(_) | Self::Overloaded) {
            let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::DuplicateId(id) => Self::DuplicateId(id.to_string()),
            RegisterError::PortInUse(_) | RegisterError::NoFreePort { .. } => {
                Self::NoFreePort(error)
            }
            RegisterError::Refused(refusal) => Self::Refused(refusal),
            RegisterError::Closed => Self::Stopping,
        }
    }
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        Self::Invalid(format!("legs: {error}"))
    }
}
