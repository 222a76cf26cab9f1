//! Who is measured, and how a run goes.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::{Account, Use};
use crate::cores::Cores;
use crate::process::Process;
use crate::prometheus::Histograms;
use crate::{Outcome, daemon, ports, recording, yardstick};

/// Somebody who receives the streams.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// The daemon with everything on: TLS to the recogniser, voice activity, journal, lines to a reader, metrics
    Callscribe,
    /// Counts datagrams: a wake-up every 5 ms empties all sockets
    CountTick,
    /// Counts datagrams: a wake-up as soon as one is there
    CountEpoll,
    /// A tokio task and a WebSocket without TLS for each stream, no voice activity
    NaiveTokio,
    /// The same in Node.js with the `ws` package
    Node,
    /// `udpsrc ! rtpjitterbuffer ! rtppcmudepay ! mulawdec ! fakesink`
    Gstreamer,
}

/// What the streams say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Talk {
    /// 40 % of it is speech.
    Conversation,
    /// Packets with the noise of a line.
    Silence,
}

/// How much is asked of a contestant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Streams that it is ready for.
    pub(crate) legs: u16,
    /// Streams that come.
    pub(crate) streams: u16,
    /// What they say.
    pub(crate) talk: Talk,
    /// For how long it is measured.
    pub(crate) seconds: u64,
    /// How often callscribe empties its sockets, in ms; its default if nothing is said.
    pub(crate) tick_ms: Option<u16>,
    /// Who runs where.
    pub(crate) cores: Cores,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Result {
    pub(crate) contestant: Use,
    pub(crate) generator: Use,
    pub(crate) sink: Use,
    /// Datagrams that were fetched while it was measured.
    pub(crate) fetched: u64,
    /// The packet that went out latest was so many milliseconds behind its time.
    pub(crate) generator_late_ms: f64,
    pub(crate) sent: u64,
    /// By the contestant's own count, if it has one.
    pub(crate) received: Option<u64>,
    /// Datagrams that the kernel dropped at the contestant's sockets.
    pub(crate) dropped: u64,
    /// Resident memory before the first packet, in KiB.
    pub(crate) base_kib: u64,
    /// Delays by name, each with its median, 90th and 99th percentile in milliseconds.
    pub(crate) delays: BTreeMap<String, [f64; 3]>,
    /// The daemon's own account, over the whole run.
    pub(crate) ledger: Option<Ledger>,
    /// Resident memory that a registered leg took before anybody spoke.
    pub(crate) silent_leg_kib: Option<f64>,
}

/// Sums over the legs of all calls.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ledger {
    pub(crate) legs: u64,
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) speech_ms: u64,
    pub(crate) silence_ms: u64,
    pub(crate) transcribed_ms: u64,
    pub(crate) gap_ms: u64,
    /// Final texts.
    pub(crate) texts: u64,
}

impl Contestant {
    pub(crate) const ALL: [Self; 6] = [
        Self::Callscribe,
        Self::CountTick,
        Self::CountEpoll,
        Self::NaiveTokio,
        Self::Node,
        Self::Gstreamer,
    ];

    pub(crate) fn is_yardstick(self) -> bool {
        self != Self::Callscribe
    }

    /// The most streams that a core may be expected to bear.
    pub(crate) fn most_streams(self) -> u16 {
        match self {
            Self::Callscribe | Self::CountTick | Self::CountEpoll => u16::MAX,
            Self::NaiveTokio | Self::Node => 1000,
            // Two threads a stream.
            Self::Gstreamer => 400,
        }
    }

    /// The name in tables, as on the command line.
    pub(crate) fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Runs it under the load.
    pub(crate) fn run(self, load: Load) -> Outcome<Result> {
        match self {
            Self::Callscribe => daemon::run(load),
            Self::CountTick
            | Self::CountEpoll
            | Self::NaiveTokio
            | Self::Node
            | Self::Gstreamer => yardstick::measure_under_load(self, load),
        }
    }
}

/// Seconds until everybody is under way: the first words of all streams at once are no load that occurs.
const WARM_UP: u64 = 4;

