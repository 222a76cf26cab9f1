//! A media worker: a thread that owns its sockets, its calls and its recogniser connections.
//!
//! It wakes every tick, reads the sockets whose turn it is, lets time pass for its calls, and
//! performs what they ask for. Sessions with the recogniser are tasks on the same thread: nothing
//! is locked, and nothing crosses a thread but events.

#![expect(
    clippy::disallowed_methods,
    reason = "the clock of the core is read here"
)]

mod diary;
mod ear;
mod intake;
mod meter;
mod orders;
mod recognition;
mod resumption;
mod spooling;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tracing::{Span, error, info, trace, warn};

use crate::call::conversation::Call;
use crate::call::feedback;
use crate::call::label::PartLabel;
use crate::call::overload::Shedding;
use crate::call::part::Outcome;
use crate::call::switchboard::{Line, OVERLOAD_OVER, Settings, Switchboard};
use crate::call::{Output, PartKey, WallClock};
use crate::config::file;
use crate::event::{Body, Event, GapReason};
use crate::io::assignment::Share;
use crate::io::checkpoint::{Checkpoints, FoundCall, Rhythm};
use crate::io::checkpoint_store::CheckpointStore;
use crate::io::clock;
use crate::io::pressure::Pressure;
use crate::io::publisher::Publisher;
use crate::io::recogniser::Recogniser;
use crate::io::spool::Spool;
use crate::io::systemd;
use crate::io::tape::{Tape, Taped};
use intake::{Intake, Interval};
pub(crate) use meter::SEND_BOUNDS;
pub use meter::{Meter, WorkerFigures};
use orders::Farewells;
pub use orders::{Command, Survey};
use recognition::{Recognitions, Report};
use resumption::Again;
use spooling::Spooling;

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
    /// How many workers there are.
    pub workers: NonZeroUsize,
    /// Where it says that it is short of time.
    pub pressure: Pressure,
    /// Where it says that it sheds something.
    pub shedding: Pressure,
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
    switchboard.share_with(assignment.workers);
    let mut intake = Intake::new(assignment.tick)?;
    for (number, socket) in assignment.share.sockets {
        intake.add(number, switchboard.add_port(number), socket)?;
    }
    for line in &assignment.share.lines {
        if let Some(line) = plug(line, &intake) {
            switchboard.add_line(line);
        }
    }
    let now = Instant::now();
    let rhythm = match assignment.tape {
        Some(_) => Rhythm::WITH_TAPE,
        None => Rhythm::WITHOUT_TAPE,
    };
    let worker = Worker {
        spooling: Spooling::new(number, assignment.spool),
        checkpoints: assignment
            .checkpoints
            .map(|store| (store, Checkpoints::new(rhythm, now))),
        tape: assignment.tape,
        again: None,
        switchboard,
        intake,
        recognitions: Recognitions::new(make_recogniser()),
        publisher,
        orders,
        farewells: Farewells::default(),
        meter: Meter::new(),
        pressure: assignment.pressure,
        shedding: assignment.shedding,
        draining: None,
        is_handing_over: false,
        pulse: Arc::default(),
        interval: Interval::beginning(now),
        next_wall_clock: now,
        next_stray_report: now + STRAY_REPORT_INTERVAL,
        reported_strays: 0,
    };
    Ok((runtime, worker, assignment.tick))
}

/// A line of the configuration on these ports; `None` if one of its legs has none here.
fn plug(line: &file::Line, intake: &Intake) -> Option<Line> {
    let leg = |leg: &file::LineLeg| Some((intake.index_of(leg.port)?, leg.role));
    Some(Line {
        name: line.name.clone(),
        legs: line.legs.iter().map(leg).collect::<Option<_>>()?,
    })
}

struct Worker {
    spooling: Spooling,
    checkpoints: Option<(CheckpointStore, Checkpoints)>,
    tape: Option<Tape>,
    /// While what the daemon before has read is heard again.
    again: Option<Again>,
    switchboard: Switchboard,
    intake: Intake,
    recognitions: Recognitions,
    publisher: Publisher,
    orders: mpsc::Receiver<Command>,
    farewells: Farewells,
    meter: Meter,
    pressure: Pressure,
    shedding: Pressure,
    draining: Option<Instant>,
    is_handing_over: bool,
    pulse: Arc<AtomicU64>,
    /// In which everything came that is read now.
    interval: Interval,
    next_wall_clock: Instant,
    next_stray_report: Instant,
    reported_strays: u64,
}

