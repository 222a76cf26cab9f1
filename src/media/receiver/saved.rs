//! A receiving circuit, to be saved.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Counters, ExpectedSource, Heard, Receiver, RtcpPath, Settings, WallClock};
use crate::media::dtmf::{EventTypeGuess, Keypad, SavedKeypad};
use crate::media::health::{Health, SavedHealth};
use crate::media::probation::{Probation, StreamId};
use crate::media::stream::{SavedStream, Stream};
use crate::moment::Moment;

/// A [`Receiver`] between two processes. Streams on probation begin theirs anew.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedReceiver {
    heard: Option<SavedHeard>,
    event_type: EventTypeGuess,
    foreign_keypad: SavedKeypad,
    foreign_number: Option<u16>,
    counters: Counters,
    health: SavedHealth,
    undecodable: u32,
    wall_clock: Option<WallClock>,
    last_report: Option<(u64, Moment)>,
    rtcp_path: Option<RtcpPath>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedHeard {
    id: StreamId,
    stream: SavedStream,
    last_arrival: Moment,
    has_audio: bool,
    said_bye: bool,
}

impl Receiver {
    /// What another process needs to go on; its outputs must have been drained.
    pub fn save(&self, now: Instant) -> SavedReceiver {
        SavedReceiver {
            heard: self.heard.as_ref().map(|heard| heard.save(now)),
            event_type: self.event_type,
            foreign_keypad: self.foreign_keypad.save(now),
            foreign_number: self.foreign_number,
            counters: self.counters,
            health: self.health.save(now),
            undecodable: self.undecodable,
            wall_clock: self.wall_clock,
            last_report: self
                .last_report
                .map(|(ntp, at)| (ntp, Moment::new(at, now))),
            rtcp_path: self.rtcp_path,
        }
    }

    /// Goes on with what was saved at `saved_at`.
    pub fn restore(
        saved: SavedReceiver,
        settings: Arc<Settings>,
        expected: ExpectedSource,
        saved_at: Instant,
    ) -> Self {
        let heard = |heard: SavedHeard| Heard::restore(heard, Arc::clone(&settings), saved_at);
        Self {
            heard: saved.heard.map(heard),
            expected,
            probation: Probation::default(),
            event_type: saved.event_type,
            foreign_keypad: Keypad::restore(&saved.foreign_keypad, saved_at),
            foreign_number: saved.foreign_number,
            counters: saved.counters,
            health: Health::restore(saved.health, saved_at),
            undecodable: saved.undecodable,
            notices: VecDeque::new(),
            wall_clock: saved.wall_clock,
            last_report: saved.last_report.map(|(ntp, at)| (ntp, at.at(saved_at))),
            rtcp_path: saved.rtcp_path,
            settings,
        }
    }
}

impl Heard {
    fn save(&self, now: Instant) -> SavedHeard {
        SavedHeard {
            id: self.id,
            stream: self.stream.save(now),
            last_arrival: Moment::new(self.last_arrival, now),
            has_audio: self.has_audio,
            said_bye: self.said_bye,
        }
    }

    fn restore(saved: SavedHeard, settings: Arc<Settings>, saved_at: Instant) -> Self {
        Self {
            id: saved.id,
            stream: Stream::restore(saved.stream, settings, saved_at),
            last_arrival: saved.last_arrival.at(saved_at),
            has_audio: saved.has_audio,
            said_bye: saved.said_bye,
        }
    }
}
