//! `callscribe replay`: the same core over a capture, in virtual time.

#![expect(clippy::print_stderr, reason = "the command's answer")]

mod plan;
mod recording;
mod unheard;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::asr::Recognition;
use crate::call::switchboard::Switchboard;
use crate::call::{Output, PartKey, WallClock};
use crate::capture::{self, CaptureError, Datagram};
use crate::cli::exit;
use crate::config::{self, ConfigError, File, RecogniserError};
use crate::event::{EndReason, Event, GapReason, Role};
use crate::io::part_audio::PartAudio;
use crate::io::recogniser::{Recogniser, Unrecognised};
use crate::speech::utterance::SettingsError;
use crate::wav::WavError;
use plan::Plan;
use recording::Recording;
use unheard::Unheard;

/// Run the daemon's core over a capture and print its lines.
///
/// Time is the capture's, so the lines come as fast as the machine and the recogniser allow. Streams in opposite
/// directions between the same two addresses are the legs of one call; any other stream is a call of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// A pcap or pcapng file.
    pub file: PathBuf,
    /// Configuration file; its tables `rtp`, `speech` and `asr` are used.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// `configured`: the recogniser of the configuration. `none`: nothing is recognised, and every part of speech is
    /// reported as a gap.
    #[arg(long, value_enum, default_value_t = Engine::Configured)]
    pub engine: Engine,
    /// Writes what each leg heard to DIR/CALL-CHANNEL.wav, 8 kHz 16-bit, its first sample at the call clock's zero.
    #[arg(long, value_name = "DIR")]
    pub wav: Option<PathBuf>,
    /// Makes the streams to these ports the legs of one call, in this order; repeat it for each leg.
    #[arg(long, value_name = "PORT[=AGENT|CUSTOMER]")]
    pub leg: Vec<LegArg>,
}

/// Who recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The recogniser of the configuration.
    Configured,
    /// Nobody.
    None,
}

/// A port and whose voice goes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegArg {
    port: u16,
    role: Option<Role>,
}

