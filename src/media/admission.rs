//! Whether a datagram may begin a call on a port where nothing is expected.

use std::net::SocketAddr;

use crate::media::packet::{Datagram, NO_SOUND};
use crate::media::{Ssrc, receiver};

/// The stream that a datagram belongs to, if it is one that may begin a call: from an allowed address, and of a payload
/// type that has a meaning.
pub fn admitted_stream(
    settings: &receiver::Settings,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<Ssrc> {
    if !is_allowed(settings, source) {
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

/// The payload type of sound from an allowed address that has no meaning here, if it is that.
pub fn foreign_payload_type(
    settings: &receiver::Settings,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<u8> {
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) if settings.payload_types.get(packet.payload_type).is_none() => {
            let is_sound = packet.payload.len() > NO_SOUND;
            (is_sound && is_allowed(settings, source)).then_some(packet.payload_type)
        }
        Datagram::Rtp(_)
        | Datagram::Rtcp
        | Datagram::Stun
        | Datagram::Malformed
        | Datagram::NotRtp => None,
    }
}

/// The stream that a datagram belongs to, if it is RTP.
pub fn stream_of(bytes: &[u8]) -> Option<Ssrc> {
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) => Some(packet.ssrc),
        Datagram::Rtcp | Datagram::Stun | Datagram::Malformed | Datagram::NotRtp => None,
    }
}

fn is_allowed(settings: &receiver::Settings, source: SocketAddr) -> bool {
    let networks = &settings.allowed_networks;
    let source = source.ip().to_canonical();
    networks.is_empty() || networks.iter().any(|network| network.contains(&source))
}
