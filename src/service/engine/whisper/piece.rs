//! Cuts long speech into pieces that Whisper's 30 s window holds.

use std::ops::Range;

/// Ranges that tile `samples` (16 kHz), none longer than 28 s, cut at the quietest 0.2 s from 12 s
/// on.
///
/// A cut inside a word costs characters, and Whisper may then stop early; one in a pause costs
/// nothing.
pub(super) fn pieces(samples: &[f32]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while samples.len() - start > LONGEST {
        let end = start + SHORTEST + quietest(&samples[start + SHORTEST..start + LONGEST]);
        pieces.push(start..end);
        start = end;
    }
    pieces.push(start..samples.len());
    pieces
}

/// The middle of the quietest 0.2 s.
fn quietest(samples: &[f32]) -> usize {
    let hop_energy: Vec<f32> = samples
        .chunks_exact(HOP)
        .map(|hop| hop.iter().map(|x| x * x).sum())
        .collect();
    let (hop, _) = hop_energy
        .windows(QUIET_HOPS)
        .map(|hops| hops.iter().sum::<f32>())
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 0.0));
    (hop + QUIET_HOPS / 2) * HOP
}

const RATE: usize = 16_000;
const SHORTEST: usize = 12 * RATE;
const LONGEST: usize = 28 * RATE;
/// 20 ms.
const HOP: usize = RATE / 50;
/// 0.2 s.
const QUIET_HOPS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_one_piece() {
        assert_eq!(pieces(&vec![0.1; LONGEST]).len(), 1);
        assert_eq!(pieces(&[]).len(), 1);
    }

    #[test]
    fn a_minute_is_cut_in_its_pauses() {
        let mut samples = vec![0.1; 60 * RATE];
        for pause in [20, 41] {
            samples[pause * RATE..pause * RATE + RATE / 2].fill(0.0);
        }
        let pieces = pieces(&samples);
        assert_eq!(pieces.len(), 3);
        for (piece, pause) in pieces.iter().zip([20, 41]) {
            let cut = piece.end;
            assert!(
                (pause * RATE..pause * RATE + RATE / 2).contains(&cut),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn pieces_tile_the_audio_and_fit_the_window() {
        let samples = vec![0.1; 59 * RATE + 77];
        let pieces = pieces(&samples);
        assert_eq!(pieces.first().unwrap().start, 0);
        assert_eq!(pieces.last().unwrap().end, samples.len());
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
    }
}
