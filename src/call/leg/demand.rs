//! How soon a leg wants what comes to its port next.

use super::Leg;

/// How soon what comes to a port next is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Whenever it suits: nobody speaks there, or the next packets only add to what is being said.
    Seldom,
    /// Soon: they may begin or end an utterance, or complete what goes to the recogniser.
    Often,
    /// Soon, and all that there is: something has a deadline, which a packet that is there must not miss.
    All,
}

impl Leg {
    /// How soon the next datagram is wanted.
    pub fn demand(&self) -> Demand {
        if self.receiver.poll_timeout().is_some() {
            Demand::All
        } else if self.segmenter.is_pressing(self.settings.fragment) {
            Demand::Often
        } else {
            Demand::Seldom
        }
    }
}
