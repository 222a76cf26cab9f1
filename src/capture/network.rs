//! From a captured packet to the UDP datagram inside: link layer, IP, fragments.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::defrag::IpDefragPool;
use etherparse::{
    EtherType, IpNumber, NetSlice, SlicedPacket, TransportSlice, UdpSlice, err::packet::SliceError,
};
use pcap_parser::Linktype;

use crate::capture::file::Record;
use crate::capture::{Counters, Datagram};
use crate::media::{Law, g711};

/// How the bytes of a packet begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// An Ethernet header, VLAN tags admitted.
    Ethernet,
    /// Four bytes of address family, in either byte order.
    Loopback,
    /// An IP header.
    RawIp,
    /// Linux cooked, 16 bytes.
    LinuxSll,
    /// Linux cooked version 2, 20 bytes.
    LinuxSll2,
}

impl Link {
    /// The link of a registered number, if it is read here.
    pub(super) const fn from_type(link_type: Linktype) -> Option<Self> {
        Some(match link_type.0 {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            // 12 and 14: what the BSDs write for raw IP.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            _ => return None,
        })
    }

    fn slice(self, bytes: &[u8]) -> Option<Result<SlicedPacket<'_>, SliceError>> {
        let cooked = |protocol: usize, header: usize| {
            let ether_type = bytes.get(protocol..protocol + 2)?;
            let ether_type = u16::from_be_bytes([ether_type[0], ether_type[1]]);
            let rest = bytes.get(header..)?;
            Some(SlicedPacket::from_ether_type(EtherType(ether_type), rest))
        };
        match self {
            Self::Ethernet => Some(SlicedPacket::from_ethernet(bytes)),
            Self::Loopback => Some(SlicedPacket::from_ip(bytes.get(4..)?)),
            Self::RawIp => Some(SlicedPacket::from_ip(bytes)),
            Self::LinuxSll => cooked(14, 16),
            Self::LinuxSll2 => cooked(0, 20),
        }
    }
}

/// Finds the datagram in each packet; remembers fragments until their datagram is whole.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    fragments: IpDefragPool<FragmentAge>,
    fragment_ordinal: u64,
}

#[derive(Clone, Debug)]
struct FragmentAge {
    time: Duration,
    ordinal: u64,
}

impl Decoder {
    /// The datagram of a packet, if it carries or completes one; otherwise it is counted by cause.
    pub(super) fn decode<'a>(
        &mut self,
        record: &Record<'a>,
        counters: &mut Counters,
    ) -> Option<Datagram<'a>> {
        let skip = |counter: &mut u64| {
            *counter += 1;
            None
        };
        let Some(link) = record.link else {
            return skip(&mut counters.unsupported_link);
        };
        let Some(time) = record.time else {
            return skip(&mut counters.untimed);
        };
        let stored = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
        if stored < record.length {
            counters.cut_short += 1;
            let datagram = part_of_datagram(link, time, record)?;
            counters.datagrams += 1;
            return Some(datagram);
        }
        let Some(Ok(packet)) = link.slice(record.bytes) else {
            return skip(&mut counters.malformed);
        };
        let Some((source, destination)) = packet.net.as_ref().and_then(addresses) else {
            return skip(&mut counters.not_udp);
        };
        let (source_port, destination_port, payload) = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => (
                udp.source_port(),
                udp.destination_port(),
                Cow::Borrowed(udp.payload()),
            ),
            None if packet.is_ip_payload_fragmented() => {
                counters.fragments += 1;
                let (source_port, destination_port, payload) =
                    self.reassemble(&packet, time, counters)?;
                (source_port, destination_port, Cow::Owned(payload))
            }
            _ => return skip(&mut counters.not_udp),
        };
        counters.datagrams += 1;
        Some(Datagram {
            time,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
            payload,
        })
    }

    fn reassemble(
        &mut self,
        packet: &SlicedPacket<'_>,
        time: Duration,
        counters: &mut Counters,
    ) -> Option<(u16, u16, Vec<u8>)> {
        self.fragment_ordinal += 1;
        let ordinal = self.fragment_ordinal;
        self.fragments.retain(|age| {
            ordinal - age.ordinal < FRAGMENTS_KEPT
                && time.saturating_sub(age.time) < FRAGMENT_LIFETIME
        });
        let age = FragmentAge { time, ordinal };
        let Ok(whole) = self.fragments.process_sliced_packet(packet, age, ()) else {
            counters.malformed += 1;
            return None;
        };
        let whole = whole?;
        if whole.ip_number != IpNumber::UDP {
            counters.not_udp += 1;
            return None;
        }
        let Ok(udp) = UdpSlice::from_slice(&whole.payload) else {
            counters.malformed += 1;
            return None;
        };
        counters.reassembled += 1;
        let datagram = (
            udp.source_port(),
            udp.destination_port(),
            udp.payload().to_vec(),
        );
        self.fragments.return_buf(whole);
        Some(datagram)
    }
}

/// The datagram of a packet that was stored only in part, if its headers were; what is missing of it is silence.
fn part_of_datagram(link: Link, time: Duration, record: &Record<'_>) -> Option<Datagram<'static>> {
    let length = usize::try_from(record.length).ok();
    let length = length.filter(|length| *length <= LONGEST_PACKET)?;
    let mut packet = record.bytes.to_vec();
    packet.resize(length, 0);
    let sliced = link.slice(&packet)?.ok()?;
    let (source, destination) = addresses(sliced.net.as_ref()?)?;
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
        return None;
    };
    let mut payload = udp.payload().to_vec();
    let end = udp.payload().as_ptr_range().end.addr() - packet.as_ptr().addr();
    let missing = end.saturating_sub(record.bytes.len());
    let stored = payload.len().checked_sub(missing)?;
    let (header, rest) = payload.split_at_mut_checked(stored)?;
    let [_, payload_type, ..] = *header.first_chunk::<RTP_HEADER>()?;
    let is_a_law = payload_type & 0x7f == 8;
    rest.fill(g711::silence(if is_a_law { Law::Pcma } else { Law::Pcmu }));
    Some(Datagram {
        time,
        source: SocketAddr::new(source, udp.source_port()),
        destination: SocketAddr::new(destination, udp.destination_port()),
        payload: Cow::Owned(payload),
    })
}

fn addresses(net: &NetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
            ))
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
            ))
        }
        NetSlice::Arp(_) => None,
    }
}

/// How long a fragment waits for the others: Linux's `net.ipv4.ipfrag_time`.
const FRAGMENT_LIFETIME: Duration = Duration::from_secs(30);

/// Octets of an RTP header (RFC 3550 §5.1).
const RTP_HEADER: usize = 12;

/// An IP packet with the headers of a link.
const LONGEST_PACKET: usize = 65_535 + 64;

/// How many fragments back an incomplete datagram may reach: each may take up to 64 KiB of memory,
/// and a hostile capture would open one after the other.
const FRAGMENTS_KEPT: u64 = 1024;
