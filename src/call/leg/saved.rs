//! A leg, to be saved.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Context, Heard, Leg, LegSpec};
use crate::call::feedback::Feedback;
use crate::call::health::{Health, SavedHealth};
use crate::call::label::PartLabel;
use crate::call::ledger::Ledger;
use crate::call::loss::LossRun;
use crate::call::part::{Closed, Outcome, Parts};
use crate::call::switchboard::{PortIndex, Settings};
use crate::call::{Outbox, PartKey};
use crate::event::{GapReason, Role, RoleSource};
use crate::media::receiver::{ExpectedSource, Receiver, SavedReceiver};
use crate::media::{Law, Samples};
use crate::moment::{Absence, Moment};
use crate::speech::utterance::{Depth, SavedSegmenter, Segmenter};

/// A [`Leg`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedLeg {
    port: u16,
    role: Option<Role>,
    role_source: RoleSource,
    law: Option<Law>,
    expected_source: ExpectedSource,
    receiver: SavedReceiver,
    segmenter: SavedSegmenter,
    parts: Parts,
    ledger: Ledger,
    loss: LossRun,
    health: SavedHealth,
    next_report: Option<Moment>,
    heard: Option<Heard>,
    /// Utterance and part.
    open_part: Option<(u64, u32)>,
    left_at: Option<Moment>,
    last_key_end: Samples,
}

/// A part of a restored leg that has no outcome: whoever restored the leg owes it one, and needs
/// the audio that the part had when it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsettledPart {
    /// The part, to this process.
    pub key: PartKey,
    /// How much audio had been put out.
    pub len: Samples,
    /// Whether that is all; otherwise [`crate::call::Output::Audio`] goes on from there.
    pub is_closed: bool,
    /// Its extent, if that is all.
    pub closed: Option<Closed>,
}

impl SavedLeg {
    /// The UDP port that it was received on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The leg as it was specified, on a port of this process.
    pub(in crate::call) const fn spec(&self, port: PortIndex) -> LegSpec {
        LegSpec {
            port,
            role: self.role,
            role_source: self.role_source,
            law: self.law,
            expected_source: self.expected_source,
        }
    }
}

impl Leg {
    /// What another process needs to go on.
    pub(in crate::call) fn save(&self, depth: Depth, now: Instant) -> SavedLeg {
        let moment = |at| Moment::new(at, now);
        SavedLeg {
            port: self.context.port,
            role: self.spec.role,
            role_source: self.spec.role_source,
            law: self.spec.law,
            expected_source: self.spec.expected_source,
            receiver: self.receiver.save(now),
            segmenter: self.segmenter.save(depth),
            parts: self.parts.clone(),
            ledger: self.ledger,
            loss: self.loss,
            health: self.health.save(now),
            next_report: self.feedback.poll_timeout().map(moment),
            heard: self.heard,
            open_part: self.open_part.map(|key| (key.utterance, key.part)),
            left_at: self.left_at.map(moment),
            last_key_end: self.last_key_end,
        }
    }

    /// Goes on with what was saved before an absence.
    pub(in crate::call) fn restore(
        saved: SavedLeg,
        context: Context,
        spec: LegSpec,
        settings: &Arc<Settings>,
        absence: Absence,
    ) -> Self {
        let saved_at = absence.since;
        let instant = |moment: Moment| moment.at(saved_at);
        let expected = spec.expected_source;
        let receiver = Arc::clone(&settings.receiver);
        let speech = Arc::clone(settings.speech.of(spec.role));
        let mut feedback = Feedback::new(&context.call_id, context.channel);
        feedback.resume(saved.next_report.map(instant));
        let key = |(utterance, part)| context.part_key(utterance, part);
        let receiver = Receiver::restore(saved.receiver, receiver, expected, saved_at);
        Self {
            told_undecodable: receiver.statistics().counters.unknown_payload_type,
            receiver,
            segmenter: Segmenter::restore(saved.segmenter, speech, settings.detector.detector()),
            open_part: saved.open_part.map(key),
            context,
            spec,
            settings: Arc::clone(settings),
            parts: saved.parts,
            ledger: saved.ledger,
            loss: saved.loss,
            health: Health::restore(saved.health, absence),
            feedback,
            heard: saved.heard,
            left_at: saved.left_at.map(instant),
            last_key_end: saved.last_key_end,
        }
    }

    /// The parts that have no outcome, oldest first.
    pub(in crate::call) fn unsettled_parts(&self) -> impl Iterator<Item = UnsettledPart> {
        self.parts.undecided().map(|part| {
            let open_end = || self.segmenter.put_out().unwrap_or(part.start);
            let end = part.closed.map_or_else(open_end, |closed| closed.end);
            UnsettledPart {
                key: self.context.part_key(part.utterance, part.part),
                len: end.saturating_sub(part.audio_start()),
                is_closed: part.closed.is_some(),
                closed: part.closed,
            }
        })
    }

    /// What a part without an outcome is called outside its call.
    pub(in crate::call) fn part_label(
        &self,
        (utterance, part): (u64, u32),
        opened_at: jiff::Timestamp,
    ) -> Option<PartLabel> {
        let mut undecided = self.parts.undecided();
        let found = undecided.find(|p| (p.utterance, p.part) == (utterance, part))?;
        Some(self.label((utterance, part), found.start, found.lead_in, opened_at))
    }

    /// The audio of a part is gone: what there was of it is a gap. Speech that goes on is another
    /// utterance.
    pub(in crate::call) fn handle_audio_lost(
        &mut self,
        key: PartKey,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let reason = GapReason::Shutdown;
        let detail = "the daemon was restarted, and the audio was not in the spool".to_owned();
        let outcome = Outcome::Unrecognised { reason, detail };
        self.parts.settle(key.utterance, key.part, outcome);
        if self.open_part == Some(key) {
            self.segmenter.handle_end();
            self.drain(outbox, now);
        }
        self.publish_settled(outbox, now);
    }
}
