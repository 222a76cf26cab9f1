//! Calls between two daemons: what a worker leaves behind, and what it makes of what it finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Worker;
use crate::call::label::PartLabel;
use crate::call::leg::UnsettledPart;
use crate::call::part::Outcome;
use crate::call::switchboard::PortIndex;
use crate::event::{Body, CallEnded, EndReason, Event, GapReason};
use crate::io::checkpoint::{FoundCall, KeptAudio};
use crate::io::clock;
use crate::io::spool::SpooledPart;
use crate::io::tape::Taped;
use crate::io::told::Told;

/// The calls whose last moments are heard again.
pub(super) struct Again(BTreeMap<Arc<str>, Before>);

/// A call as it was before.
struct Before {
    /// When its state was saved, on the monotonic clock; `None` if the machine was started since.
    saved_at: Option<Duration>,
    /// What readers know of it.
    told: Told,
}

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

    /// Goes on with the calls of the daemon before, and with what that had read when their states were saved.
    pub(super) fn resume(&mut self, found: Vec<FoundCall>, taped: &[Taped], now: Instant) {
        let calls = found.len();
        let mut again = BTreeMap::new();
        for call in found {
            let before = Before {
                saved_at: call.saved_at_tick,
                told: call.told.clone(),
            };
            again.insert(Arc::clone(&call.id), before);
            self.resume_call(call, now);
        }
        self.perform(now);
        if calls > 0 {
            self.again = Some(Again(again));
            let datagrams = self.hear_again(taped, now);
            self.again = None;
            info!(calls, datagrams, "the calls of the daemon before go on");
        }
    }

    /// What is younger than the state of its call has the effect again that it had then; gives its number.
    fn hear_again(&mut self, taped: &[Taped], now: Instant) -> usize {
        let today = clock::monotonic();
        let mut heard = 0;
        for tick in taped.chunk_by(|one, next| one.at == next.at) {
            let ago = today.saturating_sub(tick[0].at);
            let then = now.checked_sub(ago).unwrap_or(now);
            let heard_before = heard;
            for one in tick {
                if let Some(port) = self.intake.index_of(one.port)
                    && self.is_news(port, one)
                {
                    let came = then.checked_sub(one.age).unwrap_or(then);
                    let Taped { source, bytes, .. } = one;
                    self.switchboard.handle_datagram(port, *source, bytes, came);
                    heard += 1;
                }
            }
            if heard > heard_before {
                self.switchboard.handle_timeout(then);
                self.perform(then);
            }
        }
        heard
    }

    /// Whether a call goes on that does not know this datagram.
    fn is_news(&self, port: PortIndex, taped: &Taped) -> bool {
        let call = self.switchboard.call_on(port);
        let before = call.and_then(|call| self.again.as_ref()?.0.get(&call.spec().id));
        before.is_some_and(|before| before.saved_at.is_some_and(|saved| taped.at > saved))
    }

    /// Whether the daemon before has said this.
    pub(super) fn is_known(&self, event: &Event) -> bool {
        let call = event.call_id.as_ref();
        let before = call.and_then(|call| self.again.as_ref()?.0.get(call));
        before.is_some_and(|before| before.told.has(event))
    }

    /// Whether the daemon before has said what became of this part, and then whether it was a text.
    pub(super) fn was_told(&self, label: &PartLabel) -> Option<bool> {
        let before = self.again.as_ref()?.0.get(&label.call_id)?;
        before.told.of_part(label)
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
