//! What a call looks like at one moment, for whoever asks.

use std::sync::Arc;
use std::time::Instant;

use serde::{Serialize, Serializer};

use crate::call::conversation::{Call, Phase};
use crate::call::leg::Leg;
use crate::event::{Channel, Direction, HealthState, Metadata};
use crate::media::receiver::{ExpectedSource, Statistics};

/// A call at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSnapshot {
    /// The call as a whole.
    pub call: CallFacts,
    /// Its legs, in the order of their channel numbers.
    pub legs: Vec<LegSnapshot>,
}

/// What is true of a call as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallFacts {
    /// Names the call to readers.
    pub id: Arc<str>,
    /// Where it is in its life.
    pub state: CallState,
    /// Whether the control API announced it.
    pub registered: bool,
    /// What the call clock reads, in milliseconds; 0 before the first packet.
    pub duration_ms: u64,
    /// Calling party, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Called party, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who called whom, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What the registration said, passed on untouched.
    pub metadata: Metadata,
}

/// A leg at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LegSnapshot {
    /// The leg as the lines describe it.
    #[serde(flatten)]
    pub channel: Channel,
    /// Who may send it, where that is restricted.
    #[serde(serialize_with = "as_text", skip_serializing_if = "is_unrestricted")]
    pub expected_source: ExpectedSource,
    /// How long ago the last packet was accepted, in milliseconds; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_packet_ms: Option<u64>,
    /// What `channel_health` said last; absent while it has said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthState>,
    /// Its packets, counted.
    pub statistics: Statistics,
}

/// Where a call is in its life, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nothing has been heard yet.
    Expected,
    /// It goes on.
    Active,
    /// Its last words are being recognised.
    Ending,
}

impl Call {
    /// What the call looks like at `now`.
    pub fn snapshot(&self, now: Instant) -> CallSnapshot {
        let spec = self.spec();
        let call = CallFacts {
            id: Arc::clone(&spec.id),
            state: match self.phase() {
                Phase::Expected => CallState::Expected,
                Phase::Active => CallState::Active,
                Phase::Ending(_) | Phase::Ended => CallState::Ending,
            },
            registered: spec.is_registered,
            duration_ms: self.clock().position(now).as_ms(),
            from: spec.from.clone(),
            to: spec.to.clone(),
            direction: spec.direction,
            metadata: spec.metadata.clone(),
        };
        let legs = self.legs().iter().map(|leg| leg.snapshot(now)).collect();
        CallSnapshot { call, legs }
    }
}

impl Leg {
    fn snapshot(&self, now: Instant) -> LegSnapshot {
        let since = |at| now.saturating_duration_since(at).as_millis();
        LegSnapshot {
            channel: self.describe(),
            expected_source: self.spec().expected_source,
            last_packet_ms: self
                .last_heard()
                .map(|at| u64::try_from(since(at)).unwrap_or(u64::MAX)),
            health: self.health(),
            statistics: self.receiver().statistics(),
        }
    }
}

fn is_unrestricted(source: &ExpectedSource) -> bool {
    *source == ExpectedSource::Any
}

/// An address, with a port where it has one; what is unrestricted is not written at all.
fn as_text<S: Serializer>(source: &ExpectedSource, to: S) -> Result<S::Ok, S::Error> {
    match source {
        ExpectedSource::Any => to.serialize_none(),
        ExpectedSource::Host(host) => to.collect_str(host),
        ExpectedSource::Address(address) => to.collect_str(address),
    }
}
