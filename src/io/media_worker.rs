//! A media worker: a thread that owns its sockets, its calls and its recogniser connections.
//!
//! It wakes every tick, empties every socket that has something, lets time pass for its calls, and
//! performs what they ask for. Sessions with the recogniser are tasks on the same thread: nothing
//! is locked, and nothing crosses a thread but events.

#![expect(
    clippy::disallowed_methods,
    reason = "the clock of the core is read here"
)]

mod diary;
mod meter;
mod orders;
mod recognition;
mod resumption;
mod spooling;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;
use tracing::{Span, error, info, trace, warn};

use crate::call::conversation::Call;
use crate::call::feedback;
use crate::call::part::Outcome;
use crate::call::switchboard::{Line, PortIndex, Settings, Switchboard};
use crate::call::{Output, PartKey, WallClock};
use crate::config::file;
use crate::event::GapReason;
use crate::io::assignment::Share;
use crate::io::checkpoint::{self, Checkpoints, FoundCall};
use crate::io::checkpoint_store::CheckpointStore;
use crate::io::publisher::Publisher;
use crate::io::recogniser::Recogniser;
use crate::io::spool::Spool;
use crate::io::systemd;
use crate::io::tape::{Tape, Taped};
pub(crate) use meter::SEND_BOUNDS;
pub use meter::{Meter, WorkerFigures};
use orders::Farewells;
pub use orders::{Command, Survey};
use recognition::{Recognitions, Report};
use resumption::Again;
use spooling::Spooling;

/// Largest datagram that can be audio: beyond any MTU that carries RTP. Longer ones arrive cut and
/// are refused.
const DATAGRAM_BYTES: usize = 2048;

/// Datagrams taken from one socket in one tick: a flood on one port must not hold up the others.
const DATAGRAMS_PER_TICK: usize = 256;

/// Sockets looked at in one go.
const EVENTS_PER_POLL: usize = 1024;

/// How often the time of day is read for the lines.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// How often datagrams without a call are told of.
const STRAY_REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What a worker works with.
#[derive(Debug)]
pub struct Assignment {
    /// Its sockets, which do not block, its lines, and calls to go on with.
    pub share: Share,
    /// What its calls have in common.
    pub settings: Arc<Settings>,
    /// How often it wakes.
    pub tick: Duration,
    /// Where the state of its calls is kept, if it is.
    pub checkpoints: Option<CheckpointStore>,
    /// Where what it reads is kept until it is in a checkpoint, if it is.
    pub tape: Option<Tape>,
    /// What the daemon before has read last, on all ports, oldest first.
    pub taped: Arc<Vec<Taped>>,
    /// Where their audio is kept until its text is out, if it is.
    pub spool: Option<Spool>,
}

