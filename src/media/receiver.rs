//! The receiving circuit of one leg.

use std::net::SocketAddr;

use crate::event::HealthState;
use crate::media::{Frame, Law, Samples, Ssrc};

/// What the receiver asks of the leg. `Frame` and `Silence` tile the leg from its start without overlap or hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The first packet of the leg was accepted.
    Started {
        /// The stream that is heard.
        ssrc: Ssrc,
        /// The law of the packet.
        law: Law,
        /// Its sender.
        remote: SocketAddr,
        /// Where the leg begins on the call clock.
        start: Samples,
    },
    /// The next 20 ms of audio.
    Frame(Frame),
    /// A stretch in which the sender sent nothing on purpose; no frames cover it.
    Silence {
        /// Where it starts on the call clock.
        start: Samples,
        /// How long it is.
        len: Samples,
    },
    /// A telephone key was released.
    Dtmf {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// Where it was pressed, on the call clock.
        start: Samples,
        /// How long it was held.
        duration: Samples,
    },
    /// What there is to say of the leg's health; each state once until it changes.
    Health {
        /// `bad_payload`, `source_rejected`, `ssrc_changed` or `ok`.
        state: HealthState,
        /// The evidence, for people.
        detail: String,
    },
    /// RTCP BYE of the heard stream (RFC 3550 §6.6).
    Bye,
}
