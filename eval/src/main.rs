//! Measures voice activity, utterances and cuts on recordings of clean speech.
//!
//! Takes a folder with a `manifest.tsv` (tab-separated, a heading, the file's name first; 16-bit
//! mono WAV at 8 kHz), strings the recordings together to one leg of a call, puts it through
//! conditions made by program, and prints one table: a line per condition and detector. What is
//! speech is known from the clean recordings.
//!
//! Some conditions are also recognised, by the engine of `callscribe service`: through callscribe
//! with its default detector, and whole. `--dense` shows instead what is lost where speech without a pause must be cut,
//! `--hangover` what the hangover is worth. Progress is told on stderr.
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]
#![expect(clippy::print_stderr, reason = "recognition takes minutes")]
#![expect(
    clippy::disallowed_methods,
    reason = "it tells how long the engine takes"
)]
mod conditions;
mod cost;
mod detectors;
mod hangover;
mod leg;
mod monologue;
mod network;
mod recogniser;
mod recognition;
mod score;
mod seams;
mod silero;
mod sounds;
mod table;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use callscribe::media::{Frame, Law, Samples};
use callscribe::service::engine::whisper::LoadError;
use callscribe::speech::Output;
use callscribe::speech::utterance::{Segmenter, Settings, Timing};
use callscribe::speech::voice::VoiceActivity;
use clap::Parser;

use conditions::Condition;
use cost::Counter;
use detectors::{Detector, Name};
use leg::Leg;
use recogniser::Recogniser;
use recognition::Comparison;
use score::{Frames, Utterances};
use table::Row;

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
    /// Detectors to compare.
    #[arg(long, value_delimiter = ',', default_value = "network,webrtc,silero")]
    detectors: Vec<Name>,
    /// The network of Silero, which `scripts/fetch-silero` brings.
    #[arg(long, default_value = "target/silero/silero_vad_op18_ifless.onnx")]
    silero: PathBuf,
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
    if let Some(run) = &arguments.cost_of {
        let detector = Detector::load(run.detector, &arguments.silero)?;
        return Ok(run.run(&detector)?);
    }
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
    Evaluation::new(&arguments, &clean, timing)?.run()
}

/// A table in the making.
struct Evaluation<'a> {
    arguments: &'a Arguments,
    clean: &'a Leg,
    timing: Timing,
    detectors: Vec<Detector>,
    counter: Option<Counter<'a>>,
    recogniser: Option<Recogniser>,
}

impl<'a> Evaluation<'a> {
    /// Loads what there is, and says what there is not.
    fn new(arguments: &'a Arguments, clean: &'a Leg, timing: Timing) -> Result<Self, Error> {
        let mut detectors = Vec::new();
        for name in &arguments.detectors {
            match Detector::load(*name, &arguments.silero) {
                Ok(detector) => detectors.push(detector),
                Err(silero::LoadError::Missing { path }) => println!(
                    "without {}: no {}; `scripts/fetch-silero`",
                    name.as_str(),
                    path.display()
                ),
                Err(error) => return Err(error.into()),
            }
        }
        let counter = Counter::new(&arguments.silero);
        if counter.is_none() {
            println!("instructions are not counted: there is no valgrind");
        }
        let mut evaluation = Self {
            arguments,
            clean,
            timing,
            detectors,
            counter,
            recogniser: None,
        };
        if !clean.said.is_empty()
            && evaluation
                .chosen()
                .any(|chosen| evaluation.is_heard(&chosen))
        {
            match Recogniser::load(arguments.threads) {
                Ok(recogniser) => evaluation.recogniser = Some(recogniser),
                Err(LoadError::Missing { path }) => println!(
                    "nothing is recognised: no model at {}; `make model`",
                    path.display()
                ),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(evaluation)
    }

    fn run(mut self) -> Result<(), Error> {
        println!(
            "{:.0} s, of which {:.0} s speech\n\n{}",
            self.clean.seconds(),
            self.clean.speech_seconds(),
            table::HEADING
        );
        for condition in self.chosen() {
            self.measure(&condition)?;
        }
        if let Some(counter) = &mut self.counter {
            cost::print(self.clean, &self.detectors, counter);
        }
        Ok(())
    }

    fn chosen(&self) -> impl Iterator<Item = Condition> + use<> {
        let only = self.arguments.only.clone();
        let is_chosen = move |condition: &Condition| condition.name().contains(&only);
        conditions::all().into_iter().filter(is_chosen)
    }

    /// Whether the condition is recognised as well.
    fn is_heard(&self, condition: &Condition) -> bool {
        let name = condition.name();
        let wanted = |part: &String| part == "all" || name.contains(part.as_str());
        self.arguments.recognise.iter().any(wanted)
    }

    fn measure(&mut self, condition: &Condition) -> Result<(), Error> {
        let arguments = self.arguments;
        let leg = condition.apply(self.clean, arguments.seed);
        if let Some(folder) = &arguments.write {
            leg.write(folder, &condition.name())?;
        }
        let frames = leg.frames(condition.law(), condition.loss, arguments.seed);
        let recogniser = self.recogniser.as_ref();
        let recogniser = recogniser.filter(|_| self.is_heard(condition));
        for detector in &self.detectors {
            let (outputs, closed) = segment(&frames, self.timing, detector.for_leg());
            let compare = |recogniser| {
                Comparison::of(&frames, &outputs, &leg.said, condition.law(), recogniser)
            };
            let hangover = self.timing.hangover;
            let row = Row {
                condition: condition.name(),
                detector: detector.name(),
                frames: Frames::compare(&leg.labels, &detector.verdicts(&frames)),
                utterances: Utterances::compare(&leg.labels, &outputs, &closed, hangover),
                understood: recogniser
                    .filter(|_| detector.name().is_default())
                    .map(compare),
                instructions: self
                    .counter
                    .as_mut()
                    .and_then(|counter| counter.per_frame(detector.name(), &frames)),
            };
            println!("{row}");
        }
        Ok(())
    }
}

/// What the segmenter makes of a leg, and how far it had heard when each utterance ended.
fn segment(
    frames: &[Frame],
    timing: Timing,
    detector: Box<dyn VoiceActivity>,
) -> (Vec<Output>, Vec<Samples>) {
    let settings = Settings::new(timing).expect("the presets are within their ranges");
    let mut segmenter = Segmenter::new(Arc::new(settings), detector);
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

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Read(#[from] leg::ReadError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Silero(#[from] silero::LoadError),
    #[error(transparent)]
    Cost(#[from] io::Error),
}

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
