//! Receiver reports: what a leg tells its sender of how it is heard (RFC 3550 §6.4.2).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::media::Ssrc;
use crate::media::receiver::{Receiver, RtcpPath, receiver_report};

/// How often a report is sent: the minimum that RFC 3550 §6.2 recommends.
const INTERVAL: Duration = Duration::from_secs(5);

/// Names this end to the sender (RFC 3550 §6.5.1).
const CNAME: &str = "callscribe";

/// A report on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it goes.
    pub to: SocketAddr,
    /// Whether it leaves from the port of the stream (RFC 5761), not from the one after it.
    pub is_muxed: bool,
    /// The compound packet.
    pub packet: Vec<u8>,
}

/// The reports of one leg.
#[derive(Clone, Debug)]
pub struct Feedback {
    reporter: Ssrc,
    next: Option<Instant>,
}

impl Feedback {
    /// Of the leg of that number in the call of that id; they name the reporter, so that it needs
    /// no dice.
    pub fn new(call_id: &str, channel: u8) -> Self {
        let mut hasher = DefaultHasher::new();
        (call_id, channel).hash(&mut hasher);
        let [.., a, b, c, d] = hasher.finish().to_be_bytes();
        Self {
            reporter: Ssrc(u32::from_be_bytes([a, b, c, d])),
            next: None,
        }
    }

    /// The leg is heard: the first report is due an interval later.
    pub fn begin(&mut self, now: Instant) {
        self.next.get_or_insert(now + INTERVAL);
    }

    /// The sender has left: it needs no report any more.
    pub const fn end(&mut self) {
        self.next = None;
    }

    /// Goes on where another process left off.
    pub const fn resume(&mut self, next: Option<Instant>) {
        self.next = next;
    }

    /// When a report is due.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The report, if it is due.
    pub fn handle_timeout(&mut self, receiver: &mut Receiver, now: Instant) -> Option<Report> {
        self.next.filter(|&due| now >= due)?;
        self.next = Some(now + INTERVAL);
        let (to, is_muxed) = match receiver.rtcp_path()? {
            RtcpPath::Muxed(address) => (address, true),
            RtcpPath::Apart(address) => (address, false),
        };
        let block = receiver.take_report(now)?;
        let packet = receiver_report(self.reporter, &block, CNAME);
        Some(Report {
            to,
            is_muxed,
            packet,
        })
    }
}
