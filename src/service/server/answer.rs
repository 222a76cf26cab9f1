//! Answers the HTTP requests of a service: upgrades, tokens, refusals.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell of the service: clocks and waiting"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, header};
use tracing::debug;

use super::Shared;
use crate::service::fault::Action;
use crate::service::gate::Gate;
use crate::service::handshake::{self, Refusal, Verdict};
use crate::service::iam;

/// The peer gets no answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped by a fault")]
pub(super) struct Dropped;

pub(super) async fn answer(
    mut request: Request<Incoming>,
    shared: &Shared,
    upgrade: &Mutex<Option<OnUpgrade>>,
) -> Result<Response<Body>, Dropped> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    match handshake::route(&parts) {
        Verdict::Refuse(refusal) => Ok(refuse(&refusal, shared)),
        Verdict::Token => Ok(issue_token(Body::new(body), shared).await),
        Verdict::Upgrade(accept_key) => match shared.admit(&parts).await? {
            Err(refusal) => Ok(refuse(&refusal, shared)),
            Ok(()) => {
                *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(on_upgrade);
                Ok(switching_protocols(&accept_key))
            }
        },
    }
}

impl Shared {
    /// Faults first, then credentials, then the quota.
    async fn admit(&self, request: &Parts) -> Result<Result<(), Refusal>, Dropped> {
        let ordinal = self.counters.handshakes.add(1) + 1;
        for fault in self.faults.of_handshake(ordinal) {
            self.counters.faults.add(&fault);
            match fault.action {
                Action::Refuse {
                    status,
                    code,
                    message,
                } => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                    return Ok(Err(Refusal::new(status, &code, &message)));
                }
                Action::Delay(delay) => tokio::time::sleep(delay.duration()).await,
                Action::Silence => std::future::pending().await,
                Action::Drop
                | Action::Error { .. }
                | Action::FatalError { .. }
                | Action::Event(_)
                | Action::Close(_)
                | Action::HalfClose
                | Action::Vanish
                | Action::StopReading
                | Action::ReadSlowly(_) => return Err(Dropped),
            }
        }
        let admitted = self.gate().admit(request, jiff::Timestamp::now());
        let is_full = self.counters.connections.open() >= self.max_connections as u64;
        Ok(match admitted {
            Ok(()) if is_full => Err(Refusal::throttled(self.max_connections)),
            admitted => admitted,
        })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn issue_token(body: Body, shared: &Shared) -> Response<Body> {
    let body = axum::body::to_bytes(body, LARGEST_BODY)
        .await
        .unwrap_or_default();
    let answer = iam::answer(&shared.gate(), &body, jiff::Timestamp::now());
    let mut response = json_response(answer.status, answer.body);
    if let Some(token) = answer.token.and_then(|token| token.parse().ok()) {
        shared.counters.tokens.add(1);
        response.headers_mut().insert("x-subject-token", token);
    }
    response
}

fn switching_protocols(accept_key: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("Upgrade"),
    );
    headers.insert(
        header::UPGRADE,
        header::HeaderValue::from_static("websocket"),
    );
    if let Ok(accept_key) = accept_key.parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key);
    }
    response
}

fn refuse(refusal: &Refusal, shared: &Shared) -> Response<Body> {
    let ordinal = shared.counters.refused.add(1);
    debug!(status = %refusal.status, code = refusal.code, "refused a request");
    json_response(
        refusal.status,
        refusal.body(&format!("{}-r{ordinal}", shared.name)),
    )
}

fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Bytes of a request for a token at most.
const LARGEST_BODY: usize = 64 * 1024;
