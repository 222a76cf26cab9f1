//! What a detector costs, in instructions: counted by valgrind, for clocks do not repeat.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use callscribe::media::{FRAME_SAMPLES, Frame, Law, Samples};
use callscribe::speech::voice::Sound;
use clap::ValueEnum;

use crate::conditions;
use crate::detectors::{Detector, Name};
use crate::leg::Leg;
use crate::network::Loss;

/// A detector over the first frames of a file, in a process of its own that valgrind watches;
/// written `network:1500:FILE`.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) detector: Name,
    frames: usize,
    file: PathBuf,
}

impl Run {
    /// Decodes the frames and has them judged.
    pub(crate) fn run(&self, detector: &Detector) -> io::Result<()> {
        let mut judge = detector.for_leg();
        let frames = read(&self.file)?;
        let frames = frames.iter().take(self.frames).map(Sound::from);
        let speech = frames.filter(|sound| judge.is_speech(sound)).count();
        println!("{speech} frames of speech");
        Ok(())
    }
}

impl FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.splitn(3, ':').collect::<Vec<_>>();
        let [detector, frames, file] = parts[..] else {
            return Err("expected DETECTOR:FRAMES:FILE".to_owned());
        };
        Ok(Self {
            detector: Name::from_str(detector, false)?,
            frames: frames.parse().map_err(|error| format!("{error}"))?,
            file: file.into(),
        })
    }
}

/// Counts instructions a frame.
pub(crate) struct Counter<'a> {
    silero: &'a Path,
    /// Silero works as hard on every frame.
    of_silero: Option<u64>,
}

impl<'a> Counter<'a> {
    /// Nothing is counted without valgrind.
    pub(crate) fn new(silero: &'a Path) -> Option<Self> {
        let asked = Command::new("valgrind").arg("--version").output();
        let is_there = asked.is_ok_and(|answer| answer.status.success());
        is_there.then_some(Self {
            silero,
            of_silero: None,
        })
    }

    /// Decoding and level included; what is computed once is left out.
    pub(crate) fn per_frame(&mut self, detector: Name, frames: &[Frame]) -> Option<u64> {
        if detector != Name::Silero {
            return self.count_both(detector, frames, MOST);
        }
        if self.of_silero.is_none() {
            self.of_silero = self.count_both(detector, frames, WARM_UP + 200);
        }
        self.of_silero
    }

    fn count_both(&self, detector: Name, frames: &[Frame], most: usize) -> Option<u64> {
        let most = most.min(frames.len());
        let mut file = tempfile::NamedTempFile::new().ok()?;
        write(&mut file, &frames[..most]).ok()?;
        let count = |frames| self.count(detector, frames, file.path());
        let (few, all) = (count(WARM_UP)?, count(most)?);
        let between = most.checked_sub(WARM_UP).filter(|count| *count > 0)?;
        all.checked_sub(few)?.checked_div(between as u64)
    }

    fn count(&self, detector: Name, frames: usize, file: &Path) -> Option<u64> {
        let run = format!("{}:{frames}:{}", detector.as_str(), file.display());
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .arg("--silero")
            .arg(self.silero)
            .arg(format!("--cost-of={run}"))
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "))?;
        collected.1.trim().parse().ok()
    }
}

/// Prints a line per detector: what silence, noise, speech and a conversation cost.
pub(crate) fn print(clean: &Leg, detectors: &[Detector], counter: &mut Counter<'_>) {
    println!("\n{HEADING}");
    for detector in detectors {
        print!("{:<8}", detector.name().as_str());
        for frames in MATERIALS.map(|material| material.frames(clean)) {
            let cost = counter.per_frame(detector.name(), &frames);
            print!(" {:>12}", shown(cost));
        }
        println!();
    }
}

/// A dash where nothing was counted.
pub(crate) fn shown(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

#[derive(Clone, Copy, Debug)]
enum Material {
    /// Nothing at all.
    Silence,
    /// The background of an office.
    Noise,
    /// Somebody who never pauses, in that office.
    Speech,
    /// One leg of a conversation there: 40 % of it is speech.
    Conversation,
}

const MATERIALS: [Material; 4] = [
    Material::Silence,
    Material::Noise,
    Material::Speech,
    Material::Conversation,
];

impl Material {
    /// Two minutes of it.
    fn frames(self, clean: &Leg) -> Vec<Frame> {
        let leg = match self {
            Self::Silence => {
                return laid_out(clean, Share::None).frames(Law::Pcma, Loss::default(), 1);
            }
            Self::Noise => conditions::office().alone(&laid_out(clean, Share::All), 1),
            Self::Speech => conditions::office().apply(&laid_out(clean, Share::All), 1),
            Self::Conversation => conditions::office().apply(&laid_out(clean, Share::TwoFifths), 1),
        };
        leg.frames(Law::Pcma, Loss::default(), 1)
    }
}

/// How much of a leg is speech.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    None,
    TwoFifths,
    All,
}

/// The recordings so far apart that so much is speech.
fn laid_out(clean: &Leg, share: Share) -> Leg {
    let mut leg = Leg {
        audio: Vec::new(),
        labels: Vec::new(),
        said: String::new(),
    };
    let mut spoken = 0_usize;
    let recorded = clean.audio.chunks_exact(crate::FRAME).zip(&clean.labels);
    for (frame, &is_speech) in recorded.cycle() {
        if leg.labels.len() > MOST {
            break;
        }
        match share {
            Share::None => leg.push(&[0.0; crate::FRAME], false),
            Share::All if is_speech => leg.push(frame, true),
            Share::All => {}
            Share::TwoFifths => {
                leg.push(frame, is_speech);
                spoken += usize::from(is_speech);
                while !is_speech && leg.labels.len() * 2 < spoken * 5 {
                    leg.push(&[0.0; crate::FRAME], false);
                }
            }
        }
    }
    leg
}

/// The law and the samples of each frame.
fn write(file: &mut impl Write, frames: &[Frame]) -> io::Result<()> {
    for frame in frames {
        file.write_all(&[u8::from(frame.law == Law::Pcma)])?;
        file.write_all(&frame.g711)?;
    }
    file.flush()
}

fn read(path: &Path) -> io::Result<Vec<Frame>> {
    let bytes = std::fs::read(path)?;
    let frames = bytes.as_chunks::<{ FRAME_SAMPLES + 1 }>().0;
    let frame = |[law, g711 @ ..]: &[u8; FRAME_SAMPLES + 1]| Frame {
        start: Samples::ZERO,
        law: if *law == 0 { Law::Pcmu } else { Law::Pcma },
        g711: *g711,
        len: 160,
        lost: 0,
        telephone_event: false,
    };
    Ok(frames.iter().map(frame).collect())
}

/// Frames that are counted: two minutes, after a second in which tables are made.
const MOST: usize = WARM_UP + 6_000;
const WARM_UP: usize = 50;

const HEADING: &str = "\
instructions a frame, counted by valgrind
detector      silence        noise       speech conversation";
