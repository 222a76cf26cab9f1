//! What a datagram is: RTP, RTCP, STUN or something else.

use rtp_rs::RtpReader;

use crate::media::Ssrc;

/// A datagram, told apart by its first two octets (RFC 7983 §7, RFC 5761 §4).
#[derive(Debug)]
pub(crate) enum Datagram<'a> {
    /// A well-formed RTP packet.
    Rtp(Packet<'a>),
    /// RTCP, on the port of RTP or beside it; not looked into yet.
    Rtcp,
    /// A STUN message, such as a keep-alive binding request.
    Stun,
    /// Claims to be RTP of version 2, but its header lies or is cut short.
    Malformed,
    /// Nothing that belongs on this port.
    NotRtp,
}

impl<'a> Datagram<'a> {
    /// Tells what the bytes are.
    pub(crate) fn classify(bytes: &'a [u8]) -> Self {
        match bytes {
            // RFC 5761 §4: these values of the second octet are never marker and payload type.
            [0x80..=0xBF, 192..=223, ..] => Self::Rtcp,
            [0x80..=0xBF, ..] => Packet::parse(bytes).map_or(Self::Malformed, Self::Rtp),
            [0..=3, ..] if bytes.len() >= STUN_HEADER => Self::Stun,
            _ => Self::NotRtp,
        }
    }
}

/// An RTP packet (RFC 3550 §5.1), read where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// The synchronization source.
    pub(crate) ssrc: Ssrc,
    /// As on the wire; wraps.
    pub(crate) sequence_number: u16,
    /// In samples, as on the wire; wraps.
    pub(crate) timestamp: u32,
    /// Often the first packet of a talkspurt (RFC 3551 §4.1), but no sender is bound to it.
    pub(crate) marker: bool,
    /// 0 to 127.
    pub(crate) payload_type: u8,
    /// Without header extension, contributing sources and padding.
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let reader = RtpReader::new(bytes).ok()?;
        Some(Self {
            ssrc: Ssrc(reader.ssrc()),
            sequence_number: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            marker: reader.mark(),
            payload_type: reader.payload_type(),
            payload: reader.payload(),
        })
    }
}

/// A payload so short holds no sound whatever its codec: a telephone event, a keep-alive (RFC 6263),
/// a pause of Opus.
pub(crate) const NO_SOUND: usize = 4;

/// Octets of a STUN header (RFC 8489 §5).
const STUN_HEADER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const RTP: [u8; 16] = [0x80, 0x88, 0, 7, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4];

    #[test]
    fn rtp_is_read_field_by_field() {
        let Datagram::Rtp(packet) = Datagram::classify(&RTP) else {
            panic!("not RTP");
        };
        assert_eq!((packet.ssrc, packet.sequence_number), (Ssrc(9), 7));
        assert_eq!((packet.timestamp, packet.payload_type), (256, 8));
        assert!(packet.marker);
        assert_eq!(packet.payload, [1, 2, 3, 4]);
    }

    #[test]
    fn sender_report_is_rtcp_and_not_payload_type_72() {
        let mut report = [0; 28];
        report[..4].copy_from_slice(&[0x80, 200, 0, 6]);
        assert!(matches!(Datagram::classify(&report), Datagram::Rtcp));
    }

    #[test]
    fn stun_binding_request_is_told_apart_with_or_without_cookie() {
        let mut request = [0; 20];
        request[1] = 1;
        assert!(matches!(Datagram::classify(&request), Datagram::Stun));
    }

    #[test]
    fn padding_longer_than_the_packet_is_malformed() {
        let mut packet = RTP;
        packet[0] |= 0x20;
        packet[15] = 200;
        assert!(matches!(Datagram::classify(&packet), Datagram::Malformed));
    }

    #[test]
    fn header_cut_short_is_malformed_and_the_empty_datagram_is_not_rtp() {
        for len in 1..12 {
            assert!(matches!(
                Datagram::classify(&RTP[..len]),
                Datagram::Malformed
            ));
        }
        assert!(matches!(Datagram::classify(&[]), Datagram::NotRtp));
        assert!(matches!(Datagram::classify(&[0x16; 40]), Datagram::NotRtp));
    }
}
