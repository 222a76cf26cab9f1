//! Whether a datagram may begin a call on a port where nothing is expected.

use std::net::SocketAddr;

use crate::media::packet::{Datagram, NO_SOUND};
use crate::media::{Ssrc, receiver};

/// Whether a datagram may begin a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may: it is from an allowed address, and of a payload type that has a meaning.
    Admitted(Ssrc),
    /// Its sender is in no allowed network.
    SourceNotAllowed,
    /// It is RTP of a payload type that has no meaning here.
    UnknownPayloadType(u8),
    /// It is no RTP, or broken.
    NotRtp,
}

/// Whether a datagram from `source` may begin a call.
pub fn admission(settings: &receiver::Settings, source: SocketAddr, bytes: &[u8]) -> Admission {
    let networks = &settings.allowed_networks;
    let source = source.ip().to_canonical();
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&source)) {
        return Admission::SourceNotAllowed;
    }
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) => match settings.payload_types.get(packet.payload_type) {
            Some(_meaning) => Admission::Admitted(packet.ssrc),
            None => Admission::UnknownPayloadType(packet.payload_type),
        },
        Datagram::Rtcp | Datagram::Stun | Datagram::Malformed | Datagram::NotRtp => {
            Admission::NotRtp
        }
    }
}

/// The payload type of a packet with sound from an allowed address, if it is a codec without meaning
/// here; keep-alives and telephone events are no sound.
pub fn foreign_sound(
    settings: &receiver::Settings,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<u8> {
    let Admission::UnknownPayloadType(payload_type) = admission(settings, source, bytes) else {
        return None;
    };
    let Datagram::Rtp(packet) = Datagram::classify(bytes) else {
        return None;
    };
    (packet.payload.len() > NO_SOUND).then_some(payload_type)
}

/// The stream that a datagram belongs to, if it is one that may begin a call.
pub fn admitted_stream(
    settings: &receiver::Settings,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<Ssrc> {
    match admission(settings, source, bytes) {
        Admission::Admitted(ssrc) => Some(ssrc),
        Admission::SourceNotAllowed | Admission::UnknownPayloadType(_) | Admission::NotRtp => None,
    }
}

/// The stream that a datagram belongs to, if it is RTP.
pub fn stream_of(bytes: &[u8]) -> Option<Ssrc> {
    match Datagram::classify(bytes) {
        Datagram::Rtp(packet) => Some(packet.ssrc),
        Datagram::Rtcp | Datagram::Stun | Datagram::Malformed | Datagram::NotRtp => None,
    }
}

/// Whether a datagram is RTCP.
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(Datagram::classify(bytes), Datagram::Rtcp)
}
