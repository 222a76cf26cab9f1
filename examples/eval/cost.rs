//! What a detector costs, in instructions: counted by valgrind, for clocks do not repeat.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use callscribe::media::{Frame, Law};
use callscribe::speech::voice::{Kind, Sound};

use crate::conditions;
use crate::leg::Leg;
use crate::network::Loss;

/// A detector over so many frames of a kind; written `network:speech:1500`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    kind: Kind,
    material: Material,
    frames: usize,
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

impl Run {
    /// Decodes the frames and has them judged.
    pub(crate) fn run(self, clean: &Leg) {
        let mut detector = self.kind.detector();
        let frames = self.material.frames(clean);
        let speech = frames[..self.frames.min(frames.len())]
            .iter()
            .filter(|frame| detector.is_speech(&Sound::from(*frame)));
        println!("{} frames of speech", speech.count());
    }
}

impl FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or("expected DETECTOR:MATERIAL:FRAMES");
        let kind = match next()? {
            "network" => Kind::Network,
            "webrtc" => Kind::Webrtc,
            other => return Err(format!("no detector {other}")),
        };
        let material = match next()? {
            "silence" => Material::Silence,
            "noise" => Material::Noise,
            "speech" => Material::Speech,
            "conversation" => Material::Conversation,
            other => return Err(format!("no material {other}")),
        };
        let frames = next()?.parse().map_err(|error| format!("{error}"))?;
        Ok(Self {
            kind,
            material,
            frames,
        })
    }
}

/// Prints a line per detector, if valgrind is there.
pub(crate) fn print(folder: &Path) {
    println!("\n{HEADING}");
    for kind in ["network", "webrtc"] {
        print!("{kind:<8}");
        for material in ["silence", "noise", "speech", "conversation"] {
            let counts =
                [0, FRAMES].map(|frames| count(folder, &format!("{kind}:{material}:{frames}")));
            let cost = match counts {
                [Some(none), Some(all)] => ((all - none) / FRAMES).to_string(),
                _ => "?".to_owned(),
            };
            print!(" {cost:>12}");
        }
        println!();
    }
}

fn count(folder: &Path, run: &str) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(folder)
        .arg(format!("--cost-of={run}"))
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))?;
    collected.1.trim().parse().ok()
}

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
    let frames = usize::try_from(FRAMES).unwrap_or(usize::MAX);
    for (frame, &is_speech) in recorded.cycle() {
        if leg.labels.len() > frames {
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

const FRAMES: u64 = 6_000;

const HEADING: &str = "\
instructions a frame, counted by valgrind
detector      silence        noise       speech conversation";
