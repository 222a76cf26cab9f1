//! Probation: streams that are not heard, or not yet, with their last packets kept in case they
//! come to be.
//!
//! A stream proves itself by two packets in sequence (RFC 3550 §A.1); a stray packet never does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::media::Ssrc;
use crate::media::reorder::{Header, Stored};

/// Who sends, and which of his streams it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StreamId {
    pub(crate) source: SocketAddr,
    pub(crate) ssrc: Ssrc,
}

/// A stream on probation.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) id: StreamId,
    /// When its first packet came, be it still kept or not.
    pub(crate) began: Instant,
    /// In order of arrival; at most [`MAX_KEPT`].
    pub(crate) packets: VecDeque<Stored>,
}

/// The streams on probation of one port, at most [`MAX_CANDIDATES`].
#[derive(Debug, Default)]
pub(crate) struct Probation {
    candidates: Vec<Candidate>,
    spare: Vec<Vec<u8>>,
}

/// A packet that is given up for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) id: StreamId,
    pub(crate) packets: u64,
}

impl Candidate {
    /// Whether it is a stream and no stray packet.
    pub(crate) fn is_proven(&self) -> bool {
        let number = |header: &Header| header.sequence_number;
        self.oldest().map(number) != self.newest().map(number)
    }

    /// The newest packet.
    pub(crate) fn newest(&self) -> Option<&Header> {
        self.packets.back().map(|stored| &stored.header)
    }

    /// The oldest packet that is kept.
    pub(crate) fn oldest(&self) -> Option<&Header> {
        self.packets.front().map(|stored| &stored.header)
    }

    /// Whether the packet goes on where the newest one left off, or is a copy of it.
    fn is_continued_by(&self, header: &Header) -> bool {
        self.newest().is_some_and(|newest| {
            let distance = header.sequence_number.wrapping_sub(newest.sequence_number);
            (-MAX_STEP..=MAX_STEP).contains(&distance.cast_signed())
        })
    }
}

impl Probation {
    /// Keeps a packet and says what had to go for it.
    pub(crate) fn offer(&mut self, id: StreamId, header: Header, bytes: &[u8]) -> Refused {
        let mut own = self.spare.pop().unwrap_or_default();
        own.extend_from_slice(bytes);
        let stored = Stored { header, bytes: own };
        let Some(place) = self
            .candidates
            .iter()
            .position(|candidate| candidate.id == id)
        else {
            let refused = self.make_room(id);
            self.candidates.push(Candidate {
                id,
                began: header.arrival.at,
                packets: VecDeque::from([stored]),
            });
            return refused;
        };
        let candidate = &mut self.candidates[place];
        let gone = if !candidate.is_continued_by(&header) {
            candidate.packets.len()
        } else {
            usize::from(candidate.packets.len() >= MAX_KEPT)
        };
        let packets = recycle(&mut self.spare, candidate.packets.drain(..gone));
        candidate.packets.push_back(stored);
        Refused { id, packets }
    }

    /// Gives up packets older than `age`: the heard stream is alive, so they are not its
    /// successors.
    pub(crate) fn refuse_older(
        &mut self,
        age: Duration,
        now: Instant,
        mut count: impl FnMut(Refused),
    ) {
        for candidate in &mut self.candidates {
            let is_old =
                |stored: &Stored| now.saturating_duration_since(stored.header.arrival.at) > age;
            let gone = candidate
                .packets
                .iter()
                .take_while(|stored| is_old(stored))
                .count();
            let packets = recycle(&mut self.spare, candidate.packets.drain(..gone));
            count(Refused {
                id: candidate.id,
                packets,
            });
        }
    }

    /// Gives up the packets of one stream.
    pub(crate) fn refuse(&mut self, id: StreamId, mut count: impl FnMut(Refused)) {
        if let Some(mut candidate) = self.take(id) {
            let packets = recycle(&mut self.spare, candidate.packets.drain(..));
            count(Refused { id, packets });
        }
    }

    /// Gives up every packet.
    pub(crate) fn refuse_all(&mut self, mut count: impl FnMut(Refused)) {
        for candidate in self.candidates.drain(..) {
            let packets = u64::try_from(candidate.packets.len()).unwrap_or(u64::MAX);
            count(Refused {
                id: candidate.id,
                packets,
            });
        }
    }

