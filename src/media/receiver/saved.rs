//! A receiving circuit, to be saved.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::foreign_keys::{ForeignKeys, SavedForeignKeys};
use super::{Counters, ExpectedSource, Heard, Receiver, RtcpPath, Settings, WallClock};
use crate::media::dtmf::EventTypeGuess;
use crate::media::health::{Health, SavedHealth};
use crate::media::probation::{Probation, StreamId};
use crate::media::stream::{SavedStream, Stream};
use crate::moment::Moment;

/// A [`Receiver`] between two processes. Streams on probation begin theirs anew; what was kept of them,
/// and what was undecided, is counted as if the leg had ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedReceiver {
    heard: Option<SavedHeard>,
    event_type: EventTypeGuess,
    foreign_keys: SavedForeignKeys,
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
            foreign_keys: self.foreign_keys.save(now),
            counters: self.counters_at_end(),
            health: self.health.save(now),
            undecodable: self.undecodable,
            wall_clock: self.wall_clock,
            last_report: self
                .last_report
                .map(|(ntp, at)| (ntp, Moment::new(at, now))),
            rtcp_path: self.rtcp_path,
        }
    }

    /// What became of each datagram if nothing more comes.
    fn counters_at_end(&self) -> Counters {
        let mut counters = self.counters;
        let heard = self.heard.as_ref();
        if let Some(heard) = heard {
            counters.count_decided(heard.stream.undecided());
        }
        let heard = heard.map(|heard| heard.id);
        for candidate in self.probation.iter() {
            counters.refuse(candidate.refused(), heard);
        }
        counters
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
            foreign_keys: ForeignKeys::restore(&saved.foreign_keys, saved_at),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::CallClock;

    #[test]
    fn packets_that_were_kept_are_counted_when_the_leg_is_saved() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
        let mut now = Instant::now();
        let settings = Arc::new(Settings::default());
        let mut receiver = Receiver::new(Arc::clone(&settings), ExpectedSource::Any);
        let mut clock = CallClock::default();
        let mut take = |port: u16, number: u8| {
            now += Duration::from_millis(20);
            let [high, low] = (u16::from(number) * 160).to_be_bytes();
            let mut packet = vec![0x80, 0, 0, number, 0, 0, high, low, 0, 0, 0, 1];
            packet.extend([number; 160]);
            let source = ([127, 0, 0, 1], port).into();
            receiver.handle_datagram(source, &packet, &mut clock, now);
        };
        (0..40).for_each(|number| take(4_000, number));
        // Copies, or a sender that began anew; and a stranger, or a successor.
        (10..15).for_each(|number| take(4_000, number));
        (0..3).for_each(|number| take(5_000, number));
        let saved = receiver.save(now);
        let received = receiver.statistics().received;
        let restored = Receiver::restore(saved, settings, ExpectedSource::Any, now).statistics();
        let counters = restored.counters;
        let ends = [
            counters.played,
            counters.duplicate,
            counters.source_rejected,
        ];
        assert_eq!(ends, [40, 5, 3]);
        assert_eq!((restored.received, restored.never_seen), (received + 5, 0));
    }
}
