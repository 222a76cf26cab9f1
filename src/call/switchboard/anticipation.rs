//! Legs are fetched into the processor's cache before their packets are taken.

use std::hint::black_box;

use super::{PortIndex, Switchboard};
use crate::call::leg::Leg;
use crate::call::port::PortUse;

/// How many ports are looked at at a time: enough for their fetches to overlap, and few enough that what they brought is
/// still there when it is the last one's turn. Other numbers were not measured.
pub const GROUP: usize = 16;

impl Switchboard {
    /// Datagrams are about to be taken from these ports. With a thousand legs hardly anything of one is in the processor's
    /// cache when its next packet comes; here a little of everything is read that the packets will need, so that it is
    /// fetched for all of them at a time and not while each waits for it.
    pub fn anticipate(&self, ports: [Option<PortIndex>; GROUP]) {
        let uses = ports.map(|port| self.ports.get(port?.0)?.taken_by);
        let legs = uses.map(|taken| match taken? {
            PortUse::Leg { call, channel } => self.in_slot(call.slot as usize)?.leg(channel),
            PortUse::Rtcp { .. } => None,
        });
        black_box(legs.map(|leg| leg.map_or(0, Leg::touch)));
        black_box(legs.map(|leg| leg.map_or(0, Leg::touch_beyond)));
    }
}
