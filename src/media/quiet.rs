//! Quiet: where the clock may be corrected without anybody hearing it.

use crate::media::{Law, g711};

/// Finds pauses by loudness alone: packets about as quiet as the quietest of late, long enough in a row.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    floor: Option<u32>,
    /// Samples looked at, and quiet samples in a row.
    watched: usize,
    in_row: usize,
}

impl Quiet {
    /// Takes the next packet and tells whether the sender pauses.
    pub(crate) fn observe(&mut self, law: Law, samples: &[u8]) -> bool {
        let level = g711::mean_magnitude(law, samples);
        let floor = self
            .floor
            .map_or(level, |floor| (floor + floor / 64 + 1).min(level));
        self.floor = Some(floor);
        self.watched = self.watched.saturating_add(samples.len());
        let is_quiet = level <= (floor + floor / 2).max(SILENT);
        self.in_row = if is_quiet {
            self.in_row + samples.len()
        } else {
            0
        };
        self.watched >= WARM_UP && self.in_row >= PAUSE
    }
}

/// Loudness is compared only after 2 s: speech shows its dips within that.
const WARM_UP: usize = 16_000;

/// Shortest pause that counts: 240 ms, longer than any closure of a plosive.
const PAUSE: usize = 1_920;

/// Mean magnitude that is quiet on every line: -66 dB of full scale.
const SILENT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_in_noise_is_found_and_speech_is_not() {
        let mut quiet = Quiet::default();
        for n in 0..400 {
            let in_pause = n % 50 >= 30;
            let found = quiet.observe(Law::Pcmu, &packet(if in_pause { 200 } else { 4_000 }));
            if found {
                assert!(in_pause && n % 50 >= 41, "{n}");
            }
            assert!(found || n < 100 || n % 50 < 42, "{n}");
        }
    }

    fn packet(magnitude: i16) -> [u8; 160] {
        let mut g711 = [0; 160];
        g711::encode(Law::Pcmu, &[magnitude; 160], &mut g711);
        g711
    }
}