/// How long the generator may take for its last two seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends the load to `contestant` and measures everybody while it lasts, but for the first seconds.
///
/// `scrape` asks for the metrics, twice, on the contestant's account.
pub(crate) fn measure(
    contestant: &Child,
    sink: Option<&Child>,
    load: Load,
    scrape: impl Fn() -> Outcome<String>,
) -> Outcome<Result> {
    let base_kib = crate::account::resident_kib(contestant)?;
    let mut generator = generator(load)?;
    thread::sleep(Duration::from_secs(WARM_UP));
    let accounts = [Some(contestant), Some(&generator), sink];
    let accounts = accounts.map(|process| process.map(Account::open));
    let fetched_before = ports::fetched()?;
    let before = Histograms::read(&scrape()?);
    thread::sleep(Duration::from_secs(load.seconds));
    let after = Histograms::read(&scrape()?);
    let mut used = [Use::default(); 3];
    for (used, account) in used.iter_mut().zip(accounts) {
        if let Some(account) = account {
            *used = account?.so_far()?;
        }
    }
    let fetched = ports::fetched()? - fetched_before;
    let [contestant, of_generator, of_sink] = used;
    let (sent, generator_late_ms) = sent_by(&mut generator)?;
    Ok(Result {
        contestant,
        generator: of_generator,
        sink: of_sink,
        fetched,
        generator_late_ms,
        sent,
        dropped: dropped(load)?,
        base_kib,
        delays: after.percentiles_since(&before),
        ..Result::default()
    })
}

/// Waits until nothing is left in the sockets, and gives what the kernel dropped there.
fn dropped(load: Load) -> Outcome<u64> {
    for _ in 0..40 {
        thread::sleep(Duration::from_millis(50));
        let sockets = ports::look(&ports::of(load.legs))?;
        if sockets.unread == 0 {
            return Ok(sockets.dropped);
        }
    }
    Err(Overwhelmed.into())
}

/// A contestant got more than it could take. Of a yardstick that is a result.
#[derive(Debug)]
pub(crate) struct Overwhelmed;

impl std::error::Error for Overwhelmed {}

impl std::fmt::Display for Overwhelmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("two seconds after the last packet its sockets were not empty")
    }
}

fn generator(load: Load) -> Outcome<Process> {
    let recording = match load.talk {
        Talk::Conversation => recording::talk()?,
        Talk::Silence => recording::silence()?,
    };
    let seconds = WARM_UP + load.seconds + 2;
    let first = ports::FIRST;
    let mut send = load.cores.for_others(&callscribe()?);
    send.arg("send")
        .arg(recording)
        .args(["--to", &format!("127.0.0.1:{first}")])
        .args(["--streams", &load.streams.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .stdout(Stdio::piped());
    Ok(Process::start(&mut send)?)
}

/// Packets, and how late the latest was: `…: 5000 packets, 860000 bytes, at worst 1.2 ms behind time`.
fn sent_by(generator: &mut Process) -> Outcome<(u64, f64)> {
    let deadline = Instant::now() + PATIENCE;
    while generator.try_wait()?.is_none() {
        if Instant::now() > deadline {
            return Err("the generator cannot keep its pace".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let mut report = String::new();
    let mut output = generator
        .stdout
        .take()
        .ok_or("the generator has no output")?;
    output.read_to_string(&mut report)?;
    let before = |word: &str| {
        let (text, _) = report.split_once(word)?;
        text.split_whitespace().last()
    };
    let packets = before(" packets").and_then(|number| number.parse().ok());
    let packets = packets.ok_or_else(|| format!("the generator says {report:?}"))?;
    let late = before(" ms behind").and_then(|number| number.parse().ok());
    if report.contains("refused") {
        return Err(format!("nobody was there for some packets: {report}").into());
    }
    Ok((packets, late.unwrap_or(0.0)))
}

/// The program under test, which is generator and recogniser as well.
pub(crate) fn callscribe() -> Outcome<std::path::PathBuf> {
    // Cargo puts both programs beside each other.
    let path = std::env::current_exe()?.with_file_name("callscribe");
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing; `make bench` builds it", path.display()).into())
    }
}
