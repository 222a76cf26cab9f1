//! Where speech without a pause was cut: what the cut cost.

use callscribe::media::Samples;

use crate::recognition::Understood;

/// A cut, and the text around it.
pub(crate) struct Seam {
    pub(crate) at: Samples,
    pub(crate) before: String,
    pub(crate) after: String,
    /// What is said there.
    pub(crate) said: String,
    /// Wrong characters around the cut.
    pub(crate) errors: i64,
    /// In the same place, when the engine is fed the whole recording.
    pub(crate) errors_uncut: i64,
}

impl Seam {
    /// Every seam of a leg; `uncut` is the text of the whole recording.
    pub(crate) fn all(understood: &Understood, said: &str, uncut: &str) -> Vec<Self> {
        let (said, uncut) = (plain(said), plain(uncut));
        let pairs = understood.texts.windows(2).zip(&understood.parts[1..]);
        let seams = pairs.filter(|(_, part)| part.is_seam);
        seams
            .map(|(texts, part)| Self::new(part.start, [&texts[0], &texts[1]], &said, &uncut))
            .collect()
    }

    fn new(at: Samples, [before, after]: [&str; 2], said: &[char], uncut: &[char]) -> Self {
        let (before, after) = (plain(before), plain(after));
        let before = &before[before.len().saturating_sub(AROUND)..];
        let after = &after[..after.len().min(AROUND)];
        let here: Vec<char> = before.iter().chain(after).copied().collect();
        let (errors, reference) = nearest(&here, said);
        let (_, same) = nearest(&here, uncut);
        let (errors_uncut, _) = nearest(&uncut[same], said);
        let text = |letters: &[char]| letters.iter().collect();
        Self {
            at,
            before: text(before),
            after: text(after),
            said: text(&said[reference]),
            errors,
            errors_uncut,
        }
    }

    /// Characters that the cuts cost, in the mean; `None` without a seam.
    pub(crate) fn lost_at_each(seams: &[Self]) -> Option<f32> {
        let lost: i64 = seams
            .iter()
            .map(|seam| seam.errors - seam.errors_uncut)
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a few seams")]
        let mean = lost as f32 / seams.len() as f32;
        (!seams.is_empty()).then_some(mean)
    }
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
