//! A gate before a detector: it spares it what is plainly no speech, and shows it the rest at one
//! level.

use crate::speech::voice::{FLOOR_DBFS, Sound, VoiceActivity};

/// An adaptive energy gate with level normalisation around another detector.
#[derive(Debug)]
pub struct Gate<D> {
    detector: D,
    floor: NoiseFloor,
    /// Level of recent speech in dBFS: rises at once, falls slowly.
    speech_dbfs: f32,
}

impl<D: VoiceActivity> Gate<D> {
    /// Puts a gate before a detector.
    pub fn new(detector: D) -> Self {
        Self {
            detector,
            floor: NoiseFloor::default(),
            speech_dbfs: TARGET_DBFS,
        }
    }

    fn normalise(&mut self, sound: &Sound) -> Sound {
        self.speech_dbfs = sound.level_dbfs().max(self.speech_dbfs - FALL_DB_PER_FRAME);
        let gain_db = (TARGET_DBFS - self.speech_dbfs).clamp(MIN_GAIN_DB, MAX_GAIN_DB);
        let gain = 10.0_f32.powf(gain_db / 20.0);
        sound.amplified(gain)
    }
}

impl<D: VoiceActivity> VoiceActivity for Gate<D> {
    fn is_speech(&mut self, sound: &Sound) -> bool {
        let level = sound.level_dbfs();
        let floor = self.floor.update(level);
        if level < (floor + OPEN_ABOVE_FLOOR_DB).max(QUIETEST_SPEECH_DBFS) {
            return false;
        }
        let normalised = self.normalise(sound);
        self.detector.is_speech(&normalised)
    }

    fn reset(&mut self) {
        self.detector.reset();
        self.floor = NoiseFloor::default();
        self.speech_dbfs = TARGET_DBFS;
    }
}

/// The level of the background: the least level of the last seconds, kept as minima of short spans.
#[derive(Debug)]
struct NoiseFloor {
    minima: [f32; SPANS],
    span: usize,
    frames: u32,
}

impl NoiseFloor {
    fn update(&mut self, level: f32) -> f32 {
        if self.frames == SPAN_FRAMES {
            self.frames = 0;
            self.span = (self.span + 1) % SPANS;
            self.minima[self.span] = level;
        }
        self.frames += 1;
        let least = &mut self.minima[self.span];
        *least = least.min(level);
        self.minima.iter().copied().fold(0.0, f32::min)
    }
}

impl Default for NoiseFloor {
    fn default() -> Self {
        Self {
            minima: [FLOOR_DBFS; SPANS],
            span: 0,
            frames: 0,
        }
    }
}

/// Where speech is brought to: about the nominal active level of a telephone line (ITU-T P.56
/// readings of -26 to -20).
const TARGET_DBFS: f32 = -20.0;
const MIN_GAIN_DB: f32 = -10.0;
const MAX_GAIN_DB: f32 = 24.0;
/// 3 dB a second.
const FALL_DB_PER_FRAME: f32 = 0.06;
const OPEN_ABOVE_FLOOR_DB: f32 = 6.0;
/// Speech of -45 dBFS has its soft sounds some 15 dB lower.
const QUIETEST_SPEECH_DBFS: f32 = -60.0;
const SPANS: usize = 6;
/// Half a second.
const SPAN_FRAMES: u32 = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FRAME_SAMPLES;

    struct Always;

    impl VoiceActivity for Always {
        fn is_speech(&mut self, _: &Sound) -> bool {
            true
        }
        fn reset(&mut self) {}
    }

    #[test]
    fn steady_noise_is_kept_from_the_detector_once_it_is_known() {
        let mut gate = Gate::new(Always);
        let noise = square(300);
        for _ in 0..200 {
            gate.is_speech(&noise);
        }
        assert!(!gate.is_speech(&noise));
        assert!(gate.is_speech(&square(3_000)));
    }

    #[test]
    fn digital_silence_is_never_shown_to_the_detector() {
        let mut gate = Gate::new(Always);
        assert!((0..100).all(|_| !gate.is_speech(&Sound::from_pcm(&[8; FRAME_SAMPLES]))));
    }

    fn square(amplitude: i16) -> Sound {
        Sound::from_pcm(&std::array::from_fn(|i| {
            if i / 8 % 2 == 0 {
                amplitude
            } else {
                -amplitude
            }
        }))
    }
}
