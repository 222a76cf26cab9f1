//! Sends packets when they are due.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the pump is where sending meets the clock and the sockets"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::iter::Peekable;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::cli::send::Packet;

/// A stream on its way to a receiver.
pub struct Outlet {
    socket: UdpSocket,
    packets: Peekable<Box<dyn Iterator<Item = Packet> + Send>>,
    sent: Sent,
}

/// What a stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams sent.
    pub packets: u64,
    /// Bytes in them, without UDP and IP headers.
    pub bytes: u64,
    /// Datagrams that the receiving host answered with "port unreachable".
    pub refused: u64,
    /// How far behind its time the latest packet went out.
    pub worst_delay: Duration,
}

impl Outlet {
    /// Opens the socket of a stream; `source_port` 0 lets the system choose.
    ///
    /// # Errors
    /// When the source port is taken or the receiver cannot be reached.
    pub fn open(
        target: SocketAddr,
        source_port: u16,
        packets: Box<dyn Iterator<Item = Packet> + Send>,
    ) -> io::Result<Self> {
        let local = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, source_port).into(),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, source_port)),
        };
        let socket = UdpSocket::bind(local)?;
        // Connected, so that the kernel reports a port on which nobody listens.
        socket.connect(target)?;
        Ok(Self {
            socket,
            packets: packets.peekable(),
            sent: Sent::default(),
        })
    }

    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        // The error is about an earlier packet; this one has not been sent yet.
        for _ in 0..2 {
            match self.socket.send(&packet.bytes) {
                Ok(length) => {
                    self.sent.packets += 1;
                    self.sent.bytes += length as u64;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.sent.refused += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sends all streams on one clock; `speed` 1 is real time, 2 twice as fast, 0 without waiting.
///
/// Each packet is due at a fixed time after the start, so nothing drifts. Returns when the last is
/// sent, with what each stream came to.
///
/// # Errors
/// When a socket fails.
pub fn pump(outlets: Vec<Outlet>, speed: f64) -> io::Result<Vec<Sent>> {
    let start = Instant::now();
    let mut outlets = outlets;
    let mut queue: BinaryHeap<_> = (0..outlets.len())
        .filter_map(|i| Some(Reverse((outlets[i].packets.peek()?.due, i))))
        .collect();
    while let Some(Reverse((due, i))) = queue.pop() {
        let outlet = &mut outlets[i];
        let Some(packet) = outlet.packets.next() else {
            continue;
        };
        if speed > 0.0 {
            let delay = wait_until(start + due.div_f64(speed));
            outlet.sent.worst_delay = outlet.sent.worst_delay.max(delay);
        }
        outlet.send(&packet)?;
        if let Some(next) = outlet.packets.peek() {
            queue.push(Reverse((next.due, i)));
        }
    }
    Ok(outlets.into_iter().map(|outlet| outlet.sent).collect())
}

/// Waits, and says how late it became.
pub(super) fn wait_until(due: Instant) -> Duration {
    loop {
        let now = Instant::now();
        let Some(wait) = due
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
        else {
            return now.saturating_duration_since(due);
        };
        std::thread::sleep(wait);
    }
}
