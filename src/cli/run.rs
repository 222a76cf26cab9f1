//! `callscribe run`: the daemon, from its configuration to its last line.

#![expect(clippy::print_stderr, reason = "an error before logging is set up")]
#![expect(clippy::disallowed_methods, reason = "the deadline of the last words")]

mod reload;
mod spool;
mod state;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::exit;
use crate::config::{self, ConfigError, File, RecogniserError};
use crate::io::checkpoint_store::StoreError;
use crate::io::control::{self, ControlError};
use crate::io::inherited::Inherited;
use crate::io::journal::{self, Journal, JournalError};
use crate::io::logging::Logging;
use crate::io::media_worker::{self, Assignment, Command, MediaWorker};
use crate::io::metrics::Disks;
use crate::io::pressure::Pressure;
use crate::io::provider::Provider;
use crate::io::publisher;
use crate::io::recogniser::Recogniser;
use crate::io::sockets::{self, BindError};
use crate::io::spool::OpenError;
use crate::io::unix_socket::SocketError;
use crate::io::{assignment, logging, outage, systemd};
use crate::speech::utterance::SettingsError;
use reload::Reloader;
use spool::CallAudio;
use state::CallState;

/// Receive calls and publish what is said.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/callscribe/callscribe.toml"
    )]
    pub config: PathBuf,
}

