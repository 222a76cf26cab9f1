//! Rewind: packets whose place in the sequence is past. The network copied them or kept them back,
//! or the sender began anew a little further back.
//!
//! A copy has the timestamp and the payload of what it copies, so two packets of which one differs
//! are a new beginning. A recording that is played again differs in nothing: it is told by its
//! pace, which neither copies nor a jam keep while nothing new comes. Until it is clear the packets
//! are kept, so that nothing of a new beginning is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::media::reorder::{Header, Stored};
use crate::media::sequence::SequenceNumber;
use crate::media::{Samples, sequence};

/// The past packets of the heard stream since its last new one; at most [`CAPACITY`].
#[derive(Debug, Default)]
pub(crate) struct Rewind {
    kept: VecDeque<Past>,
    /// Whether one of them is no copy.
    differs: bool,
    /// When the stream last went forward.
    went_on: Option<Instant>,
}

/// A packet whose place is past.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) sequence: SequenceNumber,
    /// What it is unless the sender began anew.
    pub(crate) nature: Nature,
    pub(crate) packet: Stored,
}

/// What a packet whose place is past looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Its place was given up.
    Late,
    /// It was here before.
    Copy,
    /// Another packet was in its place.
    Other,
}

impl Past {
    /// Copies the packet.
    pub(crate) fn new(
        sequence: SequenceNumber,
        nature: Nature,
        header: &Header,
        bytes: &[u8],
    ) -> Self {
        let packet = Stored {
            header: *header,
            bytes: bytes.to_vec(),
        };
        Self {
            sequence,
            nature,
            packet,
        }
    }

    /// Whether the other packet is of the same beginning: its timestamp is as far on as its number.
    fn leads_to(&self, next: &Self) -> bool {
        let (own, its) = (&self.packet.header, &next.packet.header);
        let steps = its.sequence_number.wrapping_sub(own.sequence_number);
        let said = its.timestamp.wrapping_sub(own.timestamp);
        let len = i64::try_from(self.packet.bytes.len()).unwrap_or(i64::MAX);
        len.saturating_mul(i64::from(steps.cast_signed())) == i64::from(said.cast_signed())
    }
}

impl Rewind {
    /// The stream went forward.
    pub(crate) const fn note_progress(&mut self, now: Instant) {
        self.went_on = Some(now);
    }

    /// Takes out all that is kept.
    pub(crate) fn take(&mut self) -> VecDeque<Past> {
        self.differs = false;
        std::mem::take(&mut self.kept)
    }

    /// Keeps a packet.
    pub(crate) fn keep(&mut self, past: Past) {
        self.differs |= past.nature == Nature::Other;
        self.kept.push_back(past);
    }

    /// Whether the packet has to go before another can be kept: there is no room, or that one does
    /// not go on where the others left off.
    pub(crate) fn pop_unfit(&mut self, next: &Header) -> Option<Past> {
        let newest = self.kept.back()?.packet.header.sequence_number;
        let step = next.sequence_number.wrapping_sub(newest).cast_signed();
        if self.kept.len() < CAPACITY && (-MAX_SWAP..=sequence::MAX_LEAP).contains(&step) {
            return None;
        }
        self.pop()
    }

    /// The oldest packet, if it is a straggler from before what differs, and no part of that.
    pub(crate) fn pop_straggler(&mut self) -> Option<Past> {
        let is_other = |past: &Past| past.nature == Nature::Other;
        let before = self.kept.iter().position(is_other)?;
        let pairs = self.kept.iter().zip(self.kept.iter().skip(1));
        let mut pairs = pairs.take(before);
        let is_apart = pairs.any(|(past, next)| !past.leads_to(next));
        if is_apart {
            self.kept.pop_front()
        } else {
            None
        }
    }

    /// The oldest packet, which is no new beginning.
    pub(crate) fn pop(&mut self) -> Option<Past> {
        let past = self.kept.pop_front();
        if self.kept.is_empty() {
            self.differs = false;
        }
        past
    }

    /// What is kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Past> {
        self.kept.iter()
    }

    /// Whether the sender began anew.
    pub(crate) fn is_new_beginning(&self) -> bool {
        let (Some(first), Some(last)) = (self.kept.front(), self.kept.back()) else {
            return false;
        };
        let (first, last) = (&first.packet.header, &last.packet.header);
        if first.sequence_number == last.sequence_number {
            return false;
        }
        let took = last.arrival.at.saturating_duration_since(first.arrival.at);
        let said = last.timestamp.wrapping_sub(first.timestamp);
        let hurry = Samples(u64::from(said)).as_duration().saturating_sub(took);
        let paused = self
            .went_on
            .map(|at| first.arrival.at.saturating_duration_since(at));
        let is_after_pause = paused.is_some_and(|paused| paused >= PAUSE);
        self.differs
            || (took >= PACED && hurry <= MAX_HURRY)
            || (is_after_pause && took >= PACKET && hurry <= PACKET)
    }
}

/// Most packets that are kept: 640 ms of 10 ms packets, twice what it takes to tell.
const CAPACITY: usize = 64;

/// How far packets of a new beginning may be swapped.
const MAX_SWAP: i16 = 5;

/// Longer than one path of the network is slower than another, so that it is no copy.
const PACED: Duration = Duration::from_millis(300);

/// How much faster than in real time it may come: a burst of `ffmpeg -re`, and no jam.
const MAX_HURRY: Duration = Duration::from_millis(300);

/// After so long a pause two packets at their own pace are enough.
const PAUSE: Duration = Duration::from_secs(1);

const PACKET: Duration = Duration::from_millis(10);
