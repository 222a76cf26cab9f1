//! What a call looks like at one moment, for whoever asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::call::conversation::{Call, Phase};
use crate::call::leg::Leg;
use crate::call::session::SessionSnapshot;
use crate::event::{Channel, Coverage, Direction, HealthState, Metadata, rfc3339};
use crate::media::receiver::{ExpectedSource, Statistics, WallClock};

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
    /// The evidence that `channel_health` gave with it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub health_detail: Box<str>,
    /// The sender's own clock, by its last sender report; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_clock: Option<SenderClock>,
    /// How loud it is, in dBFS, on a meter that falls back slowly; absent while no packet comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_dbfs: Option<i8>,
    /// Whether somebody speaks.
    pub speech: bool,
    /// Utterances begun.
    pub utterances: u64,
    /// Parts that wait for their text, the one that is being spoken included.
    pub parts_waiting: u64,
    /// Those of them that wait on disk for the recogniser.
    #[serde(skip_serializing_if = "is_none")]
    pub parts_spooled: u64,
    /// How its speech fares with the recogniser; absent before the first word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSnapshot>,
    /// The account so far; absent before the first packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Its packets, counted.
    pub statistics: Statistics,
}

/// What the sender's own clock read at a moment of the call (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SenderClock {
    /// What it read.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: jiff::Timestamp,
    /// The same moment on the call clock, in milliseconds.
    pub position_ms: u64,
}

impl SenderClock {
    /// `None` if the sender counts from another moment than 1900, as RFC 3550 §4 permits.
    fn of(clock: WallClock) -> Option<Self> {
        let seconds = (clock.ntp >> 32).checked_sub(UNIX_EPOCH_IN_NTP)?;
        let fraction = ((clock.ntp & u64::from(u32::MAX)) * 1_000_000_000) >> 32;
        let nanoseconds = i32::try_from(fraction).ok()?;
        let at = jiff::Timestamp::new(i64::try_from(seconds).ok()?, nanoseconds).ok()?;
        Some(Self {
            at,
            position_ms: clock.position.as_ms(),
        })
    }
}

/// Where a call is in its life, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nothing has been heard yet.
    Expected,
    /// It goes on.
    Active,
    /// Its last words are being recognised.
    Ending,
    /// It is over, and parts of it wait on disk for the recogniser.
    Waiting,
}

impl Call {
    /// What the call looks like at `now`, but for its sessions: those are known to whoever opens them.
    pub fn snapshot(&self, now: Instant) -> CallSnapshot {
        let spec = self.spec();
        let call = CallFacts {
            id: Arc::clone(&spec.id),
            state: CallState::of(self),
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
        let since = |at| now.saturating_duration_since(at);
        let silent_for = self.last_heard().map(since);
        LegSnapshot {
            channel: self.describe(),
            expected_source: self.spec().expected_source,
            last_packet_ms: silent_for
                .map(|gone| u64::try_from(gone.as_millis()).unwrap_or(u64::MAX)),
            health: self.health(),
            health_detail: self.health_detail().into(),
            sender_clock: self.receiver().wall_clock().and_then(SenderClock::of),
            level_dbfs: silent_for
                .filter(|gone| *gone < METER_HOLD)
                .map(|_| whole_db(self.level_dbfs())),
            speech: self.is_speech(),
            utterances: self.utterances(),
            parts_waiting: self.parts_waiting(),
            parts_spooled: 0,
            session: (self.utterances() > 0).then_some(SessionSnapshot::ENDED),
            coverage: self.coverage(),
            statistics: self.receiver().statistics(),
        }
    }
}

impl CallState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Expected, Self::Active, Self::Ending, Self::Waiting];

    /// The value in a word, as the lines write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Waiting => "waiting",
        }
    }

    /// The state of a call.
    pub fn of(call: &Call) -> Self {
        match call.phase() {
            Phase::Expected => Self::Expected,
            Phase::Active => Self::Active,
            Phase::Ending(_) if call.is_waiting() => Self::Waiting,
            Phase::Ending(_) | Phase::Ended => Self::Ending,
        }
    }
}

/// Seconds from 1900, where NTP begins, to 1970 (RFC 5905 §6).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// Without a packet for so long, there is no level to show.
const METER_HOLD: Duration = Duration::from_secs(2);

#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, and no level is beyond an i8"
)]
fn whole_db(level: f32) -> i8 {
    level.round() as i8
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

fn as_rfc3339<S: Serializer>(at: &jiff::Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*at))
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
