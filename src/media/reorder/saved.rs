//! What waits in the sequence, to be saved.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Arrival, Fingerprint, Header, REMEMBERED, Reorder, Stored};
use crate::media::Samples;
use crate::media::sequence::SequenceNumber;
use crate::media::settings::Payload;
use crate::moment::Moment;

/// A [`Reorder`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedReorder {
    next: Option<SequenceNumber>,
    history: u128,
    fingerprints: Vec<Fingerprint>,
    held: Vec<(SequenceNumber, SavedPacket)>,
    hold_until: Option<Moment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPacket {
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
    payload: Option<Payload>,
    at: Moment,
    position: Samples,
    #[serde(with = "crate::octets")]
    bytes: Vec<u8>,
}

impl Reorder {
    pub(crate) fn save(&self, now: Instant) -> SavedReorder {
        let held = self.held.iter();
        SavedReorder {
            next: self.next,
            history: self.history,
            fingerprints: self.fingerprints.to_vec(),
            held: held
                .map(|(sequence, stored)| (*sequence, SavedPacket::new(stored, now)))
                .collect(),
            hold_until: self.hold_until.map(|until| Moment::new(until, now)),
        }
    }

    pub(crate) fn restore(saved: SavedReorder, wait: Duration, saved_at: Instant) -> Self {
        let held = saved.held.into_iter();
        let unknown = |_| [Fingerprint::default(); REMEMBERED];
        Self {
            wait,
            next: saved.next,
            history: saved.history,
            fingerprints: saved.fingerprints.try_into().unwrap_or_else(unknown),
            held: held
                .map(|(sequence, packet)| (sequence, packet.restore(saved_at)))
                .collect(),
            hold_until: saved.hold_until.map(|until| until.at(saved_at)),
            spare: Vec::new(),
        }
    }
}

impl SavedPacket {
    fn new(stored: &Stored, now: Instant) -> Self {
        let header = &stored.header;
        Self {
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: header.payload,
            at: Moment::new(header.arrival.at, now),
            position: header.arrival.position,
            bytes: stored.bytes.clone(),
        }
    }

    fn restore(self, saved_at: Instant) -> Stored {
        let arrival = Arrival {
            at: self.at.at(saved_at),
            position: self.position,
        };
        let header = Header {
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            marker: self.marker,
            payload: self.payload,
            arrival,
        };
        Stored {
            header,
            bytes: self.bytes,
        }
    }
}
