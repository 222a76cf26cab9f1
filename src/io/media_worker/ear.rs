//! Hears what has come in a tick, and has it taped where it belongs to a call.

use std::time::{Duration, Instant};

use super::intake::{Datagram, Listener};
use crate::call::switchboard::{Demand, GROUP, PortIndex, Switchboard};
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

    fn take(&mut self, datagram: &Datagram<'_>) -> Demand {
        let &Datagram {
            index,
            number,
            source,
            bytes,
            at,
        } = datagram;
        self.switchboard.handle_datagram(index, source, bytes, at);
        if let Some(tape) = &mut self.tape
            && self.switchboard.call_on(index).is_some()
        {
            let age = self.now.saturating_duration_since(at);
            tape.note((self.tick, age), number, source, bytes);
        }
        self.switchboard.demand(index)
    }
}
