//! A session that takes audio: which fragments are legal, and how much of them is heard.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::service::audio::Audio;
use crate::service::engine::JobId;
use crate::service::rules::Rules;
use crate::service::settings::Settings;

/// A session between START and END.
pub(super) struct Listening {
    pub(super) settings: Settings,
    pub(super) audio: Audio,
    pub(super) seat: OwnedSemaphorePermit,
    /// The interim job under way.
    pub(super) interim: Option<JobId>,
    /// The audio that was last given to an interim job.
    pub(super) shown: Duration,
    /// A fragment below the least size, which only the last of a session may be.
    short: Option<usize>,
    is_full: bool,
}

/// How much of a fragment was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// All of it.
    All,
    /// What fitted: the session has just become as long as a session may be.
    UpToTheLimit,
    /// Nothing: it was full before.
    Nothing,
}

/// A fragment that is too long, or too short and not the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audio fragment of {bytes} bytes; expected {least} to {most}")]
pub(super) struct FragmentSizeError {
    bytes: usize,
    least: usize,
    most: usize,
}

impl Listening {
    pub(super) const fn new(settings: Settings, seat: OwnedSemaphorePermit) -> Self {
        let audio = Audio {
            format: settings.format,
            bytes: Vec::new(),
        };
        Self {
            settings,
            audio,
            seat,
            interim: None,
            shown: Duration::ZERO,
            short: None,
            is_full: false,
        }
    }

    /// Hears a fragment.
    ///
    /// The official SDK cuts audio into equal pieces and sends what remains, however short: a short
    /// fragment is heard, and becomes an error when another one follows.
    pub(super) fn hear(
        &mut self,
        fragment: &[u8],
        rules: &Rules,
    ) -> Result<Heard, FragmentSizeError> {
        let sizes = self.settings.format.fragment_bytes();
        let refuse = |bytes| FragmentSizeError {
            bytes,
            least: *sizes.start(),
            most: *sizes.end(),
        };
        if let Some(short) = self.short {
            return Err(refuse(short));
        }
        if fragment.len() > *sizes.end() {
            return Err(refuse(fragment.len()));
        }
        if fragment.len() < *sizes.start() {
            self.short = Some(fragment.len());
        }
        Ok(self.keep(fragment, rules))
    }

    fn keep(&mut self, fragment: &[u8], rules: &Rules) -> Heard {
        if self.is_full {
            return Heard::Nothing;
        }
        let most = self.settings.format.bytes_in(rules.max_audio);
        let room = most.saturating_sub(self.audio.bytes.len());
        self.audio
            .bytes
            .extend_from_slice(&fragment[..fragment.len().min(room)]);
        self.is_full = fragment.len() > room;
        if self.is_full {
            Heard::UpToTheLimit
        } else {
            Heard::All
        }
    }
}
