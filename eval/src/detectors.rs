//! What is compared: the daemon's detectors, and Silero.

use std::path::Path;
use std::rc::Rc;

use callscribe::media::Frame;
use callscribe::speech::voice::{Kind, Sound, VoiceActivity};
use clap::ValueEnum;

use crate::silero::{LoadError, Network, Silero};

/// A detector by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Network,
    Webrtc,
    Silero,
}

impl Name {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Webrtc => "webrtc",
            Self::Silero => "silero",
        }
    }

    /// Whether the daemon has it unless it is told otherwise: what is recognised.
    pub(crate) fn is_default(self) -> bool {
        matches!(
            (self, Kind::default()),
            (Self::Network, Kind::Network) | (Self::Webrtc, Kind::Webrtc)
        )
    }
}

/// A detector, for any number of legs.
pub(crate) enum Detector {
    Daemon(Name, Kind),
    Silero(Rc<Network>),
}

impl Detector {
    /// The detector of this name; Silero is read from a file.
    pub(crate) fn load(name: Name, silero: &Path) -> Result<Self, LoadError> {
        match name {
            Name::Network => Ok(Self::Daemon(name, Kind::Network)),
            Name::Webrtc => Ok(Self::Daemon(name, Kind::Webrtc)),
            Name::Silero => Ok(Self::Silero(Rc::new(Network::load(silero)?))),
        }
    }

    pub(crate) const fn name(&self) -> Name {
        match self {
            Self::Daemon(name, _) => *name,
            Self::Silero(_) => Name::Silero,
        }
    }

    /// One for a leg.
    pub(crate) fn for_leg(&self) -> Box<dyn VoiceActivity> {
        match self {
            Self::Daemon(_, kind) => kind.detector(),
            Self::Silero(network) => Box::new(Silero::new(network)),
        }
    }

    /// What it makes of each frame of a leg.
    pub(crate) fn verdicts(&self, frames: &[Frame]) -> Vec<bool> {
        match self {
            Self::Daemon(_, kind) => {
                let mut detector = kind.detector();
                let sounds = frames.iter().map(Sound::from);
                sounds.map(|sound| detector.is_speech(&sound)).collect()
            }
            Self::Silero(network) => Silero::new(network).verdicts(frames),
        }
    }
}
