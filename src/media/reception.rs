//! Reception statistics of a stream, as RFC 3550 defines them.

use crate::media::Samples;
use crate::media::sequence::SequenceNumber;

/// Counts what RFC 3550 §6.4.1 and §A.3 ask for.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reception {
    base: Option<SequenceNumber>,
    highest: Option<SequenceNumber>,
    received: u64,
    /// In sixteenths of a sample (RFC 3550 §A.8).
    jitter: i64,
    last: Option<(Samples, u32)>,
    expected_prior: u64,
    received_prior: u64,
}

impl Reception {
    /// Counts a packet of the stream, be it the second copy or late.
    pub(crate) fn count(&mut self, sequence: SequenceNumber) {
        self.received += 1;
        self.base = Some(self.base.map_or(sequence, |base| base.min(sequence)));
        self.highest = self.highest.max(Some(sequence));
    }

    /// Follows the interarrival jitter (RFC 3550 §A.8); only audio has a timestamp that fits its
    /// sending time.
    pub(crate) fn follow_jitter(&mut self, timestamp: u32, arrival: Samples) {
        if let Some((last_arrival, last_timestamp)) = self.last.replace((arrival, timestamp)) {
            let elapsed = i64::from(timestamp.wrapping_sub(last_timestamp).cast_signed());
            let between = arrival.0.cast_signed() - last_arrival.0.cast_signed();
            let difference = (between - elapsed).abs();
            // A pause or a jump of the timestamp is no jitter.
            if difference < i64::from(crate::media::SAMPLE_RATE) {
                self.jitter += difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// Highest sequence number with the count of cycles above it, as a report carries it.
    pub(crate) fn extended_highest(&self) -> u32 {
        let extended = self.highest.map_or(0, |highest| {
            highest.0 - crate::media::sequence::FIRST_CYCLE.min(highest.0)
        });
        u32::try_from(extended & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// Packets that the sender sent, by its sequence numbers.
    pub(crate) fn expected(&self) -> u64 {
        match (self.base, self.highest) {
            (Some(base), Some(highest)) => highest.since(base) + 1,
            _ => 0,
        }
    }

    /// Packets that came, duplicates and late ones included.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Expected less received packets; negative if there were duplicates.
    pub(crate) fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    /// Mean deviation of the packet spacing, in samples.
    pub(crate) const fn jitter(&self) -> u64 {
        (self.jitter >> 4).cast_unsigned()
    }

    /// The share of packets lost since the last call, in 256ths (RFC 3550 §A.3).
    pub(crate) fn take_fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.expected_prior;
        let received = self.received - self.received_prior;
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0);
        u8::try_from(fraction).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sequence::FIRST_CYCLE;

    #[test]
    fn lost_is_expected_less_received_and_duplicates_make_it_negative() {
        let mut reception = counted(&[1, 2, 5]);
        assert_eq!((reception.expected(), reception.lost()), (5, 2));
        for _ in 0..3 {
            reception.count(SequenceNumber(FIRST_CYCLE + 5));
        }
        assert_eq!(reception.lost(), -1);
    }

    #[test]
    fn packet_from_before_the_first_is_expected_too() {
        assert_eq!(counted(&[2, 1]).expected(), 2);
    }

    #[test]
    fn extended_highest_counts_cycles_from_zero() {
        assert_eq!(counted(&[65_535, 65_536]).extended_highest(), 65_536);
    }

    #[test]
    fn fraction_lost_is_of_the_interval() {
        let mut reception = counted(&[1, 2, 3, 4]);
        assert_eq!(reception.take_fraction_lost(), 0);
        reception.count(SequenceNumber(FIRST_CYCLE + 8));
        assert_eq!(reception.take_fraction_lost(), 192);
    }

    #[test]
    fn even_spacing_has_no_jitter_and_a_constant_deviation_is_approached() {
        let mut reception = Reception::default();
        for n in 0..100 {
            reception.follow_jitter(n * 160, Samples(u64::from(n) * 160));
        }
        assert_eq!(reception.jitter(), 0);
        for n in 100..1_000 {
            let late = u64::from(n % 2) * 80;
            reception.follow_jitter(n * 160, Samples(u64::from(n) * 160 + late));
        }
        assert!(
            (75..=80).contains(&reception.jitter()),
            "{}",
            reception.jitter()
        );
    }

    fn counted(numbers: &[u64]) -> Reception {
        let mut reception = Reception::default();
        for n in numbers {
            reception.count(SequenceNumber(FIRST_CYCLE + n));
        }
        reception
    }
}
