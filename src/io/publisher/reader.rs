//! One reader of the lines.

#![expect(clippy::disallowed_types, reason = "the reader's socket is here")]
#![expect(
    clippy::disallowed_methods,
    reason = "heartbeats and write time-outs need a clock"
)]

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::figures::count;
use super::hub::{Hub, Next};
use super::past::{Found, Past};
use crate::event::{Body, Hello, unnumbered_line};

/// A reader that wants old lines says so within this time of connecting.
const REQUEST_TIME: Duration = Duration::from_millis(200);

/// Longest request line.
const REQUEST_BYTES: u64 = 1024;

/// Nothing to say for so long is said.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Lines are written in batches of about this size.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// A reader that takes nothing for so long, while lines are waiting for it, is closed: it may come back and resume.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long the last words to a slow reader may take.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What a reader may write.
#[derive(Debug, Deserialize)]
struct Request {
    resume_from: ResumeFrom,
    /// The numbering that the number belongs to.
    epoch: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum ResumeFrom {
    Seq(u64),
    Word(Oldest),
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Oldest {
    Oldest,
}

/// Serves a reader until it leaves, falls behind, or the daemon stops.
pub(super) async fn serve(hub: &Hub, stream: UnixStream) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let live = hub.released_seq.get();
    let hello = Hello {
        daemon: "callscribe",
        version: env!("CARGO_PKG_VERSION"),
        oldest_seq: hub.oldest_seq(),
        next_seq: live,
    };
    to.write_all(line(hub, &Body::Hello(hello)).as_bytes())
        .await?;
    let mut from = BufReader::new(from.take(REQUEST_BYTES));
    let next = match timeout(REQUEST_TIME, read_request(&mut from)).await {
        Ok(request) => resume(hub, request?, live, &mut to).await?,
        Err(_elapsed) => live,
    };
    let mut past = Past::default();
    follow(
        hub,
        next,
        from.into_inner().into_inner(),
        &mut to,
        &mut past,
    )
    .await
}

async fn read_request(
    from: &mut BufReader<tokio::io::Take<OwnedReadHalf>>,
) -> io::Result<Result<Request, String>> {
    let mut text = String::new();
    from.read_line(&mut text).await?;
    if text.is_empty() {
        // The reader has shut its sending side: it only listens.
        return Ok(Err(String::new()));
    }
    Ok(serde_json::from_str(&text).map_err(|error| error.to_string()))
}

/// Finds the line to go on with; a request that cannot be met is answered with an `error` line.
async fn resume(
    hub: &Hub,
    request: Result<Request, String>,
    live: u64,
    to: &mut OwnedWriteHalf,
) -> io::Result<u64> {
    let oldest = hub.oldest_seq();
    let (code, message, next) = match request {
        Ok(request) => match place(&request, &hub.epoch.borrow(), oldest..=live) {
            Ok(seq) => return Ok(seq),
            Err(message) => ("truncated", message, oldest),
        },
        Err(message) if message.is_empty() => return Ok(live),
        Err(message) => (
            "bad_request",
            format!("expected {{\"resume_from\": SEQ or \"oldest\"}}: {message}"),
            live,
        ),
    };
    to.write_all(error_line(hub, code, message, next).as_bytes())
        .await?;
    Ok(next)
}

/// The line to go on with, if it is one of those that there are; else why it is not.
fn place(request: &Request, epoch: &str, kept: RangeInclusive<u64>) -> Result<u64, String> {
    let (oldest, live) = (kept.start(), kept.end());
    let ResumeFrom::Seq(seq) = request.resume_from else {
        return Ok(*oldest);
    };
    match &request.epoch {
        Some(other) if other != epoch => Err(format!(
            "line {seq} of epoch {other} is not known; the epoch is {epoch}, its oldest line {oldest}"
        )),
        _ if seq < *oldest => Err(format!(
            "line {seq} is no longer kept; the oldest is {oldest}"
        )),
        _ if seq > *live => Err(format!(
            "line {seq} is not known: the next is {live}; the oldest is {oldest}"
        )),
        _ => Ok(seq),
    }
}

async fn follow(
    hub: &Hub,
    mut next: u64,
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    past: &mut Past,
) -> io::Result<()> {
    let mut is_listening_for_end = true;
    loop {
        let news = hub.news();
        let (text, after) = match hub.next(next, BATCH_BYTES) {
            Next::Lines(text, after) => (text, after),
            Next::Past => match past.read(hub, next).await {
                Found::Lines(text, after) => (text, after),
                Found::Later(oldest) => {
                    let message = format!("line {next} is no longer kept; the oldest is {oldest}");
                    let told = error_line(hub, "truncated", message, oldest);
                    timeout(WRITE_TIME, to.write_all(told.as_bytes())).await??;
                    next = oldest;
                    continue;
                }
                Found::Nothing => return say_farewell(hub, b"", next, to).await,
            },
            Next::UpToDate if hub.is_closing() => return Ok(()),
            Next::UpToDate => {
                past.close();
                tokio::select! {
                    () = news => {}
                    () = tokio::time::sleep(HEARTBEAT) => {
                        let body = Body::Heartbeat { next_seq: next };
                        let beat = line(hub, &body);
                        timeout(WRITE_TIME, to.write_all(beat.as_bytes())).await??;
                    }
                    is_open = is_still_open(&mut from), if is_listening_for_end => {
                        is_listening_for_end = is_open?;
                    }
                }
                continue;
            }
        };
        if let Err(unwritten) = write_or_fall_behind(hub, &text, after, to).await? {
            let rest = current_line(&text, unwritten);
            let done = next + text[..unwritten + rest.len()].matches('\n').count() as u64;
            return say_farewell(hub, rest, done, to).await;
        }
        next = after;
    }
}

/// Writes a batch; a reader that takes nothing for long, or whose lines are forgotten meanwhile, gives the number of
/// bytes that were written.
async fn write_or_fall_behind(
    hub: &Hub,
    text: &str,
    after: u64,
    to: &mut OwnedWriteHalf,
) -> io::Result<Result<(), usize>> {
    let mut written = 0;
    while written < text.len() {
        tokio::select! {
            result = to.write(&text.as_bytes()[written..]) => match result? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                bytes => written += bytes,
            },
            () = overtaken(hub, after), if hub.archive.is_none() => return Ok(Err(written)),
            () = tokio::time::sleep(WRITE_TIME) => return Ok(Err(written)),
        }
    }
    Ok(Ok(()))
}

