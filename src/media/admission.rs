//! Whether a datagram may begin a call on a port where nothing is expected.

use std::net::SocketAddr;

use crate::media::packet::Datagram;
use crate::media::{Ssrc, receiver};

/// The stream that a datagram belongs to, if it is one that may begin a call: from an allowed address, and of a payload
/// type that has a meaning.
pub fn admitted_stream(
    settings: &receiver::Settings,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<Ssrc> {
    let networks = &settings.allowed_networks;
    let source = source.ip().to_canonical();
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&source)) {
        return None;
    }
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) => settings
            .payload_types
            .get(packet.payload_type)
            .map(|_meaning| packet.ssrc),
        Datagram::Rtcp | Datagram::Stun | Datagram::Malformed | Datagram::NotRtp => None,
    }
}

/// The stream that a datagram belongs to, if it is RTP.
pub fn stream_of(bytes: &[u8]) -> Option<Ssrc> {
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) => Some(packet.ssrc),
        Datagram::Rtcp | Datagram::Stun | Datagram::Malformed | Datagram::NotRtp => None,
    }
}
