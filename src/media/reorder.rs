//! Order: packets in sequence pass at once; a hole makes those behind it wait a bounded time.

mod saved;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::media::Samples;
use crate::media::sequence::SequenceNumber;
use crate::media::settings::Payload;
pub(crate) use saved::SavedReorder;

/// When a packet came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// The same on the call clock.
    pub(crate) position: Samples,
}

/// What the receiving circuit keeps of a packet's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// As on the wire.
    pub(crate) sequence_number: u16,
    /// As on the wire.
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// `None` for a payload type without meaning, which still takes a sequence number.
    pub(crate) payload: Option<Payload>,
    pub(crate) arrival: Arrival,
}

/// A packet that has to wait.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of an arriving packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is the one that is due.
    Next,
    /// Earlier ones are missing.
    Ahead,
    /// Its place was given up.
    Late,
    /// It was here before.
    Duplicate,
}

/// Puts packets of one stream in sequence.
#[derive(Debug)]
pub(crate) struct Reorder {
    wait: Duration,
    /// `None` at the start of a stream, until it is clear which packet is the first.
    next: Option<SequenceNumber>,
    /// Bit n: whether the packet n + 1 before `next` was received.
    history: u128,
    /// Sorted; at most [`CAPACITY`].
    held: VecDeque<(SequenceNumber, Stored)>,
    hold_until: Option<Instant>,
    spare: Vec<Vec<u8>>,
}

impl Reorder {
    /// Begins a stream, collecting its first packets until `hold_until`: some senders swap them.
    pub(crate) fn new(wait: Duration, hold_until: Instant) -> Self {
        Self {
            wait,
            next: None,
            history: 0,
            held: VecDeque::new(),
            hold_until: Some(hold_until),
            spare: Vec::new(),
        }
    }

    /// Tells where a packet stands; it changes nothing but that a late one seen again is a
    /// duplicate.
    pub(crate) fn judge(&mut self, sequence: SequenceNumber) -> Order {
        if self.held.iter().any(|(held, _)| *held == sequence) {
            return Order::Duplicate;
        }
        let Some(next) = self.next else {
            return Order::Ahead;
        };
        if sequence >= next {
            return if sequence == next {
                Order::Next
            } else {
                Order::Ahead
            };
        }
        let behind = next.since(sequence) - 1;
        if behind >= u64::from(u128::BITS) {
            return Order::Late;
        }
        let seen = self.history & (1 << behind) != 0;
        self.history |= 1 << behind;
        if seen { Order::Duplicate } else { Order::Late }
    }

    /// Whether the place of the packet was filled or given up.
    pub(crate) fn is_past(&self, sequence: SequenceNumber) -> bool {
        self.next.is_some_and(|next| sequence < next)
    }

    /// Whether even the packet that is due has to wait.
    pub(crate) const fn is_holding(&self) -> bool {
        self.hold_until.is_some()
    }

    /// Makes every packet wait until then.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.hold_until.get_or_insert(until);
    }

    /// Lets the packet that is due pass without a copy.
    pub(crate) fn pass(&mut self, sequence: SequenceNumber) {
        self.skip_to(sequence);
        self.next = Some(sequence.next());
        self.history = self.history << 1 | 1;
    }

    /// Keeps a packet until it is due.
    pub(crate) fn keep(&mut self, sequence: SequenceNumber, header: Header, bytes: &[u8]) {
        let mut own = self.spare.pop().unwrap_or_default();
        own.extend_from_slice(bytes);
        let place = self.held.partition_point(|(held, _)| *held < sequence);
        self.held
            .insert(place, (sequence, Stored { header, bytes: own }));
    }

    /// Whether everything that had to wait may be looked at: the hold is over.
    pub(crate) fn ends_hold(&mut self, now: Instant) -> bool {
        let full = match self.next {
            None => self.held.len() >= ENOUGH_TO_START,
            Some(_) => self.is_full(),
        };
        let over = self.hold_until.is_some_and(|until| full || now >= until);
        if over {
            self.hold_until = None;
        }
        over
    }

    /// The next packet in order and how many before it are given up, if it need not wait any
    /// longer.
    pub(crate) fn release(&mut self, now: Instant) -> Option<(Stored, u64)> {
        let (first, _) = self.held.front()?;
        let missing = self.next.map_or(0, |next| first.since(next));
        let is_over = self.hole_deadline().is_some_and(|deadline| deadline <= now);
        let waited = missing == 0 || self.is_full() || is_over;
        if self.is_holding() || !waited {
            return None;
        }
        let (sequence, stored) = self.held.pop_front()?;
        self.pass(sequence);
        Some((stored, missing))
    }

    /// Lets everything that waits be released: nothing more will come.
    pub(crate) fn give_up_waiting(&mut self) {
        self.hold_until = None;
        self.wait = Duration::ZERO;
    }

    /// Takes back the bytes of a released packet, to be used again.
    pub(crate) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < CAPACITY {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// When waiting for a missing packet, or for the end of a hold, is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.hold_until.or_else(|| self.hole_deadline())
    }

    /// The packets that wait, in order.
    pub(crate) fn waiting(&self) -> impl DoubleEndedIterator<Item = &Header> {
        self.held.iter().map(|(_, stored)| &stored.header)
    }

    /// Whether no more packets fit, so that the first hole is given up early.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= CAPACITY
    }

    fn hole_deadline(&self) -> Option<Instant> {
        let oldest = self.waiting().map(|header| header.arrival.at).min()?;
        oldest.checked_add(self.wait)
    }

    fn skip_to(&mut self, sequence: SequenceNumber) {
        let skipped = self.next.map_or(0, |next| sequence.since(next));
        let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        self.history = self.history.checked_shl(skipped).unwrap_or(0);
    }
}

