//! `callscribe run`: the daemon, from its configuration to its last line.

#![expect(clippy::print_stderr, reason = "an error before logging is set up")]
#![expect(clippy::disallowed_methods, reason = "the deadline of the last words")]

mod reload;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::exit;
use crate::config::{self, ConfigError, File, RecogniserError};
use crate::io::control::{self, ControlError};
use crate::io::journal::{self, Journal};
use crate::io::logging::Logging;
use crate::io::media_worker::{self, Assignment, Command, MediaWorker};
use crate::io::provider::Provider;
use crate::io::publisher;
use crate::io::recogniser::Recogniser;
use crate::io::sockets::{self, BindError};
use crate::io::unix_socket::SocketError;
use crate::io::{assignment, logging};
use crate::speech::utterance::SettingsError;
use reload::Reloader;

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
    let logging = logging::start(&config.log);
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervise(args, &config, logging))
}

/// The life of the daemon: bind, start, wait, drain, stop.
async fn supervise(args: &RunArgs, config: &File, logging: Logging) -> Result<(), RunError> {
    let mut stop = StopSignals::new()?;
    let hangup = signal(SignalKind::hangup())?;
    let provider = config.recogniser()?;
    let sockets = sockets::bind_all(&config.rtp)?;
    let journal = journal::Settings::new(&config.journal).map(Journal::open);
    let (publisher, publisher_thread) = publisher::start(&config.events, journal)?;
    let settings = Arc::new(config.switchboard()?);
    let mut workers = Vec::new();
    for (number, (sockets, lines)) in assignment::divide(config, sockets).into_iter().enumerate() {
        let tick = config.rtp.tick_ms.duration();
        let assignment = Assignment {
            sockets,
            lines,
            settings: Arc::clone(&settings),
            tick,
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
    let figures = publisher.figures();
    drop(publisher);
    let commands = workers.iter().map(|worker| worker.commands.clone());
    let control = control::start(config, commands.collect(), Arc::clone(&provider), figures)?;
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
    let stopped_by_itself = tokio::select! {
        () = stop.received() => false,
        () = any_stopped(&mut workers) => true,
        never = warn_if_unreachable(&provider, config) => match never {},
        never = reloader.on(hangup) => match never {},
    };
    info!(
        seconds = DRAIN_TIME.as_secs(),
        "stopping: the last words are being recognised"
    );
    let is_well = drain(workers, &mut stop).await && !stopped_by_itself;
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

async fn any_stopped(workers: &mut [MediaWorker]) {
    let stopped = workers.iter_mut().map(|worker| &mut worker.stopped);
    // Ok or cancelled, it has stopped.
    drop(futures_util::future::select_all(stopped).await);
}

/// Lets every worker finish; a second signal, and it is over now. `false` if one panicked.
async fn drain(workers: Vec<MediaWorker>, stop: &mut StopSignals) -> bool {
    let deadline = Instant::now() + DRAIN_TIME;
    order_drain(&workers, deadline).await;
    let mut workers = workers;
    let all_stopped = async {
        for worker in &mut workers {
            // Ok or cancelled, it has stopped.
            drop((&mut worker.stopped).await);
        }
    };
    let hurried = tokio::select! {
        () = all_stopped => false,
        () = stop.received() => true,
    };
    if hurried {
        warn!("stopping at once: what is still being recognised is given up");
        order_drain(&workers, Instant::now()).await;
    }
    let joined = workers
        .into_iter()
        .map(MediaWorker::join)
        .collect::<Vec<_>>();
    joined.into_iter().all(|is_well| is_well)
}

async fn order_drain(workers: &[MediaWorker], deadline: Instant) {
    for worker in workers {
        if worker
            .commands
            .send(Command::Drain { deadline })
            .await
            .is_err()
        {
            error!("a media worker is gone");
        }
    }
}

/// SIGTERM from the service manager, SIGINT from a terminal.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

const fn exit_code(error: &RunError) -> u8 {
    match error {
        RunError::Config(_) | RunError::Recogniser(_) | RunError::Speech(_) => exit::CONFIG,
        RunError::Bind(_)
        | RunError::Socket(_)
        | RunError::Control(_)
        | RunError::Worker(_)
        | RunError::System(_) => exit::OS_ERROR,
        RunError::WorkerDied => exit::SOFTWARE,
    }
}
