//! What a detector costs, in instructions: counted by valgrind, for clocks do not repeat.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use callscribe::media::{Frame, Law};
use callscribe::speech::voice::{Kind, Sound};

use crate::conditions;
use crate::leg::Leg;
use crate::network::Loss;

/// A detector over so many frames; written `network:1500`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    kind: Kind,
    frames: usize,
}

impl Run {
    /// Runs over a leg of a conversation: as much of it is speech as in [`conversation`].
    pub(crate) fn run(self, clean: &Leg) {
        let mut detector = self.kind.detector();
        let frames = conversation(clean);
        let speech = frames[..self.frames.min(frames.len())]
            .iter()
            .filter(|frame| detector.is_speech(&Sound::from(*frame)));
        println!("{} frames of speech", speech.count());
    }
}

impl FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, frames) = text.split_once(':').ok_or("expected DETECTOR:FRAMES")?;
        let kind = match kind {
            "network" => Kind::Network,
            "webrtc" => Kind::Webrtc,
            other => return Err(format!("no detector {other}")),
        };
        let frames = frames.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { kind, frames })
    }
}

/// Prints a line per detector, if valgrind is there.
pub(crate) fn print(folder: &Path) {
    for kind in ["network", "webrtc"] {
        let counts = [0, FRAMES].map(|frames| count(folder, kind, frames));
        let cost = match counts {
            [Some(none), Some(all)] => ((all - none) / FRAMES).to_string(),
            _ => "valgrind is not there to count".to_owned(),
        };
        println!(
            "{kind}: instructions a frame, two-way conversation with 40 % speech a leg: {cost}"
        );
    }
}

fn count(folder: &Path, kind: &str, frames: u64) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(folder)
        .arg(format!("--cost-of={kind}:{frames}"))
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))?;
    collected.1.trim().parse().ok()
}

/// Two minutes of a leg with some noise: the recordings begin as far apart as makes 40 % of it speech.
fn conversation(clean: &Leg) -> Vec<Frame> {
    let mut leg = Leg {
        audio: Vec::new(),
        labels: Vec::new(),
        said: String::new(),
    };
    let mut spoken = 0_usize;
    let recorded = clean.audio.chunks_exact(crate::FRAME).zip(&clean.labels);
    for (frame, is_speech) in recorded.cycle() {
        leg.audio.extend(frame);
        leg.labels.push(*is_speech);
        spoken += usize::from(*is_speech);
        while !is_speech && leg.labels.len() * 2 < spoken * 5 {
            leg.audio.extend([0.0; crate::FRAME]);
            leg.labels.push(false);
        }
        if leg.labels.len() > usize::try_from(FRAMES).unwrap_or(usize::MAX) {
            break;
        }
    }
    conditions::office()
        .apply(&leg, 1)
        .frames(Law::Pcma, Loss::default(), 1)
}

const FRAMES: u64 = 6_000;
