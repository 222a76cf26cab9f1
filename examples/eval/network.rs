//! The way from the sender to the leg: packets, some of which are lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::media::receiver::{ExpectedSource, Output, Receiver, Settings};
use callscribe::media::{CallClock, Frame, Law};

use crate::FRAME;
use crate::sounds::Random;

/// What the receiver makes of 20 ms packets, when so many of a hundred are lost.
pub(crate) fn receive(law: Law, g711: &[[u8; FRAME]], percent: u8, seed: u64) -> Vec<Frame> {
    let mut random = Random::new(seed ^ 0x1055);
    let mut receiver = Receiver::new(Arc::new(Settings::default()), ExpectedSource::default());
    let mut clock = CallClock::default();
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
    let mut now = Instant::now();
    let mut frames = Vec::with_capacity(g711.len());
    for (number, audio) in (0_u32..).zip(g711) {
        now += Duration::from_millis(20);
        // The first packets make the stream known.
        if number < 10 || random.between(0.0, 100.0) >= f32::from(percent) {
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
