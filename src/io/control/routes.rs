//! The routes: what is asked, of whom, and what comes back. `docs/openapi.json` describes the same
//! to programs.

#![expect(
    clippy::disallowed_methods,
    reason = "ids are made of the time of day, and ages are told"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::adjustable::Adjustable;
use super::answer::{CallAnswer, CallList, EndedCall, EndingCall};
use super::error::ApiError;
use super::request::{self, CallChange, NewCall};
use super::status::{Kept, Since, StatusAnswer};
use super::workers::{Farewell, Workers};
use crate::io::metrics::{self, Disks, Machine, ReceivingPorts, Scrape};
use crate::io::provider::Provider;
use crate::io::publisher::Figures;

/// What the routes work with.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) workers: Workers,
    pub(super) adjustable: Adjustable,
    pub(super) recogniser: Arc<Provider>,
    pub(super) publisher: Arc<Figures>,
    pub(super) disks: Disks,
    pub(super) ports: ReceivingPorts,
    pub(super) started: Instant,
}

impl Api {
    /// Reads /proc beside the tasks of other clients.
    async fn machine(&self) -> Machine {
        let ports = self.ports.clone();
        let read = tokio::task::spawn_blocking(move || Machine::read(&ports)).await;
        read.unwrap_or_default()
    }
}

type Shared = State<Arc<Api>>;

/// The routes of the API.
pub(super) fn router(api: Arc<Api>) -> Router {
    let call = get(describe).patch(update).delete(end);
    Router::new()
        .route("/v1/calls", get(list).post(register))
        .route("/v1/calls/{id}", call)
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(api)
}

async fn register(State(api): Shared, request: Request) -> Result<Response, ApiError> {
    let new: NewCall = request::read(request.into_body()).await?;
    let registration = new.registration(made_id, &api.adjustable.in_force().allowed_sources)?;
    let call = api.workers.register(registration).await?;
    let call = CallAnswer::new(call, &mut api.adjustable.in_force().advertised.routes());
    Ok((StatusCode::CREATED, Json(call)).into_response())
}

async fn list(State(api): Shared) -> Result<Json<CallList>, ApiError> {
    let calls = api.workers.list().await?;
    let in_force = api.adjustable.in_force();
    let mut routes = in_force.advertised.routes();
    let calls = calls
        .into_iter()
        .map(|call| CallAnswer::new(call, &mut routes));
    Ok(Json(CallList {
        calls: calls.collect(),
    }))
}

async fn describe(State(api): Shared, id: IdInPath) -> Result<Json<CallAnswer>, ApiError> {
    let call = api.workers.describe(&named(id)?).await?;
    Ok(Json(CallAnswer::new(
        call,
        &mut api.adjustable.in_force().advertised.routes(),
    )))
}

async fn update(
    State(api): Shared,
    id: IdInPath,
    request: Request,
) -> Result<Json<CallAnswer>, ApiError> {
    let id = named(id)?;
    let change: CallChange = request::read(request.into_body()).await?;
    let update = change.update(&api.adjustable.in_force().allowed_sources)?;
    let call = api.workers.update(&id, update).await?;
    Ok(Json(CallAnswer::new(
        call,
        &mut api.adjustable.in_force().advertised.routes(),
    )))
}

async fn end(State(api): Shared, id: IdInPath, uri: Uri) -> Result<Response, ApiError> {
    let id = named(id)?;
    let patience = patience(uri.query())?;
    Ok(match api.workers.end(&id, patience).await? {
        Farewell::Ended(ended) => Json(EndedCall { id, ended }).into_response(),
        Farewell::Ending => {
            let state = "ending";
            (StatusCode::ACCEPTED, Json(EndingCall { id, state })).into_response()
        }
    })
}

async fn status(State(api): Shared) -> Result<Json<StatusAnswer>, ApiError> {
    let workers = api.workers.measure().await?;
    let machine = api.machine().await;
    let recogniser = &api.recogniser;
    let since = Since {
        started: api.started,
        configured: api.adjustable.in_force().since,
    };
    let now = Instant::now();
    let kept = Kept::new(&api.publisher, &api.disks);
    let drops = machine.kernel_drops();
    Ok(Json(StatusAnswer::new(
        workers, recogniser, kept, drops, since, now,
    )))
}

async fn metrics(State(api): Shared) -> Result<Response, ApiError> {
    let scrape = Scrape {
        workers: api.workers.measure().await?,
        recogniser: Arc::clone(&api.recogniser),
        publisher: Arc::clone(&api.publisher),
        disks: api.disks.clone(),
        machine: api.machine().await,
    };
    let text = scrape.to_text().map_err(|_| ApiError::Overloaded)?;
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

async fn openapi() -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], OPENAPI)
}

/// Keeps web pages away from the loopback port: a browser would carry their requests there.
pub(super) async fn refuse_browsers(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return ApiError::Forbidden("web pages may not use the control API").into_response();
    }
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| !is_loopback(host)) {
        let message = "the Host header names another host; use the loopback address";
        return ApiError::Forbidden(message).into_response();
    }
    next.run(request).await
}

/// Whether a Host header names this host, so that no name of a stranger leads here (DNS rebinding).
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or(host);
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

type IdInPath = Result<Path<String>, PathRejection>;

/// An id that no call can have names no call.
fn named(id: IdInPath) -> Result<Arc<str>, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::Invalid(format!("id: {error}")))?;
    Ok(id.into())
}

/// `wait_ms`: how long the answer to DELETE may wait for the last words.
fn patience(query: Option<&str>) -> Result<Duration, ApiError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(Duration::from_millis(DEFAULT_WAIT_MS));
    };
    let wait = query
        .strip_prefix("wait_ms=")
        .and_then(|ms| ms.parse().ok());
    wait.filter(|ms| *ms <= MAX_WAIT_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            ApiError::Invalid(format!(
                "{query:?}: expected wait_ms= and a number from 0 to {MAX_WAIT_MS}"
            ))
        })
}

/// An id for a call that came without: the time of day keeps it from coming again after a restart.
fn made_id() -> Arc<str> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("call-{now_ms}-{number}").into()
}

const DEFAULT_WAIT_MS: u64 = 10_000;
const MAX_WAIT_MS: u64 = 60_000;

/// The description of the API.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");
