//! Tells when nothing changes: a background that has been judged need not be judged frame by frame.

/// What is known of the sound between the words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Background {
    /// Mean level while there was certainly no speech, in dBFS.
    level: f32,
    /// Frames in a row that certainly held no speech; at most [`FAMILIAR`].
    certain: u8,
    /// Frames in a row that passed unjudged.
    passed: u8,
}

impl Background {
    /// Whether a frame of this level may pass unjudged: the background is familiar, the frame no
    /// louder, and the last verdict fresh.
    pub(super) fn covers(&mut self, level: f32) -> bool {
        let is_familiar = self.certain >= FAMILIAR && self.passed < MOST_PASSED;
        if is_familiar && level < self.level + LOUDER_DB {
            self.passed += 1;
            self.level = self.level.min(level + DROP_DB);
            return true;
        }
        self.passed = 0;
        false
    }

    /// Takes note of a verdict: log odds of speech.
    pub(super) fn note(&mut self, level: f32, log_odds: f32) {
        if log_odds > CERTAIN {
            self.certain = 0;
            return;
        }
        self.certain = FAMILIAR.min(self.certain + 1);
        self.level += (level - self.level) / f32::from(self.certain);
    }
}

/// 200 ms.
const FAMILIAR: u8 = 10;
/// 140 ms: well within the pre-roll, should a voice come up from below the background.
const MOST_PASSED: u8 = 7;
/// Frames of steady noise differ by a decibel or less.
const LOUDER_DB: f32 = 2.0;
/// So much less is another background.
const DROP_DB: f32 = 6.0;
/// Log odds below which there is certainly no speech.
const CERTAIN: f32 = -2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_judged_for_a_while_passes_and_is_judged_again_now_and_then() {
        let mut background = familiar(-50.0);
        let passed = (0..80).filter(|_| {
            let passes = background.covers(-50.5);
            if !passes {
                background.note(-50.5, -5.0);
            }
            passes
        });
        assert_eq!(passed.count(), 70);
    }

    #[test]
    fn what_is_louder_is_judged() {
        assert!(!familiar(-50.0).covers(-47.5));
    }

    #[test]
    fn after_speech_and_after_doubt_everything_is_judged() {
        for log_odds in [6.0, -1.5] {
            let mut background = familiar(-50.0);
            background.note(-50.0, log_odds);
            assert!(!background.covers(-50.0));
        }
    }

    #[test]
    fn a_voice_below_the_noise_that_stopped_is_judged() {
        let mut background = familiar(-30.0);
        assert!(background.covers(-70.0));
        assert!(!background.covers(-45.0));
    }

    fn familiar(level: f32) -> Background {
        let mut background = Background::default();
        for _ in 0..FAMILIAR {
            assert!(!background.covers(level));
            background.note(level, -5.0);
        }
        background
    }
}
