//! `callscribe demo`: a whole call on one machine, heard, recognised and judged.
#![expect(
    clippy::disallowed_methods,
    reason = "the demonstration waits for what others do, and not for ever"
)]

mod program;
pub mod report;
mod stage;

use std::fmt::Display;
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::demo::report::{Report, Turn, TurnsError};
use crate::cli::demo::stage::{Stage, StageError};
use crate::cli::exit;
use crate::cli::send::packetizer::{Packetizer, Profile, compand_all};
use crate::cli::send::pump::{Outlet, pump};
use crate::cli::tail::text::Renderer;
use crate::media::{Law, Samples, Ssrc};
use crate::wav::{self, WavError};

/// Play a Mandarin call through service and daemon, and show what was understood of it.
///
/// Starts `callscribe service` and `callscribe run` on free ports of the loopback interface, sends
/// both legs of a call in real time as RTP, shows the lines as they come, and compares them with
/// what was said. Nothing is left behind.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder with call_agent.wav, call_caller.wav and turns.tsv
    #[arg(long, value_name = "DIR", default_value = "fixtures")]
    pub call: PathBuf,
    /// Model file for the recogniser [default: the one that scripts/fetch-model made]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Keep the folder with the configuration and the logs
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demonstration.
pub fn run(args: &DemoArgs) -> ExitCode {
    match play(args) {
        Ok(report) => {
            print(&format!("\n{report}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{}: {source}; run it in the source tree, or name the folder with --call", path.display())]
    NoCall { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Wav { path: PathBuf, source: WavError },
    #[error("{}: {source}", path.display())]
    Turns { path: PathBuf, source: TurnsError },
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("sending failed: {0}")]
    Send(io::Error),
    #[error("the daemon closed its socket")]
    SocketClosed,
    #[error("no call_ended within {} seconds of the last packet", PATIENCE.as_secs())]
    NoEnd,
}

impl DemoError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::NoCall { .. } => exit::NO_INPUT,
            Self::Wav { .. } | Self::Turns { .. } => exit::DATA_ERROR,
            Self::Stage(StageError::Interrupted) => exit::INTERRUPTED,
            Self::Stage(_) | Self::SocketClosed | Self::NoEnd => exit::UNAVAILABLE,
            Self::Send(_) => exit::IO_ERROR,
        }
    }
}

/// The call to be played.
struct Call {
    /// Agent, then caller: the legs in the order of their channels.
    legs: [Vec<i16>; 2],
    turns: Vec<Turn>,
}

impl Call {
    fn read(folder: &Path) -> Result<Self, DemoError> {
        let bytes = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| DemoError::NoCall { path, source })
        };
        let leg = |name: &str| -> Result<Vec<i16>, DemoError> {
            let channels = wav::read(bytes(name)?.as_slice());
            let path = || folder.join(name);
            let channels = channels.map_err(|source| DemoError::Wav {
                path: path(),
                source,
            })?;
            Ok(channels.into_iter().next().unwrap_or_default())
        };
        let text = String::from_utf8_lossy(&bytes(TURNS)?).into_owned();
        let turns = report::parse_turns(&text, &LEGS).map_err(|source| DemoError::Turns {
            path: folder.join(TURNS),
            source,
        })?;
        Ok(Self {
            legs: [leg(LEGS[0])?, leg(LEGS[1])?],
            turns,
        })
    }

    fn length(&self) -> Duration {
        let samples = self.legs.iter().map(Vec::len).max().unwrap_or(0);
        Samples(samples as u64).as_duration()
    }
}

/// What the demonstration waits for.
enum Happening {
    Event(Value),
    SocketClosed,
    Sent(io::Result<()>),
}

