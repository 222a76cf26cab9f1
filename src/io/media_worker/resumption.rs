//! Calls between two daemons: what a worker leaves behind, and what it makes of what it finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::Worker;
use crate::call::leg::UnsettledPart;
use crate::call::part::Outcome;
use crate::event::{Body, CallEnded, EndReason, Event, GapReason};
use crate::call::label::PartLabel;
use crate::io::checkpoint::{self, FoundCall, KeptAudio};
use crate::io::spool::SpooledPart;
use crate::io::tape::Taped;
use crate::io::told::Told;

/// What readers know of the calls whose last moments are heard again.
pub(super) struct Again(BTreeMap<Arc<str>, Told>);

impl Worker {
    /// Saves what has changed, in its turn.
    pub(super) fn keep_state(&mut self, now: Instant) {
        if let Some((store, checkpoints)) = &mut self.checkpoints
            && let Some(state) = checkpoints.advance(&mut self.switchboard, now)
        {
            self.spooling.checkpoint(store, state);
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
        let state = self.checkpoints.as_mut().and_then(|(store, checkpoints)| {
            let state = checkpoints.hand_over(&mut self.switchboard, audio, now)?;
            Some((&*store, state))
        });
        self.spooling.leave(state);
    }

    /// Goes on with the calls of the daemon before.
    pub(super) fn resume(&mut self, found: Vec<FoundCall>, now: Instant) {
        let calls = found.len();
        let mut taped = Vec::new();
        let mut told = BTreeMap::new();
        for mut call in found {
            taped.append(&mut call.taped);
            told.insert(Arc::clone(&call.id), call.told.clone());
            self.resume_call(call, now);
        }
        self.perform(now);
        self.again = Some(Again(told));
        self.hear_again(taped, now);
        self.again = None;
        if calls > 0 {
            info!(calls, "the calls of the daemon before go on");
        }
    }

    /// What the daemon before had read and not yet kept in a checkpoint has the effect again that it had then.
    fn hear_again(&mut self, mut taped: Vec<Taped>, now: Instant) {
        if taped.is_empty() {
            return;
        }
        let datagrams = taped.len();
        taped.sort_by_key(|taped| taped.at);
        let today = checkpoint::monotonic();
        for tick in taped.chunk_by(|one, next| one.at == next.at) {
            let ago = today.saturating_sub(tick[0].at);
            let then = now.checked_sub(ago).unwrap_or(now);
            for one in tick {
                let port = self.sockets.iter().find(|port| port.number == one.port);
                if let Some(port) = port {
                    self.switchboard
                        .handle_datagram(port.index, one.source, &one.bytes, then);
                }
            }
            self.switchboard.handle_timeout(then);
            self.perform(then);
        }
        info!(
            datagrams,
            "what the daemon before had read is heard again"
        );
    }

    /// Whether the daemon before has said this.
    pub(super) fn is_known(&self, event: &Event) -> bool {
        let call = event.call_id.as_ref();
        let told = call.and_then(|call| self.again.as_ref()?.0.get(call));
        told.is_some_and(|told| told.has(event))
    }

    /// Whether the daemon before has said what became of this part, and then whether it was a text.
    pub(super) fn was_told(&self, label: &PartLabel) -> Option<bool> {
        self.again.as_ref()?.0.get(&label.call_id)?.of_part(label)
    }

    fn resume_call(&mut self, mut found: FoundCall, now: Instant) {
        if found.told.has_ended {
            return self.forget(&found.spooled);
        }
        let Some(state) = found.state.take() else {
            let lost = found.spooled.iter().filter(|part| !found.knows(part));
            lost.for_each(|part| self.publisher.publish(lost_with_its_call(part)));
            if found.is_started {
                self.publisher.publish(interrupted(Arc::clone(&found.id)));
            }
            return self.forget(&found.spooled);
        };
        let resumed = self.switchboard.resume(state, found.saved_at, now);
        if let Some(hindrance) = resumed.hindrance {
            warn!(call_id = %found.id, %hindrance, "a call of the daemon before is over");
        }
        for part in resumed.parts {
            self.resume_part(&mut found, part, now);
        }
        self.forget(&found.spooled);
    }

    /// A part goes on where its line is not out, and its audio is there.
    fn resume_part(&mut self, found: &mut FoundCall, part: UnsettledPart, now: Instant) {
        let key = part.key;
        let Some(label) = self.switchboard.label(key, now) else {
            return;
        };
        if let Some(is_text) = found.told.of_part(&label) {
            let told = Outcome::Told { is_text };
            return self.switchboard.handle_outcome(key, told, now);
        }
        let is_it = |spooled: &mut SpooledPart| {
            let other = &spooled.label;
            (other.channel, other.utterance, other.part) == (key.channel, key.utterance, key.part)
        };
        let spooled = found
            .spooled
            .extract_if(.., is_it)
            .max_by_key(SpooledPart::len);
        let ordinal = spooled.as_ref().map(|spooled| spooled.ordinal);
        let in_memory = take_audio(&found.audio, &part);
        let audio = in_memory.or_else(|| spooled.as_ref()?.audio_of(part.len));
        if let Some(audio) = audio {
            let span = self.part_span(key);
            let audio = self.recognitions.reopen(key, audio, part.is_closed, span);
            return self
                .spooling
                .reopen((key, Box::new(label)), audio, part.closed, ordinal);
        }
        match (spooled, part.closed) {
            (Some(spooled), Some(closed)) if spooled.in_progress.is_none() => {
                self.switchboard.handle_postponed(key, now);
                self.spooling.adopt(key, spooled.ordinal, closed);
            }
            _ => {
                ordinal
                    .into_iter()
                    .for_each(|lost| self.spooling.release(lost));
                self.switchboard.handle_audio_lost(key, now);
            }
        }
    }

    /// What the state of the call does not know of has been said, or was heard after it.
    fn forget(&self, spooled: &[SpooledPart]) {
        let ordinals = spooled.iter().map(|part| part.ordinal);
        ordinals.for_each(|ordinal| self.spooling.release(ordinal));
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

impl FoundCall {
    /// Whether readers know what became of a part.
    fn knows(&self, part: &SpooledPart) -> bool {
        self.told.of_part(&part.label).is_some()
    }
}

/// A part of a call of which nothing else is known any more.
fn lost_with_its_call(part: &SpooledPart) -> Event {
    Event {
        at: jiff::Timestamp::now(),
        call_id: Some(Arc::clone(&part.label.call_id)),
        body: Body::Gap {
            channel: part.label.channel,
            start_ms: part.label.start.as_ms(),
            end_ms: part.closed.end.as_ms(),
            reason: GapReason::Shutdown,
            recovered: false,
            detail: Some(
                "the daemon was interrupted, and nothing else is known of the call".into(),
            ),
        },
    }
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