/// Waits until line `seq` is no longer kept.
async fn overtaken(hub: &Hub, seq: u64) {
    loop {
        let news = hub.news();
        if hub.oldest_in_memory() > seq {
            return;
        }
        news.await;
    }
}

/// What is left of the line that byte `written` is in: a reader never gets a torn line before its `error` line.
fn current_line(text: &str, written: usize) -> &[u8] {
    let is_at_start = written == 0 || text.as_bytes()[written - 1] == b'\n';
    let rest = &text.as_bytes()[written..];
    let end = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(rest.len(), |at| at + 1);
    if is_at_start { &[] } else { &rest[..end] }
}

async fn say_farewell(
    hub: &Hub,
    rest: &[u8],
    resume_from: u64,
    to: &mut OwnedWriteHalf,
) -> io::Result<()> {
    count(&hub.figures.slow);
    let message = format!("too slow: lines are waiting from {resume_from} on; resume from there");
    let last = error_line(hub, "slow_reader", message, resume_from);
    let farewell = [rest, last.as_bytes()].concat();
    match timeout(FAREWELL_TIME, to.write_all(&farewell)).await {
        Ok(written) => written,
        Err(elapsed) => Err(elapsed.into()),
    }
}

/// `false` when the reader has shut its sending side, which it may; an error when it is gone.
async fn is_still_open(from: &mut OwnedReadHalf) -> io::Result<bool> {
    let mut ignored = [0; 64];
    if from.read(&mut ignored).await? > 0 {
        return Ok(true);
    }
    match from
        .as_ref()
        .ready(Interest::WRITABLE)
        .await?
        .is_write_closed()
    {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(false),
    }
}

fn line(hub: &Hub, body: &Body) -> String {
    unnumbered_line(&hub.epoch.borrow(), Timestamp::now(), body)
}

fn error_line(hub: &Hub, code: &'static str, message: String, resume_from: u64) -> String {
    let resume_from = Some(resume_from);
    line(
        hub,
        &Body::Error {
            code,
            message,
            retry_after_ms: None,
            resume_from,
        },
    )
}
