//! Calls between two daemons: what a worker leaves behind, and what it makes of what it finds.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::Worker;
use crate::call::leg::UnsettledPart;
use crate::event::{Body, CallEnded, EndReason, Event};
use crate::io::checkpoint::{FoundCall, KeptAudio};

impl Worker {
    /// Saves what has changed, in its turn.
    pub(super) fn keep_state(&mut self, now: Instant) {
        if let Some((store, checkpoints)) = &mut self.checkpoints
            && let Some(state) = checkpoints.advance(&mut self.switchboard, now)
        {
            store.write(self.number, state);
        }
    }

    /// Leaves every call that is not over to the next daemon.
    pub(super) fn leave_state(mut self, now: Instant) {
        let audio = |key| {
            let audio = self.recognitions.audio(key)?;
            Some(KeptAudio {
                channel: key.channel,
                utterance: key.utterance,
                part: key.part,
                law: audio.law(),
                g711: audio.g711(),
            })
        };
        if let Some((store, checkpoints)) = &mut self.checkpoints
            && let Some(state) = checkpoints.hand_over(&mut self.switchboard, audio, now)
        {
            store.write(self.number, state);
        }
    }

    /// Goes on with the calls of the daemon before.
    pub(super) fn resume(&mut self, found: Vec<FoundCall>, now: Instant) {
        let calls = found.len();
        for call in found {
            self.resume_call(call, now);
        }
        self.perform(now);
        if calls > 0 {
            info!(calls, "the calls of the daemon before go on");
        }
    }

    fn resume_call(&mut self, found: FoundCall, now: Instant) {
        let Some(state) = found.state else {
            if found.is_started {
                self.publisher.publish(interrupted(found.id));
            }
            return;
        };
        let resumed = self.switchboard.resume(state, found.saved_at, now);
        if let Some(hindrance) = resumed.hindrance {
            warn!(call_id = %found.id, %hindrance, "a call of the daemon before is over");
        }
        for part in resumed.parts {
            match take_audio(&found.audio, &part) {
                Some((law, g711)) => self
                    .recognitions
                    .reopen(part.key, law, g711, part.is_closed),
                None => self.switchboard.handle_audio_lost(part.key, now),
            }
        }
    }
}

/// The audio that a part had when its call was saved.
fn take_audio(kept: &[KeptAudio], part: &UnsettledPart) -> Option<(crate::media::Law, Vec<u8>)> {
    let key = part.key;
    let name = |audio: &&KeptAudio| (audio.channel, audio.utterance, audio.part);
    let found = kept
        .iter()
        .find(|audio| name(audio) == (key.channel, key.utterance, key.part))?;
    let len = usize::try_from(part.len.0).ok()?;
    Some((found.law, found.g711.get(..len)?.to_vec()))
}

/// The last line of a call that an older or newer version of the program began: its sums are lost with its state.
fn interrupted(id: Arc<str>) -> Event {
    warn!(call_id = %id, "a call was begun by another version of the program, and is over");
    Event {
        at: jiff::Timestamp::now(),
        call_id: Some(id),
        body: Body::CallEnded(CallEnded {
            reason: EndReason::Interrupted,
            duration_ms: 0,
            coverage: Vec::new(),
        }),
    }
}
