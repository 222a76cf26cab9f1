//! Where to cut speech that is too long for one recognition.
//!
//! A cut in a pause costs nothing; a cut inside a sentence costs about two characters, wherever it
//! falls. So from [`Settings::search_from`] on the first good pause is taken, and what counts as
//! good shrinks as the limit comes near. Where there is no pause at all, the quietest place of the
//! window that is still held back has to do, and the next part may hear the last words before it
//! again: [`crate::asr::seam`] joins the texts.

use crate::media::Samples;

/// The rules of cutting, in samples of the call clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Length of a part from which on a pause ends it.
    pub search_from: Samples,
    /// The most a part may hold, its lead-in included.
    pub limit: Samples,
    /// The most that is held back to choose from.
    pub look_ahead: Samples,
    /// The lead-in after a cut that is in no pause; less than half the limit.
    pub overlap: Samples,
}

/// A piece of the window that may be cut before or after, but not within: a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Its length.
    pub len: Samples,
    /// Its level in dBFS.
    pub level: f32,
    /// Whether it was taken for speech.
    pub is_speech: bool,
}

/// Finds the pause that just ended with the last piece of the window, if it is long enough for a
/// cut.
///
/// `offset` is the length of the part before the window. Gives the number of pieces before the cut,
/// which falls in the middle of the pause.
pub fn at_pause(window: &[Piece], offset: Samples, settings: &Settings) -> Option<usize> {
    let (last, before) = window.split_last()?;
    if !last.is_speech {
        return None;
    }
    let quiet = before
        .iter()
        .rev()
        .take_while(|piece| !piece.is_speech)
        .count();
    let run = before.len() - quiet..before.len();
    let pause = &window[run.clone()];
    let cut = middle(window, run);
    let part = offset + length(&window[..cut]);
    let good = quiet > 0 && length(pause) >= good_pause(part, settings) && is_quiet(pause, window);
    good.then_some(cut)
}

/// Whether a pause is quieter than the speech around it: else the detector may only have missed
/// some.
fn is_quiet(pause: &[Piece], window: &[Piece]) -> bool {
    let speech = window.iter().filter(|piece| piece.is_speech);
    mean_level(pause.iter()) + PAUSE_DEPTH_DB <= mean_level(speech)
}

fn mean_level<'a>(pieces: impl Iterator<Item = &'a Piece>) -> f32 {
    let (sum, count) = pieces.fold((0.0, 0.0), |(sum, count), piece| {
        (sum + piece.level, count + 1.0)
    });
    sum / count
}

/// Finds the best place of a window that must be cut now: the boundary with the quietest
/// surroundings, where what is no speech counts as quieter still.
///
/// Gives the number of pieces before the cut, at least 1 and at most `window.len()`; 0 for an empty
/// window.
pub fn anywhere(window: &[Piece]) -> usize {
    (1..=window.len())
        .min_by(|&a, &b| level_around(window, a).total_cmp(&level_around(window, b)))
        .unwrap_or(0)
}

/// The pause that is worth a cut in a part of this length: [`EASY_PAUSE`] where the search starts,
/// [`LEAST_PAUSE`] at the limit.
fn good_pause(part: Samples, settings: &Settings) -> Samples {
    let span = settings.limit.saturating_sub(settings.search_from).0.max(1);
    let done = part.saturating_sub(settings.search_from).0.min(span);
    let give = (EASY_PAUSE - LEAST_PAUSE).0;
    EASY_PAUSE - Samples(give * done / span)
}

/// Mean level of the pieces on both sides of a boundary, the nearest weighing most: so the middle
/// of a long pause is quieter than that of a short one.
fn level_around(window: &[Piece], cut: usize) -> f32 {
    let (before, after) = window.split_at(cut);
    let near = before
        .iter()
        .rev()
        .zip(WEIGHTS)
        .chain(after.iter().zip(WEIGHTS));
    let (sum, weight) = near.fold((0.0, 0.0), |(sum, total), (piece, weight)| {
        let level = if piece.is_speech {
            piece.level
        } else {
            piece.level - NO_SPEECH_DB
        };
        (sum + weight * level, total + weight)
    });
    sum / weight
}

