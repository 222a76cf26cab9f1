//! What a worker wants to know of its ports before it reads them.

use std::hint::black_box;

use super::{News, PortIndex, Switchboard};
use crate::call::CallKey;
use crate::call::conversation::Call;
use crate::call::leg::{Demand, Leg};
use crate::call::port::{Port, PortUse};

/// How many ports are looked at at a time: enough for their fetches to overlap, and few enough that what they brought is
/// still there when it is the last one's turn. Other numbers were not measured.
pub const GROUP: usize = 16;

impl Switchboard {
    /// How soon what comes to a port next is wanted.
    pub fn demand(&self, port: PortIndex) -> Demand {
        self.leg_on(port).map_or(Demand::LEAST, Leg::demand)
    }

    /// The ports that a call hears, streams before their RTCP.
    pub fn ports_of(&self, key: CallKey) -> impl Iterator<Item = u16> {
        let is_of_call = move |taken: PortUse| match taken {
            PortUse::Leg { call, .. } | PortUse::Rtcp { call, .. } => call == key,
        };
        let ports = self.ports.iter();
        ports
            .filter(move |port| port.taken_by.is_some_and(is_of_call))
            .map(|port| port.number)
    }

    /// Datagrams are about to be taken from these ports. With a thousand legs hardly anything of one is in the processor's
    /// cache when its next packet comes; here a little of everything is read that the packets will need, so that it is
    /// fetched for all of them at a time and not while each waits for it.
    pub fn anticipate(&self, ports: [Option<PortIndex>; GROUP]) {
        let ports = ports.map(|port| self.ports.get(port?.0));
        black_box(ports.map(|port| port.map_or(0, Port::touch)));
        let uses = ports.map(|port| port?.taken_by);
        black_box(uses.map(|taken| taken.map_or(0, |taken| self.touch_call(taken))));
        let legs = uses.map(|taken| self.leg_of(taken?));
        black_box(legs.map(|leg| leg.map_or(0, Leg::touch)));
        black_box(legs.map(|leg| leg.map_or(0, Leg::touch_beyond)));
    }

    /// Reads a little of what the call will need of which this is a leg; the sum means nothing.
    fn touch_call(&self, taken: PortUse) -> u64 {
        let (PortUse::Leg { call, .. } | PortUse::Rtcp { call, .. }) = taken;
        let slot = call.slot as usize;
        let has_deadline = self.deadlines.get(slot).is_some_and(Option::is_some);
        let has_news = self.news.get(slot).is_some_and(|&news| news > News::None);
        let call = self.in_slot(slot).map_or(0, Call::touch);
        call + u64::from(has_deadline) + u64::from(has_news)
    }

    fn leg_on(&self, port: PortIndex) -> Option<&Leg> {
        self.leg_of(self.ports.get(port.0)?.taken_by?)
    }

    fn leg_of(&self, taken: PortUse) -> Option<&Leg> {
        match taken {
            PortUse::Leg { call, channel } => self.in_slot(call.slot as usize)?.leg(channel),
            PortUse::Rtcp { .. } => None,
        }
    }
}
