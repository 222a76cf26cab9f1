//! Measures voice activity, utterances and cuts on recordings of clean speech.
//!
//! Takes a folder with a `manifest.tsv` (tab-separated, a heading, the file's name first; 16-bit
//! mono WAV at 8 kHz), strings the recordings together to one leg of a call, puts it through
//! conditions made by program, and prints a line per condition and detector. What is speech is
//! known from the clean recordings.
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the time a detector takes"
)]

mod conditions;
mod leg;
mod score;
mod sounds;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::media::{Law, Samples};
use callscribe::speech::utterance::{Segmenter, Settings, Timing};
use callscribe::speech::voice::{self, Kind};
use clap::Parser;

use conditions::Condition;
use leg::Leg;
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
    /// Only conditions whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes each condition as NAME.wav, and what is speech in it as NAME.txt (0 or 1 per 20 ms).
    #[arg(long)]
    write: Option<PathBuf>,
    /// Utterances by the preset for long speech.
    #[arg(long)]
    monologue: bool,
}

fn main() -> Result<(), leg::ReadError> {
    let arguments = Arguments::parse();
    let clean = Leg::read(&arguments.folder, arguments.seed)?;
    let timing = if arguments.monologue {
        Timing::monologue()
    } else {
        Timing::dialogue()
    };
    println!(
        "{:.0} s, of which {:.0} s speech",
        clean.seconds(),
        clean.speech_seconds()
    );
    println!("{HEADING}");
    for condition in conditions::all() {
        if !condition.name().contains(&arguments.only) {
            continue;
        }
        let leg = condition.apply(&clean, arguments.seed);
        if let Some(folder) = &arguments.write {
            leg.write(folder, &condition.name())?;
        }
        for kind in [Kind::Network, Kind::Webrtc] {
            measure(&leg, &condition, kind, timing);
        }
    }
    Ok(())
}

fn measure(leg: &Leg, condition: &Condition, kind: Kind, timing: Timing) {
    let frames = leg.frames(condition.law());
    let mut detector = kind.detector();
    let began = Instant::now();
    let verdicts: Vec<bool> = frames
        .iter()
        .map(|frame| detector.is_speech(&voice::decode(frame)))
        .collect();
    let per_frame = began.elapsed() / u32::try_from(frames.len()).unwrap_or(u32::MAX).max(1);
    let score = Frames::compare(&leg.labels, &verdicts);

    let settings = Settings::new(timing).expect("the presets are within their ranges");
    let mut segmenter = Segmenter::new(Arc::new(settings), kind.detector());
    let mut outputs = Vec::new();
    for frame in &frames {
        segmenter.handle_frame(frame);
        outputs.extend(std::iter::from_fn(|| segmenter.poll_output()));
    }
    segmenter.handle_end();
    outputs.extend(std::iter::from_fn(|| segmenter.poll_output()));
    let utterances = Utterances::compare(&leg.labels, &outputs, timing.hangover);
    row(&condition.name(), kind, &score, &utterances, per_frame);
}

fn row(name: &str, kind: Kind, frames: &Frames, said: &Utterances, per_frame: Duration) {
    let kind = format!("{kind:?}").to_lowercase();
    println!(
        "{name:<18} {kind:<8} {:>5.1} {:>5.1} {:>5.1}  {:>4} {:>4} {:>5.1}  {:>5} {:>5} {:>5}  \
         {:>5} {:>5} {:>5}  {:>6.1} {:>6.1} {:>4}  {:>5}",
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
        said.sent.as_duration().as_secs_f32(),
        said.speech.as_duration().as_secs_f32(),
        said.cuts,
        per_frame.as_nanos(),
    );
}

const HEADING: &str = "\
condition          detector error  miss false  utts found lost%  onset error, ms    end error, ms      \
  sent s speech s cuts ns/frame
                                %     %     %                    p10   p50   p90    p10   p50   p90";

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