/// The boundary nearest to the middle of a run of pieces, at least one piece from the start of the
/// window.
fn middle(window: &[Piece], run: std::ops::Range<usize>) -> usize {
    let half = length(&window[run.clone()]).0 / 2;
    let mut passed = 0;
    let mut cut = run.start;
    while cut < run.end && passed + window[cut].len.0 / 2 < half {
        passed += window[cut].len.0;
        cut += 1;
    }
    cut.max(1)
}

fn length(pieces: &[Piece]) -> Samples {
    Samples(pieces.iter().map(|piece| piece.len.0).sum())
}

/// A pause between sentences.
const EASY_PAUSE: Samples = Samples::from_ms(300);
/// A pause between phrases; less is a plosive that closes the mouth, or a doubt of the detector.
const LEAST_PAUSE: Samples = Samples::from_ms(160);
/// Even noise that drowns half the speech leaves its pauses so much quieter.
const PAUSE_DEPTH_DB: f32 = 6.0;
/// The surroundings of a boundary reach 160 ms to either side.
const WEIGHTS: [f32; 8] = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
/// How much quieter a piece counts that the detector takes for no speech.
const NO_SPEECH_DB: f32 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        search_from: Samples::from_ms(40_000),
        limit: Samples::from_ms(58_000),
        look_ahead: Samples::from_ms(4_000),
        overlap: Samples::from_ms(2_500),
    };

    #[test]
    fn a_sentence_pause_is_taken_in_its_middle_as_soon_as_it_ends() {
        let window = window(&[(100, true), (15, false), (1, true)]);
        let cut = at_pause(&window, Samples::from_ms(40_000), &SETTINGS);
        assert_eq!(cut, Some(107));
    }

    #[test]
    fn a_pause_that_has_not_ended_is_waited_for() {
        let window = window(&[(100, true), (15, false)]);
        assert_eq!(at_pause(&window, SETTINGS.search_from, &SETTINGS), None);
    }

    #[test]
    fn a_short_pause_is_left_at_first_and_taken_near_the_limit() {
        let window = window(&[(10, true), (10, false), (1, true)]);
        let early = at_pause(&window, Samples::from_ms(41_000), &SETTINGS);
        let late = at_pause(&window, Samples::from_ms(57_000), &SETTINGS);
        assert_eq!((early, late), (None, Some(15)));
    }

    #[test]
    fn a_pause_as_loud_as_the_speech_is_a_doubt_of_the_detector() {
        let mut window = window(&[(100, true), (15, false), (1, true)]);
        for piece in &mut window[100..115] {
            piece.level = -22.0;
        }
        assert_eq!(at_pause(&window, SETTINGS.search_from, &SETTINGS), None);
    }

    #[test]
    fn a_forced_cut_prefers_the_longest_pause_to_the_quietest_sound() {
        let mut window = window(&[(20, true), (4, false), (20, true), (6, false), (20, true)]);
        window[60].level = -75.0;
        assert_eq!(anywhere(&window), 47);
    }

    #[test]
    fn without_a_pause_the_quietest_surroundings_win() {
        let mut window = window(&[(50, true)]);
        for piece in &mut window[30..34] {
            piece.level = -40.0;
        }
        assert_eq!(anywhere(&window), 32);
    }

    #[test]
    fn a_cut_is_never_before_the_window() {
        assert_eq!(anywhere(&[]), 0);
        assert_eq!(anywhere(&window(&[(1, true)])), 1);
        assert!(anywhere(&window(&[(3, false), (2, true)])) >= 1);
    }

    fn window(runs: &[(usize, bool)]) -> Vec<Piece> {
        let piece = |is_speech| Piece {
            len: Samples::from_ms(20),
            level: if is_speech { -20.0 } else { -60.0 },
            is_speech,
        };
        runs.iter()
            .flat_map(|&(count, is_speech)| std::iter::repeat_n(piece(is_speech), count))
            .collect()
    }
}
