//! What the operator decides about receiving.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::media::Law;

/// What the operator decides about receiving; one value is shared by all legs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which payload type carries what.
    pub payload_types: PayloadTypes,
    /// Networks that audio may come from; none means any, and then whoever floods a leg before its
    /// sender's first packets may win it, unless the source was registered. Default: none.
    pub allowed_networks: Vec<IpNet>,
    /// How long packets behind a hole wait for the missing one. More bears worse networks and
    /// delays the words after a loss. Default: 100 ms.
    pub reorder_wait: Duration,
    /// Whether lost audio is filled in from the audio around it; otherwise it is silence. Default:
    /// true.
    pub concealment: bool,
    /// How long the heard stream must have been silent before another SSRC of the same sender takes
    /// over; what the newcomer sends meanwhile is kept and heard then. Less than 300 ms would let
    /// two bursty senders on one port alternate. Default: 500 ms.
    pub ssrc_change_after: Duration,
    /// How long the heard stream must have been silent before a sender at another address takes
    /// over, if the address is allowed at all. Default: 1.5 s.
    pub source_change_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            payload_types: PayloadTypes::default(),
            allowed_networks: Vec::new(),
            reorder_wait: Duration::from_millis(100),
            concealment: true,
            ssrc_change_after: Duration::from_millis(500),
            source_change_after: Duration::from_millis(1500),
        }
    }
}

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Payload {
    /// G.711 at 8,000 Hz.
    Audio(Law),
    /// Comfort noise (RFC 3389).
    ComfortNoise,
    /// Telephone keys (RFC 4733).
    TelephoneEvent,
}

/// The meaning of each of the 128 payload types; what is not in the table is never decoded, but a
/// dynamic type that behaves as telephone events do is taken for them.
///
/// Default: 0 and 8 are PCMU and PCMA, 13 is comfort noise (RFC 3551 §6), 19 too as old gateways
/// have it, and 101 is telephone events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTypes([Option<Payload>; 128]);

/// A payload type that RTP cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload type {0} does not exist: it must be 0 to 127, and not 64 to 95, which RTCP uses")]
pub struct PayloadTypeError(pub u8);

impl PayloadTypes {
    /// A table that knows no payload type.
    pub const fn empty() -> Self {
        Self([None; 128])
    }

    /// Gives a payload type its meaning.
    ///
    /// # Errors
    ///
    /// If RTP multiplexed with RTCP cannot carry it (RFC 5761 §4).
    pub fn insert(&mut self, payload_type: u8, payload: Payload) -> Result<(), PayloadTypeError> {
        match self.0.get_mut(usize::from(payload_type)) {
            Some(entry) if !(64..=95).contains(&payload_type) => {
                *entry = Some(payload);
                Ok(())
            }
            _ => Err(PayloadTypeError(payload_type)),
        }
    }

    /// What the payload type stands for, if anything.
    pub fn get(&self, payload_type: u8) -> Option<Payload> {
        self.0.get(usize::from(payload_type)).copied().flatten()
    }
}

impl Default for PayloadTypes {
    fn default() -> Self {
        let mut table = [None; 128];
        table[0] = Some(Payload::Audio(Law::Pcmu));
        table[8] = Some(Payload::Audio(Law::Pcma));
        table[13] = Some(Payload::ComfortNoise);
        table[19] = Some(Payload::ComfortNoise);
        table[101] = Some(Payload::TelephoneEvent);
        Self(table)
    }
}

/// Where a leg's audio is to come from, as far as its registration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ExpectedSource {
    /// Not said: the first legitimate sender is pinned.
    #[default]
    Any,
    /// This host, from any port.
    Host(IpAddr),
    /// This host and port, and no other.
    Address(SocketAddr),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_of_rtcp_are_refused() {
        let mut table = PayloadTypes::empty();
        assert_eq!(
            table.insert(72, Payload::ComfortNoise),
            Err(PayloadTypeError(72))
        );
        assert_eq!(
            table.insert(128, Payload::ComfortNoise),
            Err(PayloadTypeError(128))
        );
        assert_eq!(table.insert(97, Payload::TelephoneEvent), Ok(()));
        assert_eq!(table.get(97), Some(Payload::TelephoneEvent));
    }

    #[test]
    fn g722_and_opus_mean_nothing() {
        let table = PayloadTypes::default();
        assert_eq!((table.get(9), table.get(96)), (None, None));
    }
}
