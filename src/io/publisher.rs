//! The publisher: gives every event its number and serves the lines to readers on a Unix socket.
//!
//! It has a thread and a runtime of its own, so that no reader can slow a media worker. The lines are kept once, in a
//! backlog; a reader is only a place in it. A reader that falls off its end is told where to resume, and closed.

#![expect(clippy::disallowed_types, reason = "the readers' socket is here")]
#![expect(
    clippy::disallowed_methods,
    reason = "heartbeats and write time-outs need a clock"
)]

mod backlog;
mod figures;
mod reader;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::config::file;
use crate::event::{Body, Event};
use crate::io::unix_socket::{self, SocketError};
use backlog::Backlog;
pub use figures::Figures;

/// Events on their way to the publisher; a full queue drops the newest, counts it and says so in an `error` line.
const QUEUE_EVENTS: usize = 65_536;

/// How long the publisher pauses after it could not accept a reader; events queue up meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long readers have for the last lines when the daemon stops.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// The sending end: media workers hold one each.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
    figures: Arc<Figures>,
}

impl Publisher {
    /// How the publisher and its readers fare; it may be kept when the publisher is gone.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Hands an event over; never waits.
    pub fn publish(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            figures::count(&self.figures.lost);
        }
    }
}

/// The running publisher; it ends when every [`Publisher`] is dropped and its readers have what was published.
#[derive(Debug)]
pub struct PublisherThread {
    thread: thread::JoinHandle<()>,
    path: PathBuf,
}

impl PublisherThread {
    /// Waits for the end and removes the socket.
    pub fn join(self) {
        if self.thread.join().is_err() {
            error!("the publisher panicked");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the events socket");
        }
    }
}

/// Binds the socket and starts the thread.
///
/// # Errors
/// When the socket cannot be bound.
pub fn start(config: &file::Events) -> Result<(Publisher, PublisherThread), SocketError> {
    let listener = unix_socket::bind(&config.socket, config.socket_mode, "events.socket")?;
    let (queue, events) = mpsc::channel(QUEUE_EVENTS);
    let publisher = Publisher {
        queue,
        lost: Arc::default(),
        figures: Arc::default(),
    };
    let lost = Arc::clone(&publisher.lost);
    let figures = publisher.figures();
    let (backlog_lines, max_readers) = (config.backlog_lines, config.max_readers);
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                let hub = Rc::new(Hub::new(backlog_lines, max_readers, figures));
                tokio::task::LocalSet::new().block_on(&runtime, serve(hub, listener, events, lost));
            }
            Err(error) => error!(%error, "cannot start the publisher's runtime"),
        }
    };
    let thread = thread::Builder::new()
        .name("publisher".to_owned())
        .spawn(body);
    let thread = thread.map_err(|source| SocketError::Refused {
        path: config.socket.clone(),
        key: "events.socket",
        source,
    })?;
    Ok((
        publisher,
        PublisherThread {
            thread,
            path: config.socket.clone(),
        },
    ))
}

/// What the readers share.
struct Hub {
    epoch: String,
    backlog: RefCell<Backlog>,
    news: Notify,
    is_closing: Cell<bool>,
    readers: Cell<usize>,
    max_readers: usize,
    figures: Arc<Figures>,
}

impl Hub {
    fn new(backlog_lines: usize, max_readers: usize, figures: Arc<Figures>) -> Self {
        let started = Timestamp::now().as_millisecond();
        Self {
            epoch: format!("{started:x}"),
            backlog: RefCell::new(Backlog::new(backlog_lines)),
            news: Notify::new(),
            is_closing: Cell::new(false),
            readers: Cell::new(0),
            max_readers,
            figures,
        }
    }

    fn set_readers(&self, readers: usize) {
        self.readers.set(readers);
        self.figures
            .readers
            .store(readers as u64, Ordering::Relaxed);
    }

    fn publish(&self, event: &Event) {
        let mut backlog = self.backlog.borrow_mut();
        let line = event.to_line(&self.epoch, backlog.next_seq());
        backlog.push(line.into());
        figures::count(&self.figures.lines);
    }
}

async fn serve(
    hub: Rc<Hub>,
    listener: std::os::unix::net::UnixListener,
    mut events: mpsc::Receiver<Event>,
    lost: Arc<AtomicU64>,
) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "cannot serve the events socket"),
    };
    let mut readers = JoinSet::new();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            taken = events.recv_many(&mut batch, 1024) => {
                if taken == 0 {
                    break;
                }
                batch.drain(..).for_each(|event| hub.publish(&event));
                publish_lost(&hub, &lost);
                hub.news.notify_waiters();
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&hub, stream, &mut readers),
                // Out of descriptors: the listener stays readable, so it is left alone for a while.
                Err(error) => {
                    warn!(%error, "cannot accept a reader");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = readers.join_next() => {}
        }
    }
    hub.is_closing.set(true);
    hub.news.notify_waiters();
    let all_left = async { while readers.join_next().await.is_some() {} };
    if timeout(CLOSING_TIME, all_left).await.is_err() {
        info!("stopped before a slow reader had every line");
    }
}

/// A queue that overflowed lost lines before they had a number; that is said in a line that has one.
fn publish_lost(hub: &Hub, lost: &AtomicU64) {
    let lost = lost.swap(0, Ordering::Relaxed);
    if lost > 0 {
        error!(
            lost,
            "events were lost because the publisher's queue was full"
        );
        let body = Body::Error {
            code: "events_lost",
            message: format!("{lost} events were lost because the publisher's queue was full"),
            retry_after_ms: None,
            resume_from: None,
        };
        hub.publish(&Event {
            at: Timestamp::now(),
            call_id: None,
            body,
        });
    }
}

fn admit(hub: &Rc<Hub>, stream: UnixStream, readers: &mut JoinSet<()>) {
    if hub.readers.get() >= hub.max_readers {
        figures::count(&hub.figures.refused);
        info!(max_readers = hub.max_readers, "refused a reader");
        return;
    }
    debug!("reader connected");
    hub.set_readers(hub.readers.get() + 1);
    let hub = Rc::clone(hub);
    readers.spawn_local(async move {
        if let Err(error) = reader::serve(&hub, stream).await {
            debug!(%error, "reader left");
        }
        hub.set_readers(hub.readers.get() - 1);
    });
}