impl FromStr for LegArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (port, role) = text
            .split_once('=')
            .map_or((text, None), |(p, role)| (p, Some(role)));
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a UDP port"))?;
        let role = match role {
            None => None,
            Some("AGENT") => Some(Role::Agent),
            Some("CUSTOMER") => Some(Role::Customer),
            Some(other) => return Err(format!("{other:?}: expected AGENT or CUSTOMER")),
        };
        Ok(Self { port, role })
    }
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Capture { path: PathBuf, source: CaptureError },
    #[error("cannot write {}: {source}", path.display())]
    Wav { path: PathBuf, source: WavError },
    #[error(transparent)]
    Speech(#[from] SettingsError),
    #[error(transparent)]
    Recogniser(#[from] RecogniserError),
    #[error("cannot write the lines: {0}")]
    Output(#[from] io::Error),
    #[error("no part was recognised: {0}; or use --engine none")]
    NotRecognised(String),
}

/// Replays the capture; what is whole of a damaged one is replayed too.
pub fn run(args: &ReplayArgs) -> ExitCode {
    match replay(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ReplayError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("callscribe: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn replay(args: &ReplayArgs) -> Result<(), ReplayError> {
    let config = match &args.config {
        Some(path) => config::load(path)?,
        None => File::for_replay(),
    };
    let bytes = std::fs::read(&args.file).map_err(|source| ReplayError::Unreadable {
        path: args.file.clone(),
        source,
    })?;
    let capture_error = |source| ReplayError::Capture {
        path: args.file.clone(),
        source,
    };
    let content = Content::read(&bytes).map_err(capture_error)?;
    let mut replay = Replay::new(args, &config, &content.datagrams)?;
    for datagram in &content.datagrams {
        replay.take(datagram)?;
    }
    replay.finish(content.shortcomings)?;
    match content.damage {
        Some(damage) => Err(capture_error(damage)),
        None => Ok(()),
    }
}

/// What there is in a capture.
struct Content<'a> {
    datagrams: Vec<Datagram<'a>>,
    /// What could not be read, in sentences.
    shortcomings: Vec<String>,
    /// What ended the file before its end.
    damage: Option<CaptureError>,
}

impl<'a> Content<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, CaptureError> {
        let mut items = capture::datagrams(bytes)?;
        let (mut datagrams, mut damage) = (Vec::new(), None);
        for item in items.by_ref() {
            match item {
                Ok(datagram) => datagrams.push(datagram),
                Err(error) => damage = Some(error),
            }
        }
        Ok(Self {
            datagrams,
            shortcomings: items.counters().shortcomings(),
            damage,
        })
    }
}

struct Replay {
    switchboard: Switchboard,
    plan: Plan,
    unheard: Unheard,
    recording: Option<Recording>,
    engine: Option<LiveEngine>,
    audio: BTreeMap<PartKey, Rc<PartAudio>>,
    recognised: usize,
    last_failure: Option<String>,
    next_seq: u64,
    zero: Instant,
    first: Duration,
    now: Instant,
    lines: io::BufWriter<io::Stdout>,
}

/// The recogniser, and a runtime for its sockets: virtual time stands still while it works.
struct LiveEngine {
    recogniser: Recogniser,
    runtime: tokio::runtime::Runtime,
}

impl Replay {
    fn new(
        args: &ReplayArgs,
        config: &File,
        datagrams: &[Datagram<'_>],
    ) -> Result<Self, ReplayError> {
        let mut settings = config.switchboard()?;
        settings.monitor = args.wav.is_some();
        let first = datagrams
            .iter()
            .map(|datagram| datagram.time)
            .min()
            .unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
        let zero = Instant::now();
        let at = jiff::Timestamp::UNIX_EPOCH
            .checked_add(first)
            .unwrap_or_default();
        let mut switchboard = Switchboard::new(Arc::new(settings), WallClock::new(zero, at));
        let plan = Plan::new(datagrams, &args.leg, &config.receiver(), &mut switchboard);
        for leg in args.leg.iter().filter(|leg| !plan.has_port(leg.port)) {
            eprintln!(
                "callscribe: --leg {}: nothing was sent to this port",
                leg.port
            );
        }
        let engine = match args.engine {
            Engine::None => None,
            Engine::Configured => Some(LiveEngine {
                recogniser: Recogniser::new(config.recogniser()?),
                runtime: tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?,
            }),
        };
        let recording = args.wav.clone().map(Recording::new);
        let lines = io::BufWriter::new(io::stdout());
        Ok(Self {
            switchboard,
            plan,
            unheard: Unheard::default(),
            recording,
            engine,
            audio: BTreeMap::new(),
            recognised: 0,
            last_failure: None,
            next_seq: 0,
            zero,
            first,
            now: zero,
            lines,
        })
    }

    fn take(&mut self, datagram: &Datagram<'_>) -> Result<(), ReplayError> {
        let since = datagram.time.saturating_sub(self.first).min(LONGEST);
        self.pass_time_until(self.zero + since)?;
        if let Some(port) = self.plan.port(datagram.destination) {
            let (source, now) = (datagram.source, self.now);
            let strays = self.switchboard.strays().total();
            self.switchboard
                .handle_datagram(port, source, &datagram.payload, now);
            if self.switchboard.strays().total() > strays {
                let settings = &self.switchboard.settings().receiver;
                self.unheard.note(datagram, settings);
            }
            self.perform()?;
        }
        Ok(())
    }

    /// Lets every deadline before `at` pass when it is due.
    fn pass_time_until(&mut self, at: Instant) -> Result<(), ReplayError> {
        while let Some(deadline) = self.switchboard.poll_timeout().filter(|&due| due <= at) {
            self.now = self.now.max(deadline);
            self.switchboard.handle_timeout(self.now);
            self.perform()?;
        }
        self.now = self.now.max(at);
        Ok(())
    }

    /// Ends every call, and says what could not be used.
    fn finish(mut self, shortcomings: Vec<String>) -> Result<(), ReplayError> {
        self.switchboard
            .handle_close(EndReason::EndOfCapture, self.now);
        self.perform()?;
        self.lines.flush()?;
        if self.next_seq == 0 {
            eprintln!(
                "callscribe: there is nothing to hear in this capture: it has no G.711 in RTP"
            );
        }
        for sentence in shortcomings {
            eprintln!("callscribe: {sentence}");
        }
        for sentence in self.unheard.sentences() {
            eprintln!("callscribe: not heard: {sentence}");
        }
        if let Some(recording) = self.recording.take() {
            recording.finish()?;
        }
        match self.last_failure {
            Some(failure) if self.recognised == 0 => Err(ReplayError::NotRecognised(failure)),
            _ => Ok(()),
        }
    }

    fn perform(&mut self) -> Result<(), ReplayError> {
        while let Some(output) = self.switchboard.poll_output() {
            match output {
                Output::Publish(event) | Output::Settle { event, .. } => self.print(&event)?,
                Output::OpenPart { key, label } => {
                    self.audio.insert(key, PartAudio::new(label.law));
                }
                Output::Audio { key, frame, at } => {
                    if let Some(audio) = self.audio.get(&key) {
                        audio.append_frame(&frame, at);
                    }
                }
                Output::ClosePart { key, .. } => self.recognise(key),
                Output::Heard {
                    call,
                    channel,
                    frame,
                } => {
                    if let (Some(recording), Some(call)) =
                        (&mut self.recording, self.switchboard.call(call))
                    {
                        recording.write(&call.spec().id, channel, &frame)?;
                    }
                }
                Output::SendReport { .. } => {}
            }
        }
        Ok(())
    }

    fn recognise(&mut self, key: PartKey) {
        let Some(audio) = self.audio.remove(&key) else {
            return;
        };
        audio.close();
        match self.engine.as_ref().map(|engine| engine.recognise(audio)) {
            Some(Ok(recognition)) => {
                self.recognised += 1;
                self.switchboard
                    .handle_recognised(key, recognition, self.now);
            }
            Some(Err(Unrecognised { reason, detail, .. })) => {
                self.last_failure = Some(detail.clone());
                self.switchboard
                    .handle_unrecognised(key, reason, detail, self.now);
            }
            None => {
                let detail = "replayed without a recogniser".to_owned();
                let reason = GapReason::AsrUnavailable;
                self.switchboard
                    .handle_unrecognised(key, reason, detail, self.now);
            }
        }
    }

    fn print(&mut self, event: &Event) -> io::Result<()> {
        let line = event.to_line("replay", self.next_seq);
        self.next_seq += 1;
        self.lines.write_all(line.as_bytes())
    }
}

impl LiveEngine {
    fn recognise(&self, audio: Rc<PartAudio>) -> Result<Recognition, Unrecognised> {
        let recognition = self.recogniser.recognise(audio, |_interim| {});
        LocalSet::new().block_on(&self.runtime, recognition)
    }
}

impl ReplayError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Recogniser(_) | Self::Speech(_) => exit::CONFIG,
            Self::Unreadable { .. } => exit::NO_INPUT,
            Self::Capture { .. } => exit::DATA_ERROR,
            Self::Wav { .. } | Self::Output(_) => exit::IO_ERROR,
            Self::NotRecognised(_) => exit::UNAVAILABLE,
        }
    }
}

/// A capture is no longer; a clock that was set meanwhile may make it look so.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
