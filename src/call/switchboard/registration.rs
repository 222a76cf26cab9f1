//! How a call gets its ports before anything is heard of it.

use std::sync::Arc;
use std::time::Instant;

use super::{PortIndex, Switchboard};
use crate::call::CallKey;
use crate::call::conversation::CallSpec;
use crate::call::overload::Refusal;

/// Why a call could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The port belongs to another call.
    #[error("port {0} is in use by another call")]
    PortInUse(u16),
    /// There is a call of that id already.
    #[error("a call with id {0:?} exists already")]
    DuplicateId(Arc<str>),
    /// There are not enough ports for it.
    #[error(
        "{needed} ports are needed on one worker and {free} are free; ports rest for a while after a call, and \
         rtp.port-range may be widened"
    )]
    NoFreePort {
        /// Legs of the call.
        needed: usize,
        /// Ports that could be given out.
        free: usize,
    },
    /// There would be too much to do.
    #[error("{0}")]
    Refused(Refusal),
    /// No call begins any more.
    #[error("the daemon is stopping")]
    Closed,
}

impl Switchboard {
    /// Registers a call: its ports are its own until it ends.
    ///
    /// # Errors
    /// When a port is taken or rests, when the id is taken, when there is too much to do, or when no
    /// call begins any more.
    pub fn register(&mut self, spec: CallSpec, now: Instant) -> Result<CallKey, RegisterError> {
        if self.is_closed {
            return Err(RegisterError::Closed);
        }
        if self.find(&spec.id).is_some() {
            return Err(RegisterError::DuplicateId(spec.id));
        }
        if let Some(refusal) = self.overload.refusal(self.legs, spec.legs.len()) {
            self.refused_calls += 1;
            return Err(RegisterError::Refused(refusal));
        }
        for leg in &spec.legs {
            let port = &self.ports[leg.port.0];
            if !port.is_free(now) {
                return Err(RegisterError::PortInUse(port.number));
            }
        }
        Ok(self.plug_in(spec, now))
    }

    /// Finds ports for a call of so many legs, those first that were given out longest ago.
    ///
    /// # Errors
    /// When there are not enough.
    pub fn find_ports(
        &mut self,
        legs: usize,
        now: Instant,
    ) -> Result<Vec<PortIndex>, RegisterError> {
        let all = self.ports.len();
        let rotation = (self.next_port..all).chain(0..self.next_port.min(all));
        let free = rotation.filter(|&port| self.may_be_given_out(port, now));
        let found: Vec<PortIndex> = free.take(legs).map(PortIndex).collect();
        if found.len() < legs {
            let (needed, free) = (legs, found.len());
            return Err(RegisterError::NoFreePort { needed, free });
        }
        self.next_port = found.last().map_or(0, |last| last.0 + 1);
        Ok(found)
    }

    /// How many ports could be given out.
    pub fn free_ports(&self, now: Instant) -> usize {
        let ports = 0..self.ports.len();
        ports
            .filter(|&port| self.may_be_given_out(port, now))
            .count()
    }

    /// A stream gets an even port that no line owns, with the next one left to its RTCP (RFC 3550
    /// §11).
    fn may_be_given_out(&self, index: usize, now: Instant) -> bool {
        let Some(port) = self.ports.get(index) else {
            return false;
        };
        let above = self.ports.get(index + 1);
        let is_above_unused = above
            .filter(|above| above.number == port.number + 1)
            .is_none_or(|above| above.line.is_none() && above.taken_by.is_none());
        let is_quiet = port.is_free(now) && !port.is_disturbed(now);
        port.number % 2 == 0 && port.line.is_none() && is_quiet && is_above_unused
    }
}