/// Most packets that wait: 640 ms of 10 ms packets, several times the default wait.
const CAPACITY: usize = 64;

/// Packets after which the first one of a stream is known without waiting longer.
const ENOUGH_TO_START: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sequence::FIRST_CYCLE;

    #[test]
    fn packet_that_is_due_passes_at_once() {
        let mut line = Line::started();
        assert_eq!(line.reorder.judge(seq(1)), Order::Next);
    }

    #[test]
    fn swapped_packets_come_out_in_order() {
        let mut line = Line::started();
        line.keep(2);
        assert_eq!(line.released(0), []);
        line.keep(1);
        assert_eq!(line.released(0), [(1, 0), (2, 0)]);
    }

    #[test]
    fn hole_is_given_up_after_the_wait_and_its_packet_is_late_once() {
        let mut line = Line::started();
        line.keep(3);
        assert_eq!(line.released(99), []);
        assert_eq!(line.released(100), [(3, 2)]);
        assert_eq!(line.reorder.judge(seq(1)), Order::Late);
        assert_eq!(line.reorder.judge(seq(1)), Order::Duplicate);
        assert_eq!(line.reorder.judge(seq(3)), Order::Duplicate);
    }

    #[test]
    fn full_store_gives_up_the_hole_early() {
        let mut line = Line::started();
        for n in 2..2 + 64 {
            line.keep(n);
        }
        assert_eq!(line.released(0).first(), Some(&(2, 1)));
    }

    #[test]
    fn first_packets_of_a_stream_are_put_in_order() {
        let mut line = Line::new();
        for n in [2, 3, 1] {
            line.keep(n);
        }
        assert!(!line.reorder.ends_hold(line.epoch));
        assert!(
            line.reorder
                .ends_hold(line.epoch + Duration::from_millis(100))
        );
        assert_eq!(line.released(100), [(1, 0), (2, 0), (3, 0)]);
    }

    struct Line {
        epoch: Instant,
        reorder: Reorder,
    }

    impl Line {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
        fn new() -> Self {
            let epoch = Instant::now();
            let wait = Duration::from_millis(100);
            let reorder = Reorder::new(wait, epoch + wait);
            Self { epoch, reorder }
        }

        fn started() -> Self {
            let mut line = Self::new();
            line.reorder.hold_until = None;
            line.reorder.pass(seq(0));
            line
        }

        fn keep(&mut self, n: u16) {
            let header = Header {
                sequence_number: n,
                timestamp: 0,
                marker: false,
                payload: None,
                arrival: Arrival {
                    at: self.epoch,
                    position: Samples::ZERO,
                },
            };
            self.reorder.keep(seq(u64::from(n)), header, &[]);
        }

        fn released(&mut self, ms: u64) -> Vec<(u16, u64)> {
            let now = self.epoch + Duration::from_millis(ms);
            let release = || self.reorder.release(now);
            std::iter::from_fn(release)
                .map(|(stored, missing)| (stored.header.sequence_number, missing))
                .collect()
        }
    }

    fn seq(n: u64) -> SequenceNumber {
        SequenceNumber(FIRST_CYCLE + n)
    }
}
