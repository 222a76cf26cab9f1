//! A call, to be saved.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Call, CallSpec, Phase};
use crate::call::leg::{Context, Leg, SavedLeg, UnsettledPart};
use crate::call::switchboard::{PortIndex, Settings};
use crate::call::{CallKey, Outbox, PartKey};
use crate::event::{Direction, Metadata};
use crate::media::CallClock;
use crate::moment::{Absence, Moment};
use crate::speech::utterance::Depth;

/// A [`Call`] between two processes: everything that its lines and its ledger are made of.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedCall {
    id: Arc<str>,
    from: Option<String>,
    to: Option<String>,
    direction: Option<Direction>,
    /// As JSON: what registrations say has any shape.
    metadata: String,
    idle_timeout: Duration,
    is_registered: bool,
    legs: Vec<SavedLeg>,
    origin: Option<Moment>,
    expected_since: Moment,
    silent_since: Moment,
    phase: Phase,
    next_check: Moment,
}

/// Why bytes are no call.
#[derive(Debug, thiserror::Error)]
pub enum SavedCallError {
    /// They were written by another version of the program, or damaged.
    #[error("not a call as this version saves it: {0}")]
    Unreadable(#[from] postcard::Error),
    /// There is more than a call.
    #[error("more than a call as this version saves it")]
    TooLong,
}

impl SavedCall {
    /// The call in bytes, in place of what is in `buffer`. Another version of the program may not be able to read them.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn to_bytes(&self, mut buffer: Vec<u8>) -> Result<Vec<u8>, SavedCallError> {
        buffer.clear();
        Ok(postcard::to_extend(self, buffer)?)
    }

    /// The call again.
    ///
    /// # Errors
    /// When the bytes are damaged, or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedCallError> {
        match postcard::take_from_bytes(bytes)? {
            (call, []) => Ok(call),
            (_, _) => Err(SavedCallError::TooLong),
        }
    }

    /// Names the call to readers.
    pub const fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The UDP ports of its legs.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.legs.iter().map(SavedLeg::port)
    }

    /// Whether it goes on; otherwise only its last words are waited for.
    pub const fn is_heard(&self) -> bool {
        matches!(self.phase, Phase::Expected | Phase::Active)
    }

    fn spec(&self, ports: &[PortIndex]) -> CallSpec {
        let legs = self.legs.iter().zip(ports);
        CallSpec {
            id: Arc::clone(&self.id),
            legs: legs.map(|(leg, &port)| leg.spec(port)).collect(),
            from: self.from.clone(),
            to: self.to.clone(),
            direction: self.direction,
            metadata: serde_json::from_str(&self.metadata).unwrap_or_else(|_| Metadata::new()),
            idle_timeout: self.idle_timeout,
            is_registered: self.is_registered,
        }
    }
}

impl Call {
    /// What another process needs to go on with the call.
    pub fn save(&self, depth: Depth, now: Instant) -> SavedCall {
        let spec = &self.spec;
        SavedCall {
            id: Arc::clone(&spec.id),
            from: spec.from.clone(),
            to: spec.to.clone(),
            direction: spec.direction,
            metadata: serde_json::Value::Object(spec.metadata.clone()).to_string(),
            idle_timeout: spec.idle_timeout,
            is_registered: spec.is_registered,
            legs: self.legs.iter().map(|leg| leg.save(depth, now)).collect(),
            origin: self.clock.origin().map(|origin| Moment::new(origin, now)),
            expected_since: Moment::new(self.expected_since, now),
            silent_since: Moment::new(self.silent_since(), now),
            phase: self.phase,
            next_check: Moment::new(self.next_check, now),
        }
    }

    /// Goes on with what was saved before an absence, on these ports, one a leg.
    pub fn restore(
        key: CallKey,
        saved: SavedCall,
        ports: &[PortIndex],
        settings: &Arc<Settings>,
        absence: Absence,
    ) -> Self {
        let saved_at = absence.since;
        let spec = saved.spec(ports);
        let leg = |(channel, (leg, saved)): (u8, (&_, SavedLeg))| {
            let context = Context {
                call: key,
                call_id: Arc::clone(&spec.id),
                channel,
                port: saved.port(),
            };
            Leg::restore(saved, context, Clone::clone(leg), settings, absence)
        };
        let legs = (0_u8..).zip(spec.legs.iter().zip(saved.legs)).map(leg);
        Self {
            key,
            legs: legs.collect(),
            clock: CallClock::started_at(saved.origin.map(|origin| origin.at(saved_at))),
            expected_since: saved.expected_since.at(saved_at),
            silent_since: absence.silent_since(saved.silent_since),
            phase: saved.phase,
            next_check: saved.next_check.at(saved_at),
            spec,
        }
    }

    /// The parts that have no outcome.
    pub fn unsettled_parts(&self) -> impl Iterator<Item = UnsettledPart> {
        self.legs.iter().flat_map(Leg::unsettled_parts)
    }

    /// The audio of a part is gone.
    pub(in crate::call) fn handle_audio_lost(
        &mut self,
        key: PartKey,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        if let Some(leg) = self.legs.get_mut(usize::from(key.channel)) {
            leg.handle_audio_lost(key, outbox, now);
        }
        self.finish_if_settled(outbox, now);
    }
}