impl Worker {
    async fn run(mut self, tick: Duration, found: Vec<FoundCall>, taped: Arc<Vec<Taped>>) {
        self.resume(found, &taped, Instant::now());
        drop(taped);
        let mut due = Instant::now();
        loop {
            tokio::time::sleep_until(due.into()).await;
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let lag = now.saturating_duration_since(due);
            self.meter.note_tick(lag);
            self.switchboard.handle_tick(lag);
            self.read_clocks(now);
            if let Err(error) = self.receive(now) {
                error!(%error, "cannot wait for datagrams; the worker stops");
                return;
            }
            // After receiving: a call that is told to end keeps what had arrived, and one that is
            // registered does not get it.
            self.take_orders(now);
            self.switchboard.handle_timeout(now);
            self.take_reports(now);
            self.perform(now);
            if self.is_handing_over || self.is_drained(now) {
                return self.leave_state(now);
            }
            self.keep_state(now);
            // What came just after the reading waits for the next one and then for as much work: together, a tick. The
            // sessions have a moment in any case.
            let worked = now.elapsed();
            due = now + worked + tick.saturating_sub(2 * worked).max(tick / 20);
        }
    }

    fn read_clocks(&mut self, now: Instant) {
        if now >= self.next_wall_clock {
            self.next_wall_clock = now + WALL_CLOCK_INTERVAL;
            self.switchboard.set_wall_clock(wall_clock());
        }
        if self.switchboard.overload().is_due(now) {
            self.switchboard.handle_usage(clock::thread_time(), now);
            let shedding = self.switchboard.overload().shedding();
            self.pressure.note(shedding == Shedding::Speech);
            self.shedding.note(shedding != Shedding::Nothing);
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
                    if self.is_known(&event) || self.is_true_of_us_only(&event) {
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
                Output::OpenPart { key, label } => self.open_part(key, label, now),
                Output::Audio { key, ref frame, at } => {
                    self.recognitions.append(key, frame, at);
                }
                Output::ClosePart { key, closed, at } => {
                    self.recognitions.close(key, at);
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

    /// Whether the event says that something is over which still goes on in another worker.
    fn is_true_of_us_only(&self, event: &Event) -> bool {
        let is_over = matches!(&event.body, Body::Error { code, .. } if *code == OVERLOAD_OVER);
        is_over && self.shedding.is_high()
    }

    /// Has a part recognised from its first word on; while there is too much to do it waits on disk
    /// until it is complete and later, or, where there is no disk, is given up.
    fn open_part(&mut self, key: PartKey, label: Box<PartLabel>, now: Instant) {
        if let Some(is_text) = self.was_told(&label) {
            let told = Outcome::Told { is_text };
            return self.switchboard.handle_outcome(key, told, now);
        }
        if !self.defers_speech() {
            let span = self.part_span(key);
            let audio = self.recognitions.open(key, label.law, span);
            return self.spooling.open(key, label, audio);
        }
        self.meter.deferred_parts += 1;
        let audio = self.recognitions.only_keep(key, label.law);
        self.spooling.open(key, label, audio);
        if self.spooling.postpone(key, GapReason::Overload) {
            return self.switchboard.handle_postponed(key, now);
        }
        let load = self.switchboard.overload().load().percent();
        let detail = format!("the daemon was at {load} % of its capacity, and has no spool");
        self.meter.note_outcome(key, false, now);
        self.switchboard
            .handle_unrecognised(key, GapReason::Overload, detail, now);
    }

    fn defers_speech(&self) -> bool {
        self.switchboard.overload().shedding() == Shedding::Speech
    }

    fn part_span(&self, key: PartKey) -> Span {
        let call = self.switchboard.call(key.call);
        diary::part_span(call.map(|call| &call.spec().id), key)
    }

    /// A report is worth one try: the next one says more.
    fn send_report(&self, port: u16, report: &feedback::Report) {
        let from = if report.is_muxed { port } else { port + 1 };
        if let Err(error) = self.intake.send(from, &report.packet, report.to) {
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