    /// Takes a candidate out, to be heard.
    pub(crate) fn take(&mut self, id: StreamId) -> Option<Candidate> {
        let place = self
            .candidates
            .iter()
            .position(|candidate| candidate.id == id)?;
        Some(self.candidates.swap_remove(place))
    }

    /// The candidate of that name.
    pub(crate) fn get(&self, id: StreamId) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.id == id)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter()
    }

    /// Whether no packet is kept, as with every well-behaved sender.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates
            .iter()
            .all(|candidate| candidate.packets.is_empty())
    }

    /// Drops the candidate that was silent longest, if there are too many.
    fn make_room(&mut self, newcomer: StreamId) -> Refused {
        let newest = |candidate: &Candidate| candidate.newest().map(|header| header.arrival.at);
        let oldest = (0..self.candidates.len()).min_by_key(|&n| newest(&self.candidates[n]));
        match oldest {
            Some(place) if self.candidates.len() >= MAX_CANDIDATES => {
                let mut gone = self.candidates.swap_remove(place);
                let packets = recycle(&mut self.spare, gone.packets.drain(..));
                Refused {
                    id: gone.id,
                    packets,
                }
            }
            _ => Refused {
                id: newcomer,
                packets: 0,
            },
        }
    }
}

fn recycle(spare: &mut Vec<Vec<u8>>, packets: impl Iterator<Item = Stored>) -> u64 {
    let mut count = 0;
    for Stored { mut bytes, .. } in packets {
        count += 1;
        if spare.len() < MAX_SPARE {
            bytes.clear();
            spare.push(bytes);
        }
    }
    count
}

/// Streams that are watched beside the heard one.
const MAX_CANDIDATES: usize = 4;

/// Packets kept of a candidate: 1.9 s of 10 ms packets, more than any wait before it is heard.
const MAX_KEPT: usize = 192;

/// Farthest step between two packets that prove a stream.
const MAX_STEP: i16 = 50;

const MAX_SPARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Samples;
    use crate::media::reorder::Arrival;

    #[test]
    fn two_packets_in_sequence_prove_a_stream_and_a_copy_does_not() {
        let mut probation = Probation::default();
        probation.offer(id(1), header(7, 0), &[]);
        probation.offer(id(1), header(7, 1), &[]);
        assert!(!probation.get(id(1)).unwrap().is_proven());
        probation.offer(id(1), header(8, 2), &[]);
        assert!(probation.get(id(1)).unwrap().is_proven());
    }

    #[test]
    fn stray_packet_is_refused_when_the_stream_jumps_away_from_it() {
        let mut probation = Probation::default();
        probation.offer(id(1), header(7, 0), &[]);
        assert_eq!(probation.offer(id(1), header(30_000, 1), &[]).packets, 1);
    }

    #[test]
    fn fifth_stream_displaces_the_one_silent_longest() {
        let mut probation = Probation::default();
        for n in 0..4 {
            probation.offer(id(n), header(0, u64::from(n)), &[]);
        }
        let refused = probation.offer(id(9), header(0, 9), &[]);
        assert_eq!(
            refused,
            Refused {
                id: id(0),
                packets: 1
            }
        );
        assert_eq!(probation.iter().count(), 4);
    }

    #[test]
    fn store_is_bounded() {
        let mut probation = Probation::default();
        let refused: u64 = (0..1_000u16)
            .map(|n| probation.offer(id(1), header(n, u64::from(n)), &[]).packets)
            .sum();
        assert_eq!(refused, 1_000 - 192);
    }

    fn id(ssrc: u32) -> StreamId {
        StreamId {
            source: ([127, 0, 0, 1], 4_000).into(),
            ssrc: Ssrc(ssrc),
        }
    }

    fn header(sequence_number: u16, ms: u64) -> Header {
        Header {
            sequence_number,
            timestamp: 0,
            marker: false,
            payload: None,
            arrival: Arrival {
                at: epoch() + Duration::from_millis(ms),
                position: Samples::ZERO,
            },
        }
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
    fn epoch() -> Instant {
        static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *EPOCH.get_or_init(Instant::now)
    }
}
