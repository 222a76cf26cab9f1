//! The publisher: gives every event its number, has it journaled, and serves the lines to readers on a Unix socket.
//!
//! It has a thread and a runtime of its own, so that no reader can slow a media worker, and the journal has another, so
//! that no disk can slow the publisher. The newest lines are kept once in memory; a reader is only a place among
//! them, or, further behind, in the journal.

#![expect(clippy::disallowed_types, reason = "the readers' socket is here")]
#![expect(
    clippy::disallowed_methods,
    reason = "heartbeats and write time-outs need a clock"
)]

mod backlog;
mod desk;
mod durability;
mod figures;
mod hub;
mod past;
mod reader;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info};

use crate::config::file;
use crate::event::Event;
use crate::io::door::Door;
use crate::io::journal::Journal;
use crate::io::unix_socket::{self, Listening, Place, SocketError};
use desk::Desk;
pub use figures::Figures;
use hub::Hub;

/// Events on their way to the publisher; a full queue drops the newest, counts it and says so in an `error` line.
const QUEUE_EVENTS: usize = 65_536;

/// How long readers have for the last lines when the daemon stops.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// The sending end: media workers hold one each.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Posted>,
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
        self.post(event, None);
    }

    /// Hands an event over, and has `after` run when its line will outlive the daemon: it is journaled, or the journal
    /// is off or out of order. `after` runs on the publisher's thread and must not wait; it never runs if the queue
    /// is full, for then there is no line.
    pub fn publish_and_then(&self, event: Event, after: impl FnOnce() + Send + 'static) {
        self.post(event, Some(Box::new(after)));
    }

    fn post(&self, event: Event, after: Option<After>) {
        if self.queue.try_send(Posted { event, after }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            figures::count(&self.figures.lost);
        }
    }
}

/// What is to be done once a line is durable.
type After = Box<dyn FnOnce() + Send>;

/// An event in the queue.
struct Posted {
    event: Event,
    after: Option<After>,
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.event.fmt(f)
    }
}

/// The running publisher; it ends when every [`Publisher`] is dropped and its readers have what was published.
#[derive(Debug)]
pub struct PublisherThread {
    thread: thread::JoinHandle<()>,
    ours: Option<PathBuf>,
}

impl PublisherThread {
    /// Waits for the end and removes the socket.
    pub fn join(self) {
        if self.thread.join().is_err() {
            error!("the publisher panicked");
        }
        Listening::remove(self.ours.as_deref());
    }
}

/// Binds the socket, unless it was passed on, and starts the thread, with the journal if there is one.
///
/// # Errors
/// When the socket cannot be bound.
pub fn start(
    config: &file::Events,
    journal: Option<Journal>,
    passed: Option<std::os::unix::net::UnixListener>,
) -> Result<(Publisher, PublisherThread), SocketError> {
    let place = Place {
        path: &config.socket,
        mode: config.socket_mode,
        group: config.socket_group.as_deref(),
        key: "events.socket",
    };
    let Listening { listener, ours } = unix_socket::listen(place, passed)?;
    let (queue, events) = mpsc::channel(QUEUE_EVENTS);
    let publisher = Publisher {
        queue,
        lost: Arc::default(),
        figures: Arc::default(),
    };
    let thread = spawn(config, journal, listener, events, &publisher);
    let thread = thread.map_err(|source| SocketError::Refused {
        path: config.socket.clone(),
        key: "events.socket",
        source,
    })?;
    Ok((publisher, PublisherThread { thread, ours }))
}

fn spawn(
    config: &file::Events,
    journal: Option<Journal>,
    listener: std::os::unix::net::UnixListener,
    events: mpsc::Receiver<Posted>,
    publisher: &Publisher,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(HISTORY_THREADS)
        .build()?;
    let (journal, beginning) = journal.map(Journal::start).transpose()?.unzip();
    let config = config.clone();
    let (lost, figures) = (Arc::clone(&publisher.lost), publisher.figures());
    let body = move || {
        let desk = Desk::new(&config, journal, beginning, lost, figures);
        tokio::task::LocalSet::new().block_on(&runtime, serve(desk, listener, events));
    };
    thread::Builder::new()
        .name("publisher".to_owned())
        .spawn(body)
}

async fn serve(
    mut desk: Desk,
    listener: std::os::unix::net::UnixListener,
    mut events: mpsc::Receiver<Posted>,
) {
    let mut door = match UnixListener::from_std(listener) {
        Ok(listener) => Door::new(listener, "readers"),
        Err(error) => return error!(%error, "cannot serve the events socket"),
    };
    let hub = Rc::clone(desk.hub());
    let mut readers = JoinSet::new();
    let mut batch = Vec::new();
    let mut is_stopping = false;
    while !is_stopping || !desk.is_settled() {
        // While lines wait for others, the others wait in the queue: who posts them need not wake anybody.
        let may_take = desk.room() > 0 && !is_stopping && !desk.is_gathering();
        tokio::select! {
            taken = events.recv_many(&mut batch, desk.room()), if may_take => {
                is_stopping = taken == 0;
                desk.number(&mut batch);
            }
            () = desk.journal_moved() => {
                let posted = std::iter::from_fn(|| events.try_recv().ok());
                batch.extend(posted.take(desk.room()));
                desk.number(&mut batch);
            }
            stream = door.client() => admit(&hub, stream, &mut readers),
            Some(_) = readers.join_next() => {}
        }
        desk.settle();
    }
    hub.close();
    let all_left = async { while readers.join_next().await.is_some() {} };
    if timeout(CLOSING_TIME, all_left).await.is_err() {
        info!("stopped before a slow reader had every line");
    }
    desk.close().await;
}

fn admit(hub: &Rc<Hub>, stream: UnixStream, readers: &mut JoinSet<()>) {
    let Some(seat) = hub.seat() else {
        figures::count(&hub.figures.refused);
        info!("refused a reader: events.max-readers are connected");
        return;
    };
    debug!("reader connected");
    let hub = Rc::clone(hub);
    readers.spawn_local(async move {
        if let Err(error) = reader::serve(&hub, stream).await {
            debug!(%error, "reader left");
        }
        drop(seat);
    });
}

/// Threads that fetch old lines for readers; more readers of old lines wait for each other, never for the writer.
const HISTORY_THREADS: usize = 2;
