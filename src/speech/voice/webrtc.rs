//! The detector of WebRTC (Gaussian mixtures over six bands), by the crate `webrtc-vad`.

use std::fmt;

use webrtc_vad::{SampleRate, Vad, VadMode};

use crate::speech::voice::{Sound, VoiceActivity};

/// WebRTC's detector at its most sceptical (mode 3). It is a judge of spectra at an expected level:
/// put a [`super::Gate`] before it.
pub struct WebRtc(Vad);

impl WebRtc {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        Self(Vad::new_with_rate_and_mode(
            SampleRate::Rate8kHz,
            VadMode::VeryAggressive,
        ))
    }
}

impl VoiceActivity for WebRtc {
    fn is_speech(&mut self, sound: &Sound) -> bool {
        // The one error is a length other than 10, 20 or 30 ms.
        self.0.is_voice_segment(&sound.pcm()).unwrap_or(false)
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for WebRtc {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebRtc")
    }
}
