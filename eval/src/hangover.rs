//! What the hangover is worth: pauses for thought that are cut in two, and how long a text waits.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use callscribe::eval::score::score;
use callscribe::media::Samples;
use callscribe::speech::Output;
use callscribe::speech::utterance::Timing;
use callscribe::speech::voice::Kind;

use crate::conditions;
use crate::leg::{Leg, ReadError};
use crate::network::Loss;
use crate::recogniser::Recogniser;
use crate::recognition::Understood;
use crate::score::Utterances;
use crate::segment;

/// Prints a line per hangover: sentences in an office, in each of them one pause for thought.
pub(crate) fn run(
    folder: &Path,
    seed: u64,
    recogniser: Option<&Recogniser>,
) -> Result<(), ReadError> {
    let (clean, pauses) = Leg::read_thoughtful(folder, seed)?;
    let condition = conditions::office();
    let leg = condition.apply(&clean, seed);
    let frames = leg.frames(condition.law(), Loss::default(), seed);
    println!(
        "{} sentences with a pause for thought of {} to {} ms, and 1.5 to 3 s between them\n{HEADING}",
        pauses.len(),
        Leg::THOUGHT_MS.start(),
        Leg::THOUGHT_MS.end(),
    );
    for hangover in HANGOVERS_MS.map(Duration::from_millis) {
        let timing = Timing {
            hangover,
            ..Timing::dialogue()
        };
        let (outputs, closed) = segment(&frames, timing, Kind::default().detector());
        let found = Utterances::compare(&leg.labels, &outputs, &closed, hangover);
        let text = recogniser.map(|recogniser| {
            let understood = Understood::of(&outputs, condition.law(), recogniser);
            score(&leg.said, &understood.text()).rate_percent()
        });
        println!(
            "{:>8} {:>10} {:>6} {:>7} {:>5} {:>7.1} {:>9.1} {:>6}",
            hangover.as_millis(),
            found.found,
            pauses
                .iter()
                .filter(|pause| is_cut(pause, &outputs))
                .count(),
            found.closed.p50,
            found.closed.p90,
            found.sent.as_duration().as_secs_f32(),
            found.speech.as_duration().as_secs_f32(),
            text.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}")),
        );
    }
    Ok(())
}

/// Whether an utterance ends in the pause.
fn is_cut(pause: &Range<Samples>, outputs: &[Output]) -> bool {
    outputs.iter().any(|output| match output {
        Output::Ended { end, .. } => pause.contains(end),
        Output::Started { .. }
        | Output::PartOpened { .. }
        | Output::LeadIn(_)
        | Output::Audio(_)
        | Output::PartClosed { .. } => false,
    })
}

const HANGOVERS_MS: [u64; 7] = [300, 400, 500, 600, 800, 1_000, 1_200];

const HEADING: &str = "\
hangover utterances  pauses  closed, ms  sent s  speech s  CER %
      ms                cut   p50   p90";
