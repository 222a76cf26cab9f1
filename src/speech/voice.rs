//! Voice activity: is somebody speaking in these 20 ms?

mod background;
mod features;
mod gate;
mod network;
mod sound;
mod spectrum;
mod vector;
mod webrtc;

pub use gate::Gate;
pub use network::Network;
pub use sound::Sound;
pub use webrtc::WebRtc;

/// Decides on one leg's frames, in their order.
pub trait VoiceActivity {
    /// Whether the frame holds speech.
    fn is_speech(&mut self, sound: &Sound) -> bool;

    /// Forgets everything heard: the next frame begins another stream.
    fn reset(&mut self);

    /// Reads a little of its memory, so that the next frame finds it in the processor's cache; the sum means nothing.
    fn touch(&self) -> f32 {
        0.0
    }

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

/// The level of digital silence: half a step of A-law (ITU-T G.711) is -72 dBFS.
pub const FLOOR_DBFS: f32 = -75.0;
