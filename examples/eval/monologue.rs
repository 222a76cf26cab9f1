//! Speech that never pauses: what is lost where it must be cut.

use std::time::Duration;

use callscribe::eval::score::score;
use callscribe::media::Law;
use callscribe::speech::Output;
use callscribe::speech::utterance::Timing;
use callscribe::speech::voice::Kind;

use crate::leg::Leg;
use crate::network::Loss;
use crate::recogniser::{Recogniser, g711};
use crate::recognition::Understood;
use crate::segment;

/// Cuts a monologue with and without overlap, and prints every seam.
pub(crate) fn run(leg: &Leg, timing: Timing, recogniser: &Recogniser) {
    let frames = leg.frames(Law::Pcma, Loss::default(), 0);
    let said = plain(&leg.said);
    let (whole, _) = recogniser.recognise(Law::Pcma, g711(&frames));
    let uncut = plain(&whole);
    println!(
        "{:.0} s without a pause, {} characters; the engine fed all of it: CER {:.1} %",
        leg.seconds(),
        said.len(),
        score(&leg.said, &whole).rate_percent(),
    );
    for overlap in [0, 2_000, 3_000].map(Duration::from_millis) {
        let timing = Timing { overlap, ..timing };
        let (outputs, _) = segment(&frames, timing, Kind::default());
        show(&outputs, overlap, leg, (&said, &uncut), recogniser);
    }
}

fn show(
    outputs: &[Output],
    overlap: Duration,
    leg: &Leg,
    (said, uncut): (&[char], &[char]),
    recogniser: &Recogniser,
) {
    let understood = Understood::of(outputs, Law::Pcma, recogniser);
    println!("\noverlap {} ms:", overlap.as_millis());
    let (mut lost, mut seams) = (0_i64, 0_i64);
    for (pair, (start, _)) in understood.texts.windows(2).zip(&understood.parts[1..]) {
        let (before, after) = (plain(&pair[0]), plain(&pair[1]));
        let before = &before[before.len().saturating_sub(AROUND)..];
        let after = &after[..after.len().min(AROUND)];
        let here: Vec<char> = before.iter().chain(after).copied().collect();
        let (errors, reference) = nearest(&here, said);
        let (_, same) = nearest(&here, uncut);
        let (errors_uncut, _) = nearest(&uncut[same], said);
        seams += 1;
        lost += errors - errors_uncut;
        println!(
            "  {:>6.2} s  {} | {}   said: {}   errors {errors}, uncut {errors_uncut}",
            start.as_duration().as_secs_f32(),
            before.iter().collect::<String>(),
            after.iter().collect::<String>(),
            said[reference].iter().collect::<String>(),
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a few seams")]
    let at_a_seam = lost as f32 / seams.max(1) as f32;
    println!(
        "  sessions {}, sent {:.1} s of {:.1} s, CER {:.1} %, characters lost at a seam {at_a_seam:.2}",
        understood.parts.len(),
        understood.sent.as_duration().as_secs_f32(),
        leg.seconds(),
        score(&leg.said, &understood.text()).rate_percent(),
    );
}

/// The stretch of `text` that is most like `part`, and the edits between them.
fn nearest(part: &[char], text: &[char]) -> (i64, std::ops::Range<usize>) {
    let mut row: Vec<(i64, usize)> = (0..=text.len()).map(|at| (0, at)).collect();
    for (i, letter) in (1_i64..).zip(part) {
        let mut diagonal = std::mem::replace(&mut row[0], (i, 0));
        for (j, other) in text.iter().enumerate() {
            let same = (diagonal.0 + i64::from(letter != other), diagonal.1);
            let extra = (row[j].0 + 1, row[j].1);
            let missing = (row[j + 1].0 + 1, row[j + 1].1);
            diagonal = std::mem::replace(&mut row[j + 1], same.min(extra).min(missing));
        }
    }
    let ends = row.iter().zip(0_usize..);
    let best = ends.min_by_key(|((edits, _), _)| *edits);
    best.map_or((0, 0..0), |(&(edits, start), end)| (edits, start..end))
}

/// What counts: no punctuation, digits as numerals.
fn plain(text: &str) -> Vec<char> {
    let numerals: Vec<char> = "零一二三四五六七八九".chars().collect();
    let letters = text.chars().filter(|letter| letter.is_alphanumeric());
    letters
        .map(|letter| {
            let digit = letter
                .to_digit(10)
                .and_then(|digit| usize::try_from(digit).ok());
            digit
                .and_then(|digit| numerals.get(digit).copied())
                .unwrap_or(letter)
        })
        .collect()
}

/// Characters shown and judged on either side of a seam.
const AROUND: usize = 12;
