//! Voice activity: is somebody speaking in these 20 ms?

mod background;
mod features;
mod gate;
mod network;
mod spectrum;
mod webrtc;

pub use gate::Gate;
pub use network::Network;
pub use webrtc::WebRtc;

use crate::media::{FRAME_SAMPLES, Frame, g711};

/// Decides on one leg's frames, in their order.
pub trait VoiceActivity {
    /// Whether the frame holds speech; 16-bit linear at 8 kHz.
    fn is_speech(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> bool;

    /// Forgets everything heard: the next frame begins another stream.
    fn reset(&mut self);

    /// What it remembers of the frames so far, for [`Self::recall`] in another process; nothing if it
    /// begins anew there.
    fn memory(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Goes on from the memory of another detector of its kind; one of another kind changes nothing.
    fn recall(&mut self, _memory: &[f32]) {}
}

/// The detectors there are to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`Network`].
    #[default]
    Network,
    /// [`WebRtc`] behind a [`Gate`].
    Webrtc,
}

impl Kind {
    /// A new detector of this kind, for one leg.
    pub fn detector(self) -> Box<dyn VoiceActivity> {
        match self {
            Self::Network => Box::new(Network::new()),
            Self::Webrtc => Box::new(Gate::new(WebRtc::new())),
        }
    }
}

/// The frame as 16-bit linear PCM.
pub fn decode(frame: &Frame) -> [i16; FRAME_SAMPLES] {
    let mut pcm = [0; FRAME_SAMPLES];
    g711::decode(frame.law, &frame.g711, &mut pcm);
    pcm
}

/// Mean power of a frame in dBFS, a full-scale square wave being 0; not below [`FLOOR_DBFS`].
pub fn level_dbfs(pcm: &[i16; FRAME_SAMPLES]) -> f32 {
    (10.0 * (mean_power(pcm) + f32::MIN_POSITIVE).log10()).max(FLOOR_DBFS)
}

/// Mean power of a frame, that of a full-scale square wave being 1.
fn mean_power(pcm: &[i16; FRAME_SAMPLES]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (groups, _) = pcm.as_chunks::<LANES>();
    for group in groups {
        for (sum, &sample) in sums.iter_mut().zip(group) {
            *sum += f32::from(sample) * f32::from(sample);
        }
    }
    sums.iter().sum::<f32>() * (1.0 / (FRAME_SAMPLES as f32 * 32_768.0 * 32_768.0))
}

/// Sums side by side, so that the processor may add them at once.
const LANES: usize = 8;

/// The level of digital silence: half a step of A-law (ITU-T G.711) is -72 dBFS.
pub const FLOOR_DBFS: f32 = -75.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_of_a_full_scale_square_wave_is_zero() {
        assert!(level_dbfs(&[i16::MIN; FRAME_SAMPLES]).abs() < 0.01);
        assert!((level_dbfs(&[-3_277; FRAME_SAMPLES]) + 20.0).abs() < 0.01);
    }

    #[test]
    fn digital_silence_has_the_floor_level() {
        assert_eq!(level_dbfs(&[0; FRAME_SAMPLES]), FLOOR_DBFS);
    }
}
