//! Hears what has come in a tick, and has it taped where it belongs to a call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::intake::Listener;
use crate::call::switchboard::{GROUP, PortIndex, Switchboard};
use crate::io::tape::Tape;

pub(super) struct Ear<'a> {
    pub(super) switchboard: &'a mut Switchboard,
    pub(super) tape: Option<&'a mut Tape>,
    pub(super) now: Instant,
    /// The same on the monotonic clock, for the tape.
    pub(super) tick: Duration,
}

impl Listener for Ear<'_> {
    fn anticipate(&self, ports: [Option<PortIndex>; GROUP]) {
        self.switchboard.anticipate(ports);
    }

    fn take(&mut self, port: PortIndex, number: u16, source: SocketAddr, bytes: &[u8]) {
        self.switchboard
            .handle_datagram(port, source, bytes, self.now);
        if let Some(tape) = &mut self.tape
            && self.switchboard.call_on(port).is_some()
        {
            tape.note(self.tick, number, source, bytes);
        }
    }
}
