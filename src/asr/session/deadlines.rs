//! The deadlines of a session, one for each silence of the peer.

use std::time::Instant;

use crate::asr::failure::Silence;

/// The deadlines of a session; absent ones are not running.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    /// START must be answered.
    pub(super) start: Option<Instant>,
    /// END must be answered.
    pub(super) end: Option<Instant>,
    /// The peer must have taken what was written.
    pub(super) write: Option<Instant>,
    /// The peer must have answered a ping.
    pub(super) pong: Option<Instant>,
    /// The peer has been silent for long enough to be pinged.
    pub(super) ping: Option<Instant>,
}

impl Deadlines {
    /// The first of them.
    pub(super) fn next(&self) -> Option<Instant> {
        let all = [self.start, self.end, self.write, self.pong, self.ping];
        all.into_iter().flatten().min()
    }

    /// What the peer has been silent about for too long.
    pub(super) fn broken(&self, now: Instant) -> Option<Silence> {
        [
            (self.write, Silence::Write),
            (self.start, Silence::Start),
            (self.pong, Silence::Pong),
            (self.end, Silence::End),
        ]
        .into_iter()
        .find_map(|(due, silence)| due.filter(|&due| due <= now).map(|_| silence))
    }
}
