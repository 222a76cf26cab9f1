//! What a part is called outside its call: enough to publish its text after a restart.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Role, RoleSource};
use crate::media::{Law, Samples};

/// A part as it is known from its onset on, whoever reads of it and whenever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartLabel {
    /// The call, to readers.
    pub call_id: Arc<str>,
    /// The leg's number in the call.
    pub channel: u8,
    /// The UDP port the leg was received on.
    pub port: u16,
    /// Whose voice it is, if known.
    pub role: Option<Role>,
    /// How the role is known.
    pub role_source: RoleSource,
    /// Ordinal of the utterance on its leg.
    pub utterance: u64,
    /// Ordinal of the part in its utterance.
    pub part: u32,
    /// The law of its audio.
    pub law: Law,
    /// Where it starts on the call clock, in samples.
    pub start: Samples,
    /// Audio before that, of the part before: heard again, and not said again.
    pub lead_in: Samples,
    /// When it opened, by the time of day.
    pub opened_at: Timestamp,
}

impl PartLabel {
    /// Where its audio starts on the call clock.
    pub fn audio_start(&self) -> Samples {
        self.start.saturating_sub(self.lead_in)
    }

    /// The utterance as the lines name it.
    pub fn utterance_id(&self) -> String {
        utterance_id(&self.call_id, self.channel, self.utterance)
    }
}

/// Names an utterance in the lines.
pub(super) fn utterance_id(call_id: &str, channel: u8, utterance: u64) -> String {
    format!("{call_id}/{channel}/{utterance}")
}
