//! The live page: one HTML file, and what it asks for.
//!
//! The page is a reader like any other: its lines come from the events socket, with the same resuming, and its history
//! from the journal. Nothing of a call is kept for it but a list that is half a second old.

mod history;
mod live;
pub(super) mod password;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::routes::Api;
use crate::config::File;
use crate::io::journal;
use live::Glance;

/// What the page works with.
#[derive(Debug)]
pub(super) struct Page {
    api: Arc<Api>,
    /// Where the lines are.
    events_socket: PathBuf,
    /// Where the older ones are.
    journal: Option<PathBuf>,
    glance: Glance,
    closing: watch::Receiver<bool>,
}

impl Page {
    pub(super) fn new(config: &File, api: Arc<Api>, closing: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            api,
            events_socket: config.events.socket.clone(),
            journal: journal::Settings::new(&config.journal).map(|settings| settings.path),
            glance: Glance::default(),
            closing,
        })
    }
}

/// The routes of the page.
pub(super) fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/", get(html))
        .route("/live", get(live::stream))
        .route("/history", get(history::calls))
        .route("/history/{id}", get(history::lines))
        .with_state(page)
}

async fn html() -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, HTML).into_response()
}

const HTML: &str = include_str!("page/page.html");

/// The page runs what is in it, asks only here, and is shown in no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
