//! The way from the sender to the leg: packets, some of which are lost.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::media::receiver::{ExpectedSource, Output, Receiver, Settings};
use callscribe::media::{CallClock, Frame, Law};

use crate::FRAME;
use crate::sounds::Random;

/// How packets are lost, and what takes their place.
#[derive(Clone, Copy, Default)]
pub(crate) struct Loss {
    /// Of a hundred packets.
    pub(crate) percent: u8,
    /// Three in a row on average (Gilbert's model), instead of each by itself.
    pub(crate) in_bursts: bool,
    /// Silence takes their place, and not what conceals them.
    pub(crate) is_silent: bool,
}

impl Loss {
    /// Whether the next packet is lost, after one that was or was not.
    fn strikes(self, was_lost: bool, random: &mut Random) -> bool {
        let share = f32::from(self.percent) / 100.0;
        let chance = match (self.in_bursts, was_lost) {
            (false, _) => share,
            (true, true) => 1.0 - 1.0 / MEAN_BURST,
            (true, false) => share / (1.0 - share) / MEAN_BURST,
        };
        random.between(0.0, 1.0) < chance
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bursts = if self.in_bursts { "-bursts" } else { "" };
        let filler = if self.is_silent { "-silent" } else { "" };
        write!(to, "loss{}{bursts}{filler}", self.percent)
    }
}

/// Packets that are lost in a row.
const MEAN_BURST: f32 = 3.0;

/// What the receiver makes of 20 ms packets, when some of them are lost.
pub(crate) fn receive(law: Law, g711: &[[u8; FRAME]], loss: Loss, seed: u64) -> Vec<Frame> {
    let mut random = Random::new(seed ^ 0x1055);
    let settings = Settings {
        concealment: !loss.is_silent,
        ..Settings::default()
    };
    let mut receiver = Receiver::new(Arc::new(settings), ExpectedSource::default());
    let mut is_lost = false;
    let mut clock = CallClock::default();
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
    let mut now = Instant::now();
    let mut frames = Vec::with_capacity(g711.len());
    for (number, audio) in (0_u32..).zip(g711) {
        now += Duration::from_millis(20);
        // The first packets make the stream known.
        is_lost = number >= 10 && loss.strikes(is_lost, &mut random);
        if !is_lost {
            receiver.handle_datagram(source, &packet(law, number, audio), &mut clock, now);
        }
        receiver.handle_timeout(now);
        frames.extend(std::iter::from_fn(|| receiver.poll_output()).filter_map(frame));
    }
    receiver.handle_end(now);
    frames.extend(std::iter::from_fn(|| receiver.poll_output()).filter_map(frame));
    frames
}

fn frame(output: Output) -> Option<Frame> {
    if let Output::Frame(frame) = output {
        Some(frame)
    } else {
        None
    }
}

/// An RTP packet (RFC 3550 §5.1).
fn packet(law: Law, number: u32, audio: &[u8; FRAME]) -> Vec<u8> {
    let payload_type = if law == Law::Pcmu { 0 } else { 8 };
    let [.., high, low] = number.to_be_bytes();
    let mut packet = vec![0x80, payload_type, high, low];
    packet.extend((number * 160).to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend(audio);
    packet
}
