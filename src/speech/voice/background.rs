//! Tells when nothing changes: a background that has been judged need not be judged frame by frame.

use crate::speech::voice::Sound;

/// What is known of the sound between the words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Background {
    /// Mean level while there was certainly no speech, in dBFS.
    level: f32,
    /// The same of the brightness.
    brightness: f32,
    /// Frames in a row that certainly held no speech; at most [`FAMILIAR`].
    certain: u8,
    /// Frames in a row that passed unjudged.
    passed: u8,
}

impl Background {
    /// Whether a frame may pass unjudged: the background is familiar, the frame sounds like it, and
    /// the last verdict is fresh. Digital silence needs none.
    pub(super) fn covers(&mut self, sound: &Sound) -> bool {
        let is_familiar = self.certain >= FAMILIAR;
        if is_familiar && sound.is_constant() {
            return true;
        }
        let passes = is_familiar && self.passed < MOST_PASSED && self.is_like(sound);
        self.passed = if passes { self.passed + 1 } else { 0 };
        passes
    }

    /// Whether the last frame passed unjudged; so will the next, as a rule.
    pub(super) const fn is_passing(&self) -> bool {
        self.passed > 0
    }

    /// Takes note of a verdict: log odds of speech.
    pub(super) fn note(&mut self, sound: &Sound, log_odds: f32) {
        if log_odds > CERTAIN {
            self.certain = 0;
            return;
        }
        self.certain = FAMILIAR.min(self.certain + 1);
        let share = 1.0 / f32::from(self.certain);
        self.level += (sound.level_dbfs() - self.level) * share;
        self.brightness += (sound.brightness_db() - self.brightness) * share;
    }

    fn is_like(&self, sound: &Sound) -> bool {
        (sound.brightness_db() - self.brightness).abs() < ALIKE_DB
            && sound.level_dbfs() < self.level + LOUDER_DB
    }
}

/// 200 ms.
const FAMILIAR: u8 = 10;
/// 140 ms: well within the pre-roll, should a voice come up from below the background.
const MOST_PASSED: u8 = 7;
/// The brightness of steady noise differs by half a decibel or so from frame to frame. What is less
/// bright may be a voice after brighter music.
const ALIKE_DB: f32 = 1.5;
/// Its level differs by some decibels, for all its bass.
const LOUDER_DB: f32 = 3.0;
/// Log odds below which there is certainly no speech.
const CERTAIN: f32 = -2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FRAME_SAMPLES;

    #[test]
    fn what_was_judged_for_a_while_passes_and_is_judged_again_now_and_then() {
        let mut background = familiar(&noise(100));
        let passed = (0..80).filter(|_| {
            let passes = background.covers(&noise(105));
            if !passes {
                background.note(&noise(105), -5.0);
            }
            passes
        });
        assert_eq!(passed.count(), 70);
    }

    #[test]
    fn what_is_louder_or_quieter_is_judged() {
        assert!(!familiar(&noise(100)).covers(&noise(150)));
        assert!(!familiar(&noise(100)).covers(&noise(70)));
    }

    #[test]
    fn bass_alone_that_is_much_louder_is_judged() {
        let mut louder = noise(100).pcm();
        for sample in &mut louder {
            *sample += 300;
        }
        assert!(!familiar(&noise(100)).covers(&Sound::from_pcm(&louder)));
    }

    #[test]
    fn familiar_silence_is_never_judged() {
        let silence = Sound::from_pcm(&[8; FRAME_SAMPLES]);
        let mut background = familiar(&silence);
        assert!((0..1_000).all(|_| background.covers(&silence)));
    }

    #[test]
    fn after_speech_and_after_doubt_everything_is_judged() {
        for log_odds in [6.0, -1.5] {
            let mut background = familiar(&noise(100));
            background.note(&noise(100), log_odds);
            assert!(!background.covers(&noise(100)));
        }
    }

    fn familiar(sound: &Sound) -> Background {
        let mut background = Background::default();
        for _ in 0..FAMILIAR {
            assert!(!background.covers(sound));
            background.note(sound, -5.0);
        }
        background
    }

    /// As good as noise: eight samples up, eight down.
    fn noise(amplitude: i16) -> Sound {
        let sign = |n: usize| if (n / 8).is_multiple_of(2) { 1 } else { -1 };
        Sound::from_pcm(&std::array::from_fn(|n| amplitude * sign(n)))
    }
}
