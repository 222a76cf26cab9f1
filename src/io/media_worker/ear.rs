//! Hears what has come in a tick, and has it taped where it belongs to a call.

use std::io;
use std::time::Instant;

use super::Worker;
use super::intake::{Datagram, Intake, Interval, Listener};
use crate::call::CallKey;
use crate::call::leg::Demand;
use crate::call::switchboard::{GROUP, PortIndex, Switchboard};
use crate::io::clock;
use crate::io::tape::Tape;

struct Ear<'a> {
    switchboard: &'a mut Switchboard,
    tape: Option<&'a mut Tape>,
    now: Instant,
}

impl Worker {
    /// Takes what has come since the last ticks.
    pub(super) fn receive(&mut self, now: Instant) -> io::Result<()> {
        self.interval = self.interval.next(now, clock::time_of_day());
        self.listen(|intake, interval, ear| intake.drain(interval, ear))
    }

    /// Takes all that has come for a call: what happens to it next happens after that.
    pub(super) fn hear_out(&mut self, call: CallKey) {
        let ports: Vec<u16> = self.switchboard.ports_of(call).collect();
        self.listen(|intake, interval, ear| {
            for port in ports {
                intake.empty(port, interval, ear);
            }
        });
    }

    /// Has something heard. It is on the tape before anything comes of it.
    fn listen<T>(&mut self, hear: impl FnOnce(&mut Intake, &Interval, &mut Ear<'_>) -> T) -> T {
        let tick = clock::monotonic();
        let mut ear = Ear {
            switchboard: &mut self.switchboard,
            tape: self.tape.as_mut(),
            now: self.interval.until(),
        };
        let heard = hear(&mut self.intake, &self.interval, &mut ear);
        if let Some(tape) = &mut self.tape {
            tape.write(tick);
        }
        heard
    }
}

impl Listener for Ear<'_> {
    fn anticipate(&self, ports: [Option<PortIndex>; GROUP]) {
        self.switchboard.anticipate(ports);
    }

    fn demand(&self, port: PortIndex) -> Demand {
        self.switchboard.demand(port)
    }

    fn take(&mut self, datagram: &Datagram<'_>) {
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
            tape.note(age, number, source, bytes);
        }
    }
}
