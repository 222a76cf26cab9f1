//! Measures voice activity, utterances and cuts on recordings of clean speech.
//!
//! Takes a folder with a `manifest.tsv` (tab-separated, a heading, the file's name first; 16-bit
//! mono WAV at 8 kHz), strings the recordings together to one leg of a call, puts it through
//! conditions made by program, and prints a line per condition and detector. What is speech is
//! known from the clean recordings.
//!
//! Some conditions are also recognised, by the engine of `callscribe service`: through callscribe,
//! and whole. `--dense` shows instead what is lost where speech without a pause must be cut,
//! `--hangover` what the hangover is worth. Progress is told on stderr.
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]
#![expect(clippy::print_stderr, reason = "recognition takes minutes")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the time a detector takes"
)]

mod conditions;
mod cost;
mod hangover;
mod leg;
mod monologue;
mod network;
mod recogniser;
mod recognition;
mod score;
mod sounds;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::media::{Frame, Law, Samples};
use callscribe::service::engine::whisper::LoadError;
use callscribe::speech::Output;
use callscribe::speech::utterance::{Segmenter, Settings, Timing};
use callscribe::speech::voice::{Kind, Sound};
use clap::Parser;

use conditions::Condition;
use leg::Leg;
use recogniser::Recogniser;
use recognition::Comparison;
use score::{Frames, Utterances};

/// Measures voice activity, utterances and cuts.
#[derive(Parser)]
struct Arguments {
    /// Folder with manifest.tsv and its recordings.
    #[arg(default_value = "fixtures")]
    folder: PathBuf,
    /// Begins the random numbers of gaps and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No more than so many seconds of the recordings, and the rest of the last one.
    #[arg(long, default_value_t = 86_400.0)]
    seconds: f32,
    /// Only conditions whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes each condition as NAME.wav, and what is speech in it as NAME.txt (0 or 1 per 20 ms).
    #[arg(long)]
    write: Option<PathBuf>,
    /// Utterances by the preset for long speech.
    #[arg(long)]
    monologue: bool,
    /// Conditions that are recognised as well, which takes minutes each: parts of their names, "all"
    /// or "none".
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "-22a-clean,-45u-clean,white-snr5,loss3"
    )]
    recognise: Vec<String>,
    /// Threads of the recogniser.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Instead: so many seconds of speech without a pause, recognised, each seam shown.
    #[arg(long)]
    dense: Option<u16>,
    /// Instead: sentences with pauses for thought under hangovers of 300 to 1,200 ms. Recognised,
    /// unless `--recognise none`.
    #[arg(long)]
    hangover: bool,
    /// Runs the detector alone over so many frames: what is counted to know its cost.
    #[arg(long, hide = true)]
    cost_of: Option<cost::Run>,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let timing = if arguments.monologue {
        Timing::monologue()
    } else {
        Timing::dialogue()
    };
    if let Some(seconds) = arguments.dense {
        let leg = Leg::read_dense(&arguments.folder, seconds, arguments.seed)?;
        let recogniser = Recogniser::load(arguments.threads)?;
        monologue::run(&leg, timing, &recogniser);
        return Ok(());
    }
    if arguments.hangover {
        let is_wanted = arguments.recognise != ["none"];
        let recogniser = is_wanted.then(|| Recogniser::load(arguments.threads));
        let recogniser = recogniser.transpose()?;
        hangover::run(&arguments.folder, arguments.seed, recogniser.as_ref())?;
        return Ok(());
    }
    let clean = Leg::read(&arguments.folder, arguments.seconds, arguments.seed)?;
    if let Some(run) = arguments.cost_of {
        run.run(&clean);
        return Ok(());
    }
    println!(
        "{:.0} s, of which {:.0} s speech",
        clean.seconds(),
        clean.speech_seconds()
    );
    measure_all(&arguments, &clean, timing)?;
    cost::print(&arguments.folder);
    recognise_some(&arguments, &clean, timing)
}

fn measure_all(arguments: &Arguments, clean: &Leg, timing: Timing) -> Result<(), Error> {
    println!("{HEADING}");
    for condition in chosen(arguments) {
        let leg = condition.apply(clean, arguments.seed);
        if let Some(folder) = &arguments.write {
            leg.write(folder, &condition.name())?;
        }
        let frames = leg.frames(condition.law(), condition.loss, arguments.seed);
        for kind in [Kind::Network, Kind::Webrtc] {
            measure((&leg, &frames), &condition, kind, timing);
        }
    }
    Ok(())
}

fn chosen(arguments: &Arguments) -> impl Iterator<Item = Condition> {
    let only = |condition: &Condition| condition.name().contains(&arguments.only);
    conditions::all().into_iter().filter(only)
}

fn measure((leg, frames): (&Leg, &[Frame]), condition: &Condition, kind: Kind, timing: Timing) {
    let mut detector = kind.detector();
    let began = Instant::now();
    let verdicts: Vec<bool> = frames
        .iter()
        .map(|frame| detector.is_speech(&Sound::from(frame)))
        .collect();
    let per_frame = began.elapsed() / u32::try_from(frames.len()).unwrap_or(u32::MAX).max(1);
    let score = Frames::compare(&leg.labels, &verdicts);

    let (outputs, closed) = segment(frames, timing, kind);
    let utterances = Utterances::compare(&leg.labels, &outputs, &closed, timing.hangover);
    row(&condition.name(), kind, &score, &utterances, per_frame);
}

