//! Calls of the past, from the journal.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::super::error::ApiError;
use super::Page;
use crate::io::journal::JournalError;
use crate::io::journal::history::{History, PastCall};

/// Calls in one answer.
const MAX_CALLS: u32 = 50;

/// Lines in one answer; those of a call of many hours.
const MAX_LINES: usize = 50_000;

/// `GET /history?find=ID&before=SEQ`: calls that have begun, the newest first.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Search {
    /// What the id contains.
    find: String,
    /// Only calls that began before this line.
    before: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Found {
    calls: Vec<PastCall>,
}

pub(super) async fn calls(
    State(page): State<Arc<Page>>,
    search: Result<Query<Search>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(search) = search.map_err(|error| ApiError::Invalid(error.to_string()))?;
    let calls = read(&page, move |history| {
        history.calls(
            &search.find,
            search.before.unwrap_or(u64::MAX >> 1),
            MAX_CALLS,
        )
    })
    .await?;
    Ok(Json(Found { calls }).into_response())
}

/// `GET /history/{id}`: the lines of a call.
pub(super) async fn lines(
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let call_id = id.clone();
    let lines = read(&page, move |history| history.lines_of_call(&call_id)).await?;
    if lines.is_empty() {
        return Err(ApiError::NoSuchCall(id));
    }
    let first = lines.len().saturating_sub(MAX_LINES);
    let body = format!("[{}]", lines[first..].join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Reads the journal beside the tasks of other clients.
async fn read<T: Send + 'static>(
    page: &Page,
    look: impl FnOnce(&History) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, ApiError> {
    let unavailable = |reason: String| ApiError::Unavailable(reason);
    let Some(path) = page.journal.clone() else {
        let reason = "there is no journal: journal.enabled is false";
        return Err(unavailable(reason.to_owned()));
    };
    let looked = spawn_blocking(move || History::open(&path).and_then(|history| look(&history)));
    match looked.await {
        Ok(found) => found.map_err(|error| unavailable(error.to_string())),
        Err(error) => Err(unavailable(error.to_string())),
    }
}
