//! RTCP: what the sender reports, and the report that answers it (RFC 3550 §6).

use crate::media::Ssrc;

/// One packet of a compound packet, as far as callscribe cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report<'a> {
    /// A sender report's sender information (RFC 3550 §6.4.1).
    Sender(SenderInfo),
    /// The sources that leave (RFC 3550 §6.6), four octets each.
    Bye(&'a [u8]),
    /// Receiver reports, descriptions, feedback, and whatever else is well-formed.
    Other,
}

/// When the sender sampled what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// The stream it speaks of.
    pub(crate) ssrc: Ssrc,
    /// The sender's wall clock, in 2^-32 s since 1900 (RFC 3550 §4); zero if it has none.
    pub(crate) ntp: u64,
    /// The RTP timestamp of the same instant.
    pub(crate) timestamp: u32,
    /// RTP packets sent so far.
    pub(crate) packets: u32,
}

/// Goes through a compound packet, up to the first part that is not well-formed.
pub(crate) fn reports(mut compound: &[u8]) -> impl Iterator<Item = Report<'_>> {
    std::iter::from_fn(move || {
        let (report, rest) = split_report(compound)?;
        compound = rest;
        Some(report)
    })
}

/// Whether a BYE names this source.
pub(crate) fn bye_names(sources: &[u8], ssrc: Ssrc) -> bool {
    let (sources, _) = sources.as_chunks::<4>();
    sources
        .iter()
        .any(|source| u32::from_be_bytes(*source) == ssrc.0)
}

/// What a receiver report says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source it is about.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the stream began; 24 bits, signed.
    pub cumulative_lost: i32,
    /// Highest sequence number, with the count of cycles in the upper half.
    pub extended_highest: u32,
    /// Interarrival jitter, in timestamp units.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; zero if there was none.
    pub last_sender_report: u32,
    /// Since then, in 2^-16 s.
    pub delay_since_last: u32,
}

/// Builds a compound packet of a receiver report and the CNAME that must go with it (RFC 3550 §6.1, §6.4.2, §6.5.1).
///
/// `cname` is cut to 255 octets.
pub fn receiver_report(reporter: Ssrc, block: &ReportBlock, cname: &str) -> Vec<u8> {
    let mut packet = vec![0x81, RECEIVER_REPORT, 0, 7];
    packet.extend(reporter.0.to_be_bytes());
    packet.extend(block.ssrc.to_be_bytes());
    packet.push(block.fraction_lost);
    let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF);
    packet.extend(&lost.to_be_bytes()[1..]);
    for word in [
        block.extended_highest,
        block.jitter,
        block.last_sender_report,
        block.delay_since_last,
    ] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(description(reporter, cname));
    packet
}

fn description(reporter: Ssrc, cname: &str) -> Vec<u8> {
    let cname = &cname.as_bytes()[..cname.len().min(usize::from(u8::MAX))];
    let mut chunk = reporter.0.to_be_bytes().to_vec();
    chunk.extend([CNAME, u8::try_from(cname.len()).unwrap_or(u8::MAX)]);
    chunk.extend(cname);
    // At least one zero ends the list of items.
    chunk.resize((chunk.len() / 4 + 1) * 4, 0);
    let words = u16::try_from(chunk.len() / 4).unwrap_or_default();
    let mut packet = vec![0x81, SOURCE_DESCRIPTION];
    packet.extend(words.to_be_bytes());
    packet.extend(chunk);
    packet
}

fn split_report(compound: &[u8]) -> Option<(Report<'_>, &[u8])> {
    let [first, packet_type, high, low, body @ ..] = compound else {
        return None;
    };
    if first >> 6 != 2 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([*high, *low])) * 4;
    let (body, rest) = body.split_at_checked(len)?;
    let report = match *packet_type {
        SENDER_REPORT => SenderInfo::parse(body).map_or(Report::Other, Report::Sender),
        BYE => {
            let sources = usize::from(first & 0x1F) * 4;
            body.get(..sources).map_or(Report::Other, Report::Bye)
        }
        _ => Report::Other,
    };
    Some((report, rest))
}

impl SenderInfo {
    fn parse(body: &[u8]) -> Option<Self> {
        let (words, _) = body.as_chunks::<4>();
        let [ssrc, seconds, fraction, timestamp, packets, _octets, ..] = words else {
            return None;
        };
        let word = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
        Some(Self {
            ssrc: Ssrc(word(ssrc)),
            ntp: u64::from(word(seconds)) << 32 | u64::from(word(fraction)),
            timestamp: word(timestamp),
            packets: word(packets),
        })
    }
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sender_report_and_bye_of_one_compound_are_both_found() {
        let mut compound = vec![0x80, 200, 0, 6];
        for word in [7u32, 0xDEAD_BEEF, 1, 8_000, 50, 8_000] {
            compound.extend(word.to_be_bytes());
        }
        compound.extend([0x81, 203, 0, 1, 0, 0, 0, 7]);
        let found: Vec<_> = reports(&compound).collect();
        let info = SenderInfo {
            ssrc: Ssrc(7),
            ntp: 0xDEAD_BEEF_0000_0001,
            timestamp: 8_000,
            packets: 50,
        };
        assert_eq!(found, [Report::Sender(info), Report::Bye(&[0, 0, 0, 7])]);
        assert!(bye_names(&[0, 0, 0, 7], Ssrc(7)));
        assert!(!bye_names(&[0, 0, 0, 7], Ssrc(8)));
    }

    #[test]
    fn length_beyond_the_datagram_ends_the_search() {
        assert_eq!(reports(&[0x80, 200, 0xFF, 0xFF, 0, 0, 0, 1]).count(), 0);
    }

    #[test]
    fn receiver_report_is_well_formed_for_every_name() {
        for name in [
            "",
            "a",
            "ab",
            "abc",
            "callscribe@127.0.0.1",
            &"x".repeat(300),
        ] {
            let block = ReportBlock {
                ssrc: 9,
                cumulative_lost: -2,
                ..ReportBlock::default()
            };
            let packet = receiver_report(Ssrc(1), &block, name);
            assert_eq!(packet.len() % 4, 0);
            assert_eq!(reports(&packet).collect::<Vec<_>>(), [Report::Other; 2]);
            assert_eq!(packet[13..16], [0xFF, 0xFF, 0xFE]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(reports(&bytes).count() <= bytes.len() / 4);
        }
    }
}