/// What the segmenter makes of a leg, and how far it had heard when each utterance ended.
fn segment(frames: &[Frame], timing: Timing, kind: Kind) -> (Vec<Output>, Vec<Samples>) {
    let settings = Settings::new(timing).expect("the presets are within their ranges");
    let mut segmenter = Segmenter::new(Arc::new(settings), kind.detector());
    let (mut outputs, mut closed) = (Vec::new(), Vec::new());
    for frame in frames {
        segmenter.handle_frame(frame);
        while let Some(output) = segmenter.poll_output() {
            if matches!(output, Output::Ended { .. }) {
                closed.push(frame.end());
            }
            outputs.push(output);
        }
    }
    segmenter.handle_end();
    outputs.extend(std::iter::from_fn(|| segmenter.poll_output()));
    (outputs, closed)
}

fn recognise_some(arguments: &Arguments, clean: &Leg, timing: Timing) -> Result<(), Error> {
    let is_wanted = |condition: &Condition| {
        let wanted = |name: &String| name == "all" || condition.name().contains(name.as_str());
        arguments.recognise.iter().any(wanted)
    };
    let mut conditions = chosen(arguments).filter(is_wanted).peekable();
    if conditions.peek().is_none() || clean.said.is_empty() {
        return Ok(());
    }
    let recogniser = match Recogniser::load(arguments.threads) {
        Err(LoadError::Missing { path }) => {
            println!(
                "\nnot recognised: no model at {}; `make model`",
                path.display()
            );
            return Ok(());
        }
        loaded => loaded?,
    };
    println!("\n{RECOGNITION_HEADING}");
    for condition in conditions {
        let leg = condition.apply(clean, arguments.seed);
        let frames = leg.frames(condition.law(), condition.loss, arguments.seed);
        let (outputs, closed) = segment(&frames, timing, Kind::default());
        let utterances = Utterances::compare(&leg.labels, &outputs, &closed, timing.hangover);
        let compared = Comparison::of(&frames, &outputs, &leg.said, condition.law(), &recogniser);
        recognition_row(&condition.name(), &compared, &utterances);
    }
    Ok(())
}

fn recognition_row(name: &str, compared: &Comparison, said: &Utterances) {
    println!(
        "{name:<18} {:>8} {:>4} {:>6.1} {:>8.1}  {:>7.1} {:>6.1} {:>7}  {:>5} {:>5}  {:>6} {:>6}",
        compared.sessions,
        compared.cuts,
        compared.sent.as_duration().as_secs_f32(),
        said.speech.as_duration().as_secs_f32(),
        compared.through.rate_percent(),
        compared.whole.rate_percent(),
        compared.through.errors.cast_signed() - compared.whole.errors.cast_signed(),
        said.closed.p50,
        said.closed.p90,
        compared.took.p50,
        compared.took.p90,
    );
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Read(#[from] leg::ReadError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn row(name: &str, kind: Kind, frames: &Frames, said: &Utterances, per_frame: Duration) {
    let kind = format!("{kind:?}").to_lowercase();
    println!(
        "{name:<18} {kind:<8} {:>5.1} {:>5.1} {:>5.1}  {:>4} {:>4} {:>5.1}  {:>5} {:>5} {:>5}  \
         {:>5} {:>5} {:>5}  {:>5} {:>5}  {:>6.1} {:>6.1} {:>4}  {:>5}",
        frames.error * 100.0,
        frames.miss * 100.0,
        frames.false_alarm * 100.0,
        said.truth,
        said.found,
        said.lost_speech * 100.0,
        said.onset.p10,
        said.onset.p50,
        said.onset.p90,
        said.end.p10,
        said.end.p50,
        said.end.p90,
        said.closed.p50,
        said.closed.p90,
        said.sent.as_duration().as_secs_f32(),
        said.speech.as_duration().as_secs_f32(),
        said.cuts,
        per_frame.as_nanos(),
    );
}

const HEADING: &str = "\
condition          detector error  miss false  utts found lost%  onset error, ms    end error, ms      \
  closed, ms   sent s speech s cuts ns/frame
                                %     %     %                    p10   p50   p90    p10   p50   p90    \
  p50   p90";

const RECOGNITION_HEADING: &str = "\
condition          sessions cuts sent s speech s  CER %    CER % errors  closed, ms  engine, ms
                                                  through  whole   more    p50   p90     p50    p90";

/// The law and level of a leg's audio in memory.
const FULL_SCALE: f32 = 32_768.0;
const FRAME: usize = 160;

fn samples(frames: usize) -> Samples {
    Samples(frames as u64 * FRAME as u64)
}

fn companded(law: Law, sample: i16) -> u8 {
    match law {
        Law::Pcmu => audio_codec_algorithms::encode_ulaw(sample),
        Law::Pcma => audio_codec_algorithms::encode_alaw(sample),
    }
}
