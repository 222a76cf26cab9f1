//! The stream of server-sent events: the lines as they come, and twice a second the calls as they are.

#![expect(
    clippy::disallowed_types,
    reason = "the page is a reader of the events socket"
)]
#![expect(clippy::disallowed_methods, reason = "calls are shown by the clock")]

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::super::answer::CallAnswer;
use super::super::error::ApiError;
use super::super::routes::Api;
use super::Page;
use crate::call::snapshot::CallSnapshot;
use crate::event::HealthState;

/// How often the calls are shown.
const GLANCE_INTERVAL: Duration = Duration::from_millis(500);

/// Calls shown at once: those with something wrong first, then the newest.
const MAX_CALLS: usize = 100;

/// How long the browser waits before it connects again.
const RETRY: Duration = Duration::from_millis(500);

/// `GET /live`: goes on after `Last-Event-ID`, or `?after=`, if that is given.
pub(super) async fn stream(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok());
    let after = uri.query().and_then(|query| query.strip_prefix("after="));
    let place = last.or(after).and_then(Place::parse);
    let lines = connect(&page.events_socket, place).await;
    let lines =
        lines.map_err(|error| ApiError::Unavailable(format!("the events socket: {error}")))?;
    let mut ticks = interval(GLANCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let closing = page.closing.clone();
    let feed = Feed {
        page,
        lines,
        ticks,
        closing,
        is_first: true,
    };
    Ok(Sse::new(stream::unfold(feed, Feed::next)))
}

/// What one browser is fed from.
struct Feed {
    page: Arc<Page>,
    lines: Lines<BufReader<UnixStream>>,
    ticks: Interval,
    closing: watch::Receiver<bool>,
    is_first: bool,
}

impl Feed {
    /// The next event; none when the daemon stops or the reader was closed: the browser comes back by itself.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let event = tokio::select! {
            line = self.lines.next_line() => line_event(&line.ok()??),
            _ = self.ticks.tick() => self.page.glance.event(&self.page.api).await,
            _ = self.closing.changed() => return None,
        };
        let event = match std::mem::take(&mut self.is_first) {
            true => event.retry(RETRY),
            false => event,
        };
        Some((Ok(event), self))
    }
}

/// A line with its place, so that the browser says where to go on.
fn line_event(line: &str) -> Event {
    let event = Event::default().event("line").data(line);
    match serde_json::from_str(line) {
        Ok(Place { epoch, seq }) => event.id(format!("{epoch}:{seq}")),
        Err(_) => event,
    }
}

async fn connect(socket: &Path, last: Option<Place>) -> io::Result<Lines<BufReader<UnixStream>>> {
    let mut stream = UnixStream::connect(socket).await?;
    if let Some(Place { epoch, seq }) = last {
        let request = json!({ "resume_from": seq + 1, "epoch": epoch });
        stream.write_all(format!("{request}\n").as_bytes()).await?;
    }
    Ok(BufReader::new(stream).lines())
}

/// A line by its number, and the numbering.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Place {
    epoch: String,
    seq: u64,
}

impl Place {
    /// `EPOCH:SEQ`
    fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once(':').or_else(|| text.split_once("%3A"))?;
        let seq = seq.parse().ok()?;
        let is_word = |epoch: &str| epoch.chars().all(|c| c.is_ascii_alphanumeric());
        is_word(epoch).then(|| Self {
            epoch: epoch.to_owned(),
            seq,
        })
    }
}

/// The calls as they were shown last: many browsers cost as much as one.
#[derive(Debug, Default)]
pub(super) struct Glance {
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

/// What the page is shown of the calls.
#[derive(Serialize)]
struct Shown {
    total: usize,
    calls: Vec<CallAnswer>,
}

impl Glance {
    async fn event(&self, api: &Api) -> Event {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        let json = match &*last {
            Some((at, json)) if *at + GLANCE_INTERVAL / 2 > now => Arc::clone(json),
            Some(_) | None => {
                let json: Arc<str> = look(api).await.into();
                *last = Some((Instant::now(), Arc::clone(&json)));
                json
            }
        };
        Event::default().event("calls").data(json)
    }
}

async fn look(api: &Api) -> String {
    let mut calls = match api.workers.list().await {
        Ok(calls) => calls,
        Err(error) => return json!({ "error": error.to_string() }).to_string(),
    };
    let total = calls.len();
    calls.sort_by_key(|call| (!is_troubled(call), call.call.duration_ms));
    calls.truncate(MAX_CALLS);
    let mut routes = api.advertised.routes();
    let calls = calls
        .into_iter()
        .map(|call| CallAnswer::new(call, &mut routes))
        .collect();
    serde_json::to_string(&Shown { total, calls }).expect("string keys and finite trees only")
}

fn is_troubled(call: &CallSnapshot) -> bool {
    let mut health = call.legs.iter().filter_map(|leg| leg.health);
    health.any(|health| health != HealthState::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_an_epoch_and_a_number() {
        let place = Place {
            epoch: "e1".to_owned(),
            seq: 7,
        };
        assert_eq!(Place::parse("e1:7"), Some(place));
        for junk in ["", "7", "e1:", "e\"1:7", "e1:-7"] {
            assert_eq!(Place::parse(junk), None, "{junk}");
        }
    }
}
