//! Quiet: where the clock may be corrected without anybody hearing it.

use crate::media::{Law, g711};

/// Finds pauses by loudness alone: packets about as quiet as the quietest of late, long enough in a
/// row.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quiet {
    floor: Option<u32>,
    /// The loudest packet so far.
    peak: u32,
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
        self.peak = self.peak.max(level);
        let is_lowest = level <= (floor + floor / 2).max(SILENT);
        let is_faint = level <= FAINT || level <= self.peak / 4;
        let is_quiet = is_lowest && is_faint;
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

/// Mean magnitude that may be a pause though nothing louder was heard: -50 dB of full scale. Above
/// it a pause is 12 dB fainter than speech, lest a steady voice be taken for one.
const FAINT: u32 = 100;

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

    #[test]
    fn steady_sound_is_no_pause() {
        let mut quiet = Quiet::default();
        assert!((0..1_000).all(|_| !quiet.observe(Law::Pcmu, &packet(4_000))));
    }

    fn packet(magnitude: i16) -> [u8; 160] {
        let mut g711 = [0; 160];
        g711::encode(Law::Pcmu, &[magnitude; 160], &mut g711);
        g711
    }
}
