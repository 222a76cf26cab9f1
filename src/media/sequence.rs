//! Sequence numbers that never wrap.

/// Extends the 16 bits of the wire to 64, by the highest number seen so far (RFC 3550 §A.1).
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct SequenceExtender {
    highest: SequenceNumber,
}

/// An extended sequence number. The first of a stream lies in the second cycle, so that packets
/// from before it have numbers too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct SequenceNumber(pub(crate) u64);

impl SequenceNumber {
    /// The number after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How many numbers lie from `earlier` to this one; zero if it is not earlier.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl SequenceExtender {
    /// Begins with the first packet of a stream.
    pub(crate) fn new(first: u16) -> Self {
        Self {
            highest: SequenceNumber(FIRST_CYCLE + u64::from(first)),
        }
    }

    /// The extended number, if it is near enough to the highest to belong to the same run of the
    /// sender.
    ///
    /// `None` means that the sender began anew, or that the packet is a stray; see [`MAX_DROPOUT`]
    /// and [`MAX_MISORDER`].
    pub(crate) fn extend(&self, sequence_number: u16) -> Option<SequenceNumber> {
        let distance = self.distance(sequence_number);
        (-MAX_MISORDER..=MAX_DROPOUT)
            .contains(&distance)
            .then(|| self.nearest(sequence_number))
    }

    /// The extended number that is nearest to the highest, however far that is.
    pub(crate) fn nearest(&self, sequence_number: u16) -> SequenceNumber {
        let distance = i64::from(self.distance(sequence_number));
        SequenceNumber(self.highest.0.saturating_add_signed(distance))
    }

    /// Takes note of a packet that was accepted.
    pub(crate) fn advance(&mut self, accepted: SequenceNumber) {
        self.highest = self.highest.max(accepted);
    }

    /// Signed steps from the highest number to this one, the short way round.
    pub(crate) fn distance(&self, sequence_number: u16) -> i16 {
        let highest = u16::try_from(self.highest.0 % CYCLE).unwrap_or_default();
        sequence_number.wrapping_sub(highest).cast_signed()
    }
}

const CYCLE: u64 = 1 << 16;

/// Room for packets from before the first one.
pub(crate) const FIRST_CYCLE: u64 = CYCLE;

/// Largest jump forward that counts as loss, a minute of 20 ms packets (RFC 3550 §A.1).
pub(crate) const MAX_DROPOUT: i16 = 3_000;

/// Largest jump backward that counts as misordering (RFC 3550 §A.1).
pub(crate) const MAX_MISORDER: i16 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrap_goes_on_counting() {
        let mut extender = SequenceExtender::new(65_535);
        let wrapped = extender.extend(0).unwrap();
        assert_eq!(wrapped.0, FIRST_CYCLE + 65_536);
        extender.advance(wrapped);
        assert_eq!(extender.extend(65_534).unwrap().0, FIRST_CYCLE + 65_534);
    }

    #[test]
    fn packet_from_before_the_first_has_a_number() {
        let extender = SequenceExtender::new(0);
        assert_eq!(extender.extend(65_535).unwrap().0, FIRST_CYCLE - 1);
    }

    #[test]
    fn far_jumps_are_no_numbers_of_this_run() {
        let extender = SequenceExtender::new(10_000);
        assert!(extender.extend(13_001).is_none());
        assert!(extender.extend(9_899).is_none());
    }

    proptest! {
        #[test]
        fn extension_agrees_with_a_64_bit_counter(
            first in any::<u16>(),
            steps in prop::collection::vec(-100i64..=3_000, 1..400),
        ) {
            let mut extender = SequenceExtender::new(first);
            let mut highest = FIRST_CYCLE + u64::from(first);
            for step in steps {
                let truth = highest.saturating_add_signed(step);
                let wire = u16::try_from(truth % CYCLE).unwrap();
                let extended = extender.extend(wire).unwrap();
                prop_assert_eq!(extended.0, truth);
                extender.advance(extended);
                highest = highest.max(truth);
            }
        }
    }
}
