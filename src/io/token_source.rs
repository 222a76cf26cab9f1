//! Where new tokens come from: a file, or the identity service.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::http::{Reply, exchange};
use super::transport::Connector;
use crate::asr::auth::iam::{self, IamUser};
use crate::asr::failure::Failure;

/// A token that was just read or issued.
#[derive(Debug)]
pub(super) struct FreshToken {
    /// The token.
    pub(super) secret: SecretString,
    /// How long it lives, where that is known.
    pub(super) lifetime: Option<Duration>,
}

/// Reads a token file.
pub(super) async fn read(path: &Path) -> Result<FreshToken, Failure> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let complain = |why: &str| lacking(&format!("token file {}: {why}", path.display()), true);
    let text = read.map_err(|error| complain(&error.to_string()))?;
    let text = text.map_err(|error| complain(&error.to_string()))?;
    match text.trim() {
        "" => Err(complain("is empty")),
        token => Ok(FreshToken {
            secret: token.to_owned().into(),
            lifetime: None,
        }),
    }
}

/// Asks the identity service for a token.
pub(super) async fn fetch(connector: &Connector, user: &IamUser) -> Result<FreshToken, Failure> {
    match timeout(FETCH, ask(connector, user)).await {
        Ok(Ok(reply)) => reply.read(),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(unreached("does not answer")),
    }
}

async fn ask(connector: &Connector, user: &IamUser) -> Result<Answer, Failure> {
    let stream = connector.connect(&user.endpoint).await;
    let stream = stream.map_err(|failure| unreached(&failure.to_string()))?;
    let body = Bytes::from(user.request().expose_secret().to_owned());
    let request = Request::post(user.endpoint.path())
        .header(HOST, user.endpoint.authority())
        .header(CONTENT_TYPE, "application/json;charset=utf8")
        .body(Full::new(body))
        .map_err(|error| unreached(&error.to_string()))?;
    match exchange(stream, request).await {
        Ok(Reply::Answered {
            status,
            headers,
            body,
        }) => Ok(Answer {
            status,
            headers,
            body,
        }),
        Ok(Reply::Switched { .. }) => Err(unreached("is no web service")),
        Err(error) => Err(unreached(&error.to_string())),
    }
}

/// What the identity service said.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn read(self) -> Result<FreshToken, Failure> {
        if self.status != StatusCode::CREATED {
            let status = self.status;
            let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let complaint = iam::complaint(&self.body);
            let detail = format!("identity service: {} {complaint:?}", status.as_u16());
            return Err(lacking(&detail, passing));
        }
        let token = self.headers.get("x-subject-token");
        match token.and_then(|token| token.to_str().ok()) {
            Some(token) => Ok(FreshToken {
                secret: token.to_owned().into(),
                lifetime: iam::lifetime(&self.body),
            }),
            None => Err(unreached("replied without a token")),
        }
    }
}

fn unreached(why: &str) -> Failure {
    lacking(&format!("identity service: {why}"), true)
}

/// There is no token; `passing` if there may be one later.
pub(super) fn lacking(detail: &str, passing: bool) -> Failure {
    Failure::NoCredentials {
        detail: detail.into(),
        passing,
    }
}

/// How long the identity service may take.
const FETCH: Duration = Duration::from_secs(10);