/// How long the last words may take after the first SIGTERM or SIGINT; a second one stops at once.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Spool(#[from] OpenError),
    #[error(transparent)]
    State(#[from] StoreError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Recogniser(#[from] RecogniserError),
    #[error(transparent)]
    Speech(#[from] SettingsError),
    #[error(transparent)]
    Worker(#[from] media_worker::StartError),
    #[error("cannot set up the runtime or the signals: {0}")]
    System(#[from] std::io::Error),
    #[error("a media worker stopped by itself; this is a defect, please report it with the log")]
    WorkerDied,
}

/// Runs until it is told to stop.
pub fn run(args: &RunArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("callscribe: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn serve(args: &RunArgs) -> Result<(), RunError> {
    let config = config::load(&args.config)?;
    let logging = logging::start(&config.log)?;
    let inherited = Inherited::from_environment();
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(supervise(args, &config, logging.clone(), inherited));
    logging.finish();
    outcome
}

/// The life of the daemon: bind, start, wait, drain, stop.
async fn supervise(
    args: &RunArgs,
    config: &File,
    logging: Logging,
    mut inherited: Inherited,
) -> Result<(), RunError> {
    let mut stop = StopSignals::new()?;
    let put_aside = systemd::put_aside();
    let hangup = signal(SignalKind::hangup())?;
    let provider = config.recogniser()?;
    let sockets = sockets::bind_all(&config.rtp, &mut inherited)?;
    let journal = journal::Settings::new(&config.journal);
    let journal = journal.map(Journal::open).transpose()?;
    let history = journal.as_ref().and_then(Journal::history);
    let journal_gauge = journal.as_ref().map(Journal::gauge);
    let passed = inherited.take_listener(&config.events.socket);
    let (publisher, publisher_thread) = publisher::start(&config.events, journal, passed)?;
    let settings = Arc::new(config.switchboard()?);
    let mut workers = Vec::new();
    let (state, found) = CallState::open(config)?;
    let taped = Arc::new(state.taped());
    let (pressure, shedding) = (Pressure::default(), Pressure::default());
    let (audio, parts) = CallAudio::open(config, &provider, &publisher, &pressure)?;
    let found = if audio.is_kept() {
        spool::reunite(found, parts, history.as_ref())
    } else {
        found
    };
    drop(history);
    let shares = assignment::divide(config, sockets, found);
    let shared_by = NonZeroUsize::new(shares.len()).unwrap_or(NonZeroUsize::MIN);
    for (number, share) in shares.into_iter().enumerate() {
        let assignment = Assignment {
            share,
            settings: Arc::clone(&settings),
            tick: config.rtp.tick_ms.duration(),
            checkpoints: state.store(),
            tape: state.tape(number),
            taped: Arc::clone(&taped),
            spool: audio.spool(),
            workers: shared_by,
            pressure: pressure.clone(),
            shedding: shedding.clone(),
        };
        let provider = Arc::clone(&provider);
        let make = move || Recogniser::new(provider);
        workers.push(media_worker::start(
            number,
            assignment,
            make,
            publisher.clone(),
        )?);
    }
    drop(taped);
    let figures = publisher.figures();
    let commands = workers.iter().map(|worker| worker.commands.clone());
    let passed = inherited.take_listener(&config.control_socket());
    let control = control::start(
        config,
        commands.collect(),
        Arc::clone(&provider),
        figures,
        Disks {
            journal: journal_gauge,
            spool: audio.gauge(),
            checkpoints: state.store(),
        },
        passed,
    )?;
    let pulses = workers.iter().map(|worker| Arc::clone(&worker.pulse));
    let mut watchdog = pin!(systemd::feed_watchdog(pulses.collect()));
    announce(config, workers.len());

    let reloader = Reloader {
        path: args.config.clone(),
        started_with: config.clone(),
        read_last: config.clone(),
        logging,
        provider: Arc::clone(&provider),
        workers: workers
            .iter()
            .map(|worker| worker.commands.clone())
            .collect(),
        control: control.adjustable(),
    };
    state.forget_workers_from(workers.len());
    let end = tokio::select! {
        end = stop.received() => end,
        () = any_stopped(&mut workers) => End::Defect,
        never = warn_if_unreachable(&provider, config) => match never {},
        never = reloader.on(hangup) => match never {},
        never = outage::watch(&provider, &publisher) => match never {},
        never = &mut watchdog => match never {},
    };
    drop(put_aside);
    let is_well = tokio::select! {
        is_well = bring_to_an_end(end, workers, &mut stop, &state) => is_well,
        never = &mut watchdog => match never {},
    };
    drop(publisher);
    audio.join();
    state.join();
    control.stop().await;
    publisher_thread.join();
    info!("stopped");
    if is_well {
        Ok(())
    } else {
        Err(RunError::WorkerDied)
    }
}

fn announce(config: &File, workers: usize) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        rtp = %format_args!("{}:{}", config.rtp.bind_address, config.rtp.port_range),
        events = %config.events.socket.display(),
        control = %config.control_socket().display(),
        recogniser = %config.asr.endpoint,
        workers,
        "ready"
    );
    let rtp = &config.rtp;
    systemd::ready(&format!(
        "receiving on {}:{}",
        rtp.bind_address, rtp.port_range
    ));
}

/// A recogniser that is away at the start is told at once, not with the first call.
async fn warn_if_unreachable(provider: &Provider, config: &File) -> Infallible {
    if let Err(failure) = provider.probe().await {
        let endpoint = &config.asr.endpoint;
        warn!(
            %endpoint, %failure,
            "the recogniser cannot be reached; calls are received, and their speech waits for it \
             (asr.give-up-after-ms) before it becomes a gap; start it or mend asr.endpoint"
        );
    }
    std::future::pending().await
}

/// Stops the workers; `false` if one did not end as it should.
async fn bring_to_an_end(
    end: End,
    workers: Vec<MediaWorker>,
    stop: &mut StopSignals,
    state: &CallState,
) -> bool {
    let is_restart = match end {
        End::HandOver => true,
        End::Stop => state.is_kept() && systemd::is_restarting().await,
        End::Defect => false,
    };
    if is_restart && state.is_kept() {
        systemd::stopping("the next daemon goes on with the calls");
        info!("stopping: the next daemon goes on with the calls");
        order_all(&workers, || Command::HandOver).await;
        return join_all(workers);
    }
    systemd::stopping("the last words are being recognised");
    info!(
        seconds = DRAIN_TIME.as_secs(),
        "stopping: the last words are being recognised"
    );
    drain(workers, stop).await && end != End::Defect
}

async fn any_stopped(workers: &mut [MediaWorker]) {
    let stopped = workers.iter_mut().map(|worker| &mut worker.stopped);
    // Ok or cancelled, it has stopped.
    drop(futures_util::future::select_all(stopped).await);
}

/// Lets every worker finish; a second signal, and it is over now. `false` if one panicked.
async fn drain(workers: Vec<MediaWorker>, stop: &mut StopSignals) -> bool {
    let deadline = Instant::now() + DRAIN_TIME;
    order_all(&workers, || Command::Drain { deadline }).await;
    let mut workers = workers;
    let all_stopped = async {
        for worker in &mut workers {
            // Ok or cancelled, it has stopped.
            drop((&mut worker.stopped).await);
        }
    };
    let hurried = tokio::select! {
        () = all_stopped => false,
        _ = stop.received() => true,
    };
    if hurried {
        warn!("stopping at once: what is still being recognised is given up");
        let deadline = Instant::now();
        order_all(&workers, || Command::Drain { deadline }).await;
    }
    join_all(workers)
}

/// Waits for every worker; `false` if one panicked.
fn join_all(workers: Vec<MediaWorker>) -> bool {
    let joined: Vec<bool> = workers.into_iter().map(MediaWorker::join).collect();
    joined.into_iter().all(|is_well| is_well)
}

async fn order_all(workers: &[MediaWorker], order: impl Fn() -> Command) {
    for worker in workers {
        if worker.commands.send(order()).await.is_err() {
            error!("a media worker is gone");
        }
    }
}

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was told to; perhaps to begin again.
    Stop,
    /// It was told that another one goes on with its calls.
    HandOver,
    /// A worker ended by itself.
    Defect,
}

/// SIGTERM from the service manager, SIGINT from a terminal, SIGUSR2 from whoever starts the next daemon at once.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hand_over: signal(SignalKind::user_defined2())?,
        })
    }

    async fn received(&mut self) -> End {
        tokio::select! {
            _ = self.terminate.recv() => End::Stop,
            _ = self.interrupt.recv() => End::Stop,
            _ = self.hand_over.recv() => End::HandOver,
        }
    }
}

const fn exit_code(error: &RunError) -> u8 {
    match error {
        RunError::Config(_)
        | RunError::Recogniser(_)
        | RunError::Speech(_)
        | RunError::Control(ControlError::Passwords(_)) => exit::CONFIG,
        RunError::Bind(_)
        | RunError::Journal(_)
        | RunError::Spool(_)
        | RunError::State(_)
        | RunError::Socket(_)
        | RunError::Control(_)
        | RunError::Worker(_)
        | RunError::System(_) => exit::OS_ERROR,
        RunError::WorkerDied => exit::SOFTWARE,
    }
}
