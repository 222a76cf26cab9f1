//! How soon a leg wants what comes to its port next.

use std::time::Duration;

use super::Leg;

/// How soon what comes to a port next is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// At once, and all that there is: something has a deadline, which a packet that is there must not miss.
    All,
    /// Before so much time has passed: after it, a packet may begin or end an utterance, or complete what goes to the
    /// recogniser.
    Within(Duration),
}

impl Demand {
    /// Of a leg of which nothing is expected. Its next utterance begins so much later at worst, and loses nothing.
    pub const LEAST: Self = Self::Within(Duration::from_millis(80));
}

impl Leg {
    /// How soon the next datagram is wanted.
    pub fn demand(&self) -> Demand {
        if self.receiver.poll_timeout().is_some() {
            Demand::All
        } else {
            let uneventful = self.segmenter.uneventful(self.settings.fragment);
            // A sender that stops is told by nothing but the time, and must not be taken for one that was not read.
            let hangover = self.settings.speech.of(self.spec.role).hangover();
            Demand::Within(uneventful.as_duration().min(hangover / 4))
        }
    }
}
