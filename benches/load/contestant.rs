//! Who is measured, and how a run goes.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::account::{Account, Use};
use crate::{Outcome, daemon, yardstick};

/// Somebody who receives the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// The daemon with everything on: TLS to the recogniser, voice activity, lines to a reader
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

/// How much is asked of a contestant.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Load {
    /// Streams that it is ready for.
    pub(crate) legs: u16,
    /// Streams that come.
    pub(crate) speaking: u16,
    /// For so long.
    pub(crate) seconds: u64,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Result {
    pub(crate) contestant: Use,
    pub(crate) generator: Use,
    pub(crate) sink: Use,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Resident memory that a registered leg took before anybody spoke.
    pub(crate) silent_leg_kib: Option<f64>,
    /// Delays by name, each with its median, 90th and 99th percentile in milliseconds.
    pub(crate) delays: Vec<(String, [f64; 3])>,
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

/// Seconds until everybody is under way.
const WARM_UP: u64 = 3;

/// Sends the load to `contestant` and measures everybody while it lasts, but for the first seconds.
pub(crate) fn measure(
    contestant: &Child,
    sink: Option<&Child>,
    first_port: u16,
    load: Load,
) -> Outcome<Result> {
    let mut generator = generator(first_port, load)?;
    thread::sleep(Duration::from_secs(WARM_UP));
    let accounts = [Some(contestant), Some(&generator), sink];
    let accounts = accounts.map(|process| process.map(Account::open));
    thread::sleep(Duration::from_secs(load.seconds));
    let mut used = [Use::default(); 3];
    for (used, account) in used.iter_mut().zip(accounts) {
        if let Some(account) = account {
            *used = account?.so_far()?;
        }
    }
    let mut report = String::new();
    let mut output = generator
        .stdout
        .take()
        .ok_or("the generator has no output")?;
    output.read_to_string(&mut report)?;
    generator.wait()?;
    let words: Vec<&str> = report.split_whitespace().collect();
    let packets = words.iter().position(|word| word.starts_with("packets"));
    let sent = packets
        .and_then(|at| words.get(at - 1))
        .ok_or_else(|| format!("the generator says {report:?}"))?;
    let [contestant, generator, sink] = used;
    Ok(Result {
        contestant,
        generator,
        sink,
        sent: sent.parse()?,
        ..Result::default()
    })
}

fn generator(first_port: u16, load: Load) -> Outcome<Child> {
    let seconds = WARM_UP + load.seconds + 1;
    Ok(callscribe()
        .arg("send")
        .arg(recording()?)
        .args(["--to", &format!("127.0.0.1:{first_port}")])
        .args([
            "--streams",
            &load.speaking.to_string(),
            "--seconds",
            &seconds.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()?)
}

/// The project.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The program under test, as `make build` makes it.
pub(crate) fn callscribe() -> Command {
    Command::new(Path::new(ROOT).join("target/release/callscribe"))
}

/// Two minutes of a customer and an agent who take turns: 40 % of it is speech.
fn recording() -> Outcome<PathBuf> {
    let path = scratch()?.join("talk.wav");
    if !path.exists() {
        let mut samples = Vec::new();
        for side in ["call_agent.wav", "call_caller.wav"] {
            let file = Path::new(ROOT).join("fixtures").join(side);
            samples.extend(callscribe::wav::read(File::open(file)?)?.concat());
        }
        // The two sides speak for 41.88 s of 93.46 s; listening makes it 40 %.
        samples.resize(samples.len() + 8000 * 11, 0);
        callscribe::wav::write(File::create(&path)?, samples)?;
    }
    Ok(path)
}

/// A folder for what a run needs.
pub(crate) fn scratch() -> Outcome<PathBuf> {
    let folder = env::temp_dir().join(format!("callscribe-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