/// A running worker.
#[derive(Debug)]
pub struct MediaWorker {
    /// Where its commands go.
    pub commands: mpsc::Sender<Command>,
    /// Resolves when the worker has stopped, whatever the reason.
    pub stopped: oneshot::Receiver<()>,
    /// Counts its ticks: stands still when the worker does, but at [`systemd::ENDED`] it has ended.
    pub pulse: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl MediaWorker {
    /// Waits for the thread; `false` if it panicked.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused a thread, an epoll or a runtime.
    #[error("cannot start a media worker: {0}")]
    Refused(#[from] io::Error),
}

/// Starts a worker. `make_recogniser` is called on its thread.
///
/// # Errors
/// When the system refuses it what it needs, or a line does not fit its ports.
pub fn start(
    number: usize,
    mut assignment: Assignment,
    make_recogniser: impl FnOnce() -> Recogniser + Send + 'static,
    publisher: Publisher,
) -> Result<MediaWorker, StartError> {
    let (commands, orders) = mpsc::channel(64);
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let (stopping, stopped) = oneshot::channel();
    let pulse = Arc::new(AtomicU64::new(0));
    let (own_pulse, last_pulse) = (Arc::clone(&pulse), Arc::clone(&pulse));
    let found = std::mem::take(&mut assignment.share.found);
    let taped = std::mem::take(&mut assignment.taped);
    let body = move || {
        let worker = set_up(number, assignment, orders, publisher, make_recogniser);
        let outcome = worker.map(|(runtime, mut worker, tick)| {
            worker.pulse = own_pulse;
            // The starter waits for it; it cannot be gone.
            ready.send(Ok(())).ok();
            LocalSet::new().block_on(&runtime, worker.run(tick, found, taped));
        });
        if let Err(refused) = outcome {
            ready.send(Err(refused)).ok();
        }
        last_pulse.store(systemd::ENDED, Ordering::Relaxed);
        // Nobody listens any more when the daemon is past caring.
        stopping.send(()).ok();
    };
    let thread = thread::Builder::new()
        .name(format!("media-{number}"))
        .spawn(body)?;
    match started.recv() {
        Ok(Ok(())) => Ok(MediaWorker {
            commands,
            stopped,
            pulse,
            thread,
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the thread ended before it began").into()),
    }
}

type SetUp = (tokio::runtime::Runtime, Worker, Duration);

fn set_up(
    number: usize,
    assignment: Assignment,
    orders: mpsc::Receiver<Command>,
    publisher: Publisher,
    make_recogniser: impl FnOnce() -> Recogniser,
) -> Result<SetUp, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut switchboard = Switchboard::new(assignment.settings, wall_clock());
    let poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(assignment.share.sockets.len());
    for (number, socket) in assignment.share.sockets {
        let mut socket = mio::net::UdpSocket::from_std(socket);
        poll.registry()
            .register(&mut socket, Token(sockets.len()), Interest::READABLE)?;
        sockets.push(Port {
            number,
            index: switchboard.add_port(number),
            socket,
        });
    }
    for line in &assignment.share.lines {
        if let Some(line) = plug(line, &sockets) {
            switchboard.add_line(line);
        }
    }
    let now = Instant::now();
    let worker = Worker {
        spooling: Spooling::new(number, assignment.spool),
        checkpoints: assignment
            .checkpoints
            .map(|store| (store, Checkpoints::new(now))),
        tape: assignment.tape,
        again: None,
        switchboard,
        poll,
        events: Events::with_capacity(EVENTS_PER_POLL),
        sockets,
        unfinished: Vec::new(),
        datagram: [0; DATAGRAM_BYTES],
        recognitions: Recognitions::new(make_recogniser()),
        publisher,
        orders,
        farewells: Farewells::default(),
        meter: Meter::new(),
        draining: None,
        is_handing_over: false,
        pulse: Arc::default(),
        next_wall_clock: Instant::now(),
        next_stray_report: Instant::now() + STRAY_REPORT_INTERVAL,
        reported_strays: 0,
    };
    Ok((runtime, worker, assignment.tick))
}

/// A line of the configuration on these ports; `None` if one of its legs has none here.
fn plug(line: &file::Line, sockets: &[Port]) -> Option<Line> {
    let leg = |leg: &file::LineLeg| {
        let found = sockets.iter().find(|socket| socket.number == leg.port);
        found.map(|socket| (socket.index, leg.role))
    };
    Some(Line {
        name: line.name.clone(),
        legs: line.legs.iter().map(leg).collect::<Option<_>>()?,
    })
}

/// A socket and the switchboard's name for its port.
struct Port {
    number: u16,
    index: PortIndex,
    socket: mio::net::UdpSocket,
}

struct Worker {
    spooling: Spooling,
    checkpoints: Option<(CheckpointStore, Checkpoints)>,
    tape: Option<Tape>,
    /// While what the daemon before has read is heard again.
    again: Option<Again>,
    switchboard: Switchboard,
    poll: Poll,
    events: Events,
    sockets: Vec<Port>,
    /// Sockets that had more than a tick's share: epoll reports them only when more arrives.
    unfinished: Vec<Token>,
    datagram: [u8; DATAGRAM_BYTES],
    recognitions: Recognitions,
    publisher: Publisher,
    orders: mpsc::Receiver<Command>,
    farewells: Farewells,
    meter: Meter,
    draining: Option<Instant>,
    is_handing_over: bool,
    pulse: Arc<AtomicU64>,
    next_wall_clock: Instant,
    next_stray_report: Instant,
    reported_strays: u64,
}

impl Worker {
    async fn run(mut self, tick: Duration, found: Vec<FoundCall>, taped: Arc<Vec<Taped>>) {
        self.resume(found, &taped, Instant::now());
        drop(taped);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = ticks.tick().await.into_std();
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let tick = checkpoint::monotonic();
            self.read_clocks(now);
            if let Err(error) = self.receive(now, tick) {
                error!(%error, "cannot wait for datagrams; the worker stops");
                return;
            }
            // After receiving: a call that is told to end keeps what had arrived, and one that is
            // registered does not get it.
            self.take_orders(now);
            self.switchboard.handle_timeout(now);
            self.take_reports(now);
            self.perform(now);
            self.meter.note_tick(due, now, Instant::now());
            if self.is_handing_over || self.is_drained(now) {
                return self.leave_state(now);
            }
            self.keep_state(now);
        }
    }

    fn read_clocks(&mut self, now: Instant) {
        if now >= self.next_wall_clock {
            self.next_wall_clock = now + WALL_CLOCK_INTERVAL;
            self.switchboard.set_wall_clock(wall_clock());
        }
        if now >= self.next_stray_report {
            self.next_stray_report = now + STRAY_REPORT_INTERVAL;
            self.report_strays();
        }
    }

    /// Senders that nobody expects are told of now and then, never one line a datagram.
    fn report_strays(&mut self) {
        let strays = self.switchboard.strays().total();
        if strays > self.reported_strays {
            let datagrams = strays - self.reported_strays;
            info!(
                datagrams,
                "datagrams came to ports without a call, and were dropped"
            );
            self.reported_strays = strays;
        }
    }

    /// Empties every socket. What was read is on the tape before anything comes of it.
    fn receive(&mut self, now: Instant, tick: Duration) -> io::Result<()> {
        let received = self.empty_sockets(now, tick);
        if let Some(tape) = &mut self.tape {
            tape.write(tick);
        }
        received
    }

    fn empty_sockets(&mut self, now: Instant, tick: Duration) -> io::Result<()> {
        for token in std::mem::take(&mut self.unfinished) {
            self.empty_socket(token, now, tick);
        }
        loop {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let ready: Vec<Token> = self.events.iter().map(mio::event::Event::token).collect();
            let is_last = ready.len() < EVENTS_PER_POLL;
            for token in ready {
                self.empty_socket(token, now, tick);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn empty_socket(&mut self, token: Token, now: Instant, tick: Duration) {
        let Some(port) = self.sockets.get(token.0) else {
            return;
        };
        for _ in 0..DATAGRAMS_PER_TICK {
            match port.socket.recv_from(&mut self.datagram) {
                Ok((len, source)) => {
                    // A socket that hears both families shows IPv4 senders as mapped addresses.
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    let bytes = &self.datagram[..len];
                    self.switchboard
                        .handle_datagram(port.index, source, bytes, now);
                    if let Some(tape) = &mut self.tape
                        && self.switchboard.call_on(port.index).is_some()
                    {
                        tape.note(tick, port.number, source, bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of something this socket never sent; the next read goes on.
                Err(_) => {}
            }
        }
        self.unfinished.push(token);
    }

    fn take_reports(&mut self, now: Instant) {
        while let Some((key, report)) = self.recognitions.poll_report() {
            let is_text = matches!(report, Report::Recognised(_));
            if !matches!(report, Report::Interim(_)) {
                self.meter.note_outcome(key, is_text, now);
            }
            match report {
                Report::Interim(text) => self.switchboard.handle_interim(key, text, now),
                Report::Recognised(recognition) => {
                    self.switchboard.handle_recognised(key, recognition, now);
                }
                Report::Unrecognised {
                    reason, can_wait, ..
                } if can_wait && self.spooling.postpone(key, reason) => {
                    self.switchboard.handle_postponed(key, now);
                }
                Report::Unrecognised { reason, detail, .. } => {
                    self.part_span(key).in_scope(
                        || warn!(%detail, ?reason, "a part of an utterance was given up"),
                    );
                    self.switchboard
                        .handle_unrecognised(key, reason, detail, now);
                }
            }
        }
        while let Some((key, outcome)) = self.spooling.poll_outcome() {
            self.switchboard.handle_outcome(key, outcome, now);
        }
    }

    fn perform(&mut self, now: Instant) {
        while let Some(output) = self.switchboard.poll_output() {
            match output {
                Output::Publish(event) => {
                    if self.is_known(&event) {
                        continue;
                    }
                    self.farewells.note(&event);
                    self.meter.note_event(&event);
                    diary::note(&event);
                    self.publisher.publish(event);
                }
                Output::Settle { key, event } => {
                    self.meter.note_event(&event);
                    diary::note(&event);
                    match self.spooling.settle(key) {
                        Some(release) => self.publisher.publish_and_then(event, release),
                        None => self.publisher.publish(event),
                    }
                }
                Output::OpenPart { key, label } => {
                    if let Some(is_text) = self.was_told(&label) {
                        let told = Outcome::Told { is_text };
                        self.switchboard.handle_outcome(key, told, now);
                        continue;
                    }
                    let span = self.part_span(key);
                    let audio = self.recognitions.open(key, label.law, span);
                    self.spooling.open(key, label, audio);
                }
                Output::Audio { key, frame } => self.recognitions.append(key, &frame),
                Output::ClosePart { key, closed } => {
                    self.recognitions.close(key);
                    self.spooling.close(key, closed);
                    self.meter.note_closed(key, now);
                }
                Output::SendReport { port, report } if self.again.is_none() => {
                    self.send_report(port, &report);
                }
                Output::SendReport { .. } => {}
                Output::Heard { .. } => {}
            }
        }
    }

    fn part_span(&self, key: PartKey) -> Span {
        let call = self.switchboard.call(key.call);
        diary::part_span(call.map(|call| &call.spec().id), key)
    }

    /// A report is worth one try: the next one says more.
    fn send_report(&self, port: u16, report: &feedback::Report) {
        let above = if report.is_muxed { port } else { port + 1 };
        let on = |number| self.sockets.iter().find(|socket| socket.number == number);
        if let Some(port) = on(above).or_else(|| on(port))
            && let Err(error) = port.socket.send_to(&report.packet, report.to)
        {
            trace!(%error, to = %report.to, "a receiver report was not sent");
        }
    }

    /// Whether the worker may stop; past the deadline what is still being recognised is given up.
    fn is_drained(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.draining else {
            return false;
        };
        if now >= deadline {
            for key in self.recognitions.abandon() {
                if self.spooling.postpone(key, GapReason::Shutdown) {
                    self.switchboard.handle_postponed(key, now);
                    continue;
                }
                let detail = "the daemon was stopped before the text came".to_owned();
                self.switchboard
                    .handle_unrecognised(key, GapReason::Shutdown, detail, now);
            }
            self.perform(now);
        }
        // What waits on disk is left to the next daemon.
        self.switchboard.calls().all(Call::is_waiting)
    }
}

fn wall_clock() -> WallClock {
    WallClock::new(Instant::now(), jiff::Timestamp::now())
}
