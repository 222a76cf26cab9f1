//! Captures: what a replay says of those of real senders is what tshark counted in them, and of those
//! made here what was sent. With `--nocapture` the tables of both are printed.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "captures/made.rs"]
mod made;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn replay_of_every_real_sender_says_what_tshark_counted() {
    let truths = truths();
    let replays: Vec<Figures> = truths
        .iter()
        .map(|truth| {
            let replay = replay(truth);
            // SIPp keeps the stream of its keys alive with packets that carry nothing.
            let packets = replay.only_leg().packets + replay.refused();
            Figures {
                packets,
                ..replay.only_leg()
            }
        })
        .collect();
    println!("{:32} {HEAD}   {HEAD}", "replayed, then tshark");
    for (truth, said) in truths.iter().zip(&replays) {
        println!("{:32} {said}   {}", truth.file, truth.figures);
    }
    for (truth, said) in truths.iter().zip(&replays) {
        let (truth, file) = (&truth.figures, &truth.file);
        let exact = |figures: &Figures| (figures.packets, figures.lost, figures.duplicates);
        assert_eq!(
            exact(said),
            exact(truth),
            "packets, lost, duplicates of {file}"
        );
        assert_eq!(said.digits, truth.digits, "keys of {file}");
        let error = said.duration_ms.abs_diff(truth.duration_ms);
        assert!(error <= 20, "{file} is {error} ms longer or shorter");
    }
    assert!(truths.len() >= 6, "{} captures", truths.len());
}

#[test]
fn nothing_of_a_capture_is_missing_and_no_sender_is_taken_for_a_stranger() {
    for truth in truths().iter().filter(|truth| truth.figures.lost == 0) {
        let lines = replay(truth).lines;
        let told: Vec<_> = of(&lines, "channel_health").collect();
        assert!(told.is_empty(), "{}: {told:?}", truth.file);
        let reasons = of(&lines, "gap").map(|gap| gap["reason"].as_str().unwrap());
        let lost = reasons.filter(|reason| *reason == "rtp_loss").count();
        assert_eq!(lost, 0, "{}", truth.file);
    }
}

/// A capture and what tshark says of it.
struct Truth {
    file: String,
    figures: Figures,
}

/// What there is to say of a capture.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    packets: u64,
    lost: u64,
    duplicates: u64,
    duration_ms: u64,
    digits: String,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            packets,
            lost,
            duplicates,
            duration_ms,
            digits,
        } = self;
        write!(
            f,
            "{packets:7} {lost:4} {duplicates:6} {duration_ms:6} {digits:6}"
        )
    }
}

const HEAD: &str = "packets lost copies     ms keys  ";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures")
}

fn truths() -> Vec<Truth> {
    let table = fs::read_to_string(folder().join("truth.tsv")).unwrap();
    let rows = table.lines().skip(1);
    rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, packets, lost, duplicates, duration_ms, digits] = columns[..] else {
            panic!("a row of truth.tsv has six columns: {row}");
        };
        Truth {
            file: file.to_owned(),
            figures: Figures {
                packets: packets.parse().unwrap(),
                lost: lost.parse().unwrap(),
                duplicates: duplicates.parse().unwrap(),
                duration_ms: duration_ms.parse().unwrap(),
                digits: digits.to_owned(),
            },
        }
    })
    .collect()
}

/// What `callscribe replay` says of a capture.
struct Replay {
    lines: Vec<Value>,
    /// To people.
    said: String,
}

impl Replay {
    fn of(path: &Path, arguments: &[&str]) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .args(["replay", "--engine", "none"])
            .args(arguments)
            .arg(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", path.display());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        Self {
            lines: lines.collect(),
            said: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The account of a capture of one call with one leg.
    fn coverage(&self) -> &Value {
        let [ended] = of(&self.lines, "call_ended").collect::<Vec<_>>()[..] else {
            panic!("it is one call: {:?}", self.lines);
        };
        let [leg] = &ended["coverage"].as_array().unwrap()[..] else {
            panic!("it has one leg: {ended}");
        };
        leg
    }

    /// Packets of it that were not heard.
    fn refused(&self) -> u64 {
        self.coverage()["rtp"]["refused"].as_u64().unwrap()
    }

    /// The figures of it.
    fn only_leg(&self) -> Figures {
        let leg = self.coverage();
        let rtp = |figure: &str| leg["rtp"][figure].as_u64().unwrap();
        let digits = of(&self.lines, "dtmf").map(|line| line["digit"].as_str().unwrap());
        Figures {
            packets: rtp("packets"),
            lost: rtp("lost"),
            duplicates: rtp("duplicates"),
            duration_ms: leg["received_ms"].as_u64().unwrap() + leg["lost_ms"].as_u64().unwrap(),
            digits: digits.collect(),
        }
    }
}

fn replay(truth: &Truth) -> Replay {
    Replay::of(&folder().join(&truth.file), &[])
}

fn of<'a>(lines: &'a [Value], event: &str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["event"] == event)
}
