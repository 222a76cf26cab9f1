//! Makes small pcap files: captures for tests.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, UdpHeader};

/// A pcap file in the making: raw IP, nanoseconds.
#[derive(Clone, Debug)]
pub struct Writer {
    file: Vec<u8>,
}

impl Writer {
    /// Begins a file.
    pub fn new() -> Self {
        let mut file = Vec::new();
        file.extend(0xa1b2_3c4d_u32.to_le_bytes());
        file.extend(2_u16.to_le_bytes());
        file.extend(4_u16.to_le_bytes());
        file.extend([0; 8]);
        file.extend(0x0004_0000_u32.to_le_bytes());
        file.extend(RAW_IP.to_le_bytes());
        Self { file }
    }

    /// Appends a datagram that passed at `time` since the Unix epoch.
    ///
    /// # Panics
    /// When the addresses are not of one family, or the payload is longer than a datagram holds.
    pub fn push(
        &mut self,
        time: Duration,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        let packet = ip_packet(source, destination, payload);
        self.push_packet(time, &packet);
    }

    /// Appends an IP packet as it stands.
    ///
    /// # Panics
    /// When the packet is longer than 4 GiB.
    pub fn push_packet(&mut self, time: Duration, packet: &[u8]) {
        let length = u32::try_from(packet.len()).expect("a packet is shorter than 4 GiB");
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        for field in [seconds, time.subsec_nanos(), length, length] {
            self.file.extend(field.to_le_bytes());
        }
        self.file.extend(packet);
    }

    /// The file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.file
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

fn ip_packet(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length =
        u16::try_from(UdpHeader::LEN + payload.len()).expect("the payload fits a datagram");
    // Checksum 0 says that none was computed (RFC 768); IPv6 readers of captures accept it too.
    let udp = UdpHeader {
        source_port: source.port(),
        destination_port: destination.port(),
        length,
        checksum: 0,
    };
    let mut packet = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let (from, to) = (from.octets(), to.octets());
            Ipv4Header::new(length, TIME_TO_LIVE, IpNumber::UDP, from, to)
                .expect("the payload fits a packet")
                .to_bytes()
                .to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: length,
            next_header: IpNumber::UDP,
            hop_limit: TIME_TO_LIVE,
            source: from.octets(),
            destination: to.octets(),
        }
        .to_bytes()
        .to_vec(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            panic!("{source} and {destination} are of two families")
        }
    };
    packet.extend(udp.to_bytes());
    packet.extend(payload);
    packet
}

/// Link type of packets that begin with an IP header.
const RAW_IP: u32 = 101;

const TIME_TO_LIVE: u8 = 64;