fn play(args: &DemoArgs) -> Result<Report, DemoError> {
    let call = Call::read(&args.call)?;
    let (happened, happenings) = mpsc::sync_channel(64);
    let mut stage = Stage::set_up(args.keep, watch_signals())?;
    print("Starting the recogniser…");
    let endpoint = stage.start_service(args.model.as_deref())?;
    print("Starting the daemon…");
    let socket = stage.start_daemon(&endpoint)?;
    read_events(socket, happened.clone());
    let length = call.length().as_secs_f64();
    print(&format!(
        "Playing a call of {length:.0} seconds as RTP, each leg to its own port.\n"
    ));
    send_call(&call, stage.ports(), happened)?;
    listen(&happenings, &mut stage, Report::new(call.turns))
}

/// Takes what happens until the call is over.
fn listen(
    happenings: &Receiver<Happening>,
    stage: &mut Stage,
    mut report: Report,
) -> Result<Report, DemoError> {
    let mut renderer = Renderer::new(io::stdout().is_terminal());
    let mut deadline = None;
    loop {
        stage.check()?;
        match happenings.recv_timeout(GLANCE) {
            Ok(Happening::Event(event)) => {
                if let Some(line) = renderer.render(&event) {
                    print(line.trim_end());
                }
                report.add(&event);
                if event["event"] == "call_ended" {
                    return Ok(report);
                }
            }
            Ok(Happening::Sent(result)) => {
                result.map_err(DemoError::Send)?;
                deadline = Some(Instant::now() + PATIENCE);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Happening::SocketClosed) | Err(RecvTimeoutError::Disconnected) => {
                stage.check()?;
                return Err(DemoError::SocketClosed);
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(DemoError::NoEnd);
        }
    }
}

/// Notes SIGINT, SIGTERM and SIGHUP, so that what was started is also stopped.
fn watch_signals() -> Arc<AtomicBool> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&is_interrupted);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            noted.store(true, Ordering::Relaxed);
            io::Result::Ok(())
        })
    });
    is_interrupted
}

fn read_events(socket: UnixStream, happened: SyncSender<Happening>) {
    thread::spawn(move || {
        let events = BufReader::new(socket)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str(&line).ok())
            .map(Happening::Event);
        for happening in events.chain([Happening::SocketClosed]) {
            if happened.send(happening).is_err() {
                return;
            }
        }
    });
}

fn send_call(
    call: &Call,
    ports: [u16; 2],
    happened: SyncSender<Happening>,
) -> Result<(), DemoError> {
    let mut outlets = Vec::new();
    for (ordinal, (samples, port)) in (1..).zip(call.legs.iter().zip(ports)) {
        let profile = Profile {
            law: Law::Pcmu,
            payload_type: 0,
            event_payload_type: 101,
            packet_time: Samples::from_ms(20),
            ssrc: Ssrc(ordinal),
            sequence_number: 0,
            timestamp: 0,
        };
        let packets = Packetizer::new(profile, compand_all(profile.law, samples), &[]);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        outlets.push(Outlet::open(target, 0, Box::new(packets)).map_err(DemoError::Send)?);
    }
    thread::spawn(move || {
        let sent = pump(outlets, 1.0).map(drop);
        // Nobody listens any more only when the demonstration is over.
        happened.send(Happening::Sent(sent)).unwrap_or_default();
    });
    Ok(())
}

/// Shows a line; whoever closes the output still gets the rest done and cleared away.
fn print(text: &str) {
    let mut out = io::stdout();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .unwrap_or_default();
}

#[expect(
    clippy::print_stderr,
    reason = "a command's errors go to standard error"
)]
fn print_error(error: &dyn Display) {
    eprintln!("callscribe demo: {error}");
}

/// The legs of the call: the file of channel 0 and of channel 1.
const LEGS: [&str; 2] = ["call_agent.wav", "call_caller.wav"];
/// Who says what, and when.
const TURNS: &str = "turns.tsv";

/// How often the programs are looked after when nothing happens.
const GLANCE: Duration = Duration::from_millis(200);
/// How long the last texts may take.
const PATIENCE: Duration = Duration::from_secs(60);
