//! What is refused, and how that is told, while there is too much to do.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::Switchboard;
use crate::call::conversation::CallSpec;
use crate::call::overload::{Overload, Refusal, Shedding};

/// The code of the line that says that a worker sheds nothing any more.
pub const OVERLOAD_OVER: &str = "overload_over";

impl Switchboard {
    /// It is one of so many, which share what the settings allow to all.
    pub fn share_with(&mut self, workers: NonZeroUsize) {
        self.overload = Overload::new(self.settings.overload, workers);
    }

    /// Whether a call of one leg would not be too much.
    pub fn takes_calls(&self) -> bool {
        self.overload.refusal(self.legs, 1).is_none()
    }

    /// The worker's tick began so late.
    pub fn handle_tick(&mut self, lag: Duration) {
        self.overload.handle_tick(lag);
    }

    /// The worker's thread has used so much time of a core so far; asked for when
    /// [`Overload::is_due`]. A change of what is shed is told.
    pub fn handle_usage(&mut self, used: Duration, now: Instant) {
        let Some(shedding) = self.overload.handle_usage(used, now) else {
            return;
        };
        let percent = self.overload.load().percent();
        let code = match shedding {
            Shedding::Nothing => OVERLOAD_OVER,
            Shedding::Calls | Shedding::Speech => "overload",
        };
        let message = format!("a media worker is at {percent} % of its capacity: {shedding}");
        tracing::warn!("{message}");
        self.outbox.publish_error(code, message, now);
    }

    /// A stream begins no call. It is counted and told once while it goes on.
    pub(super) fn refuse(
        &mut self,
        spec: &CallSpec,
        source: SocketAddr,
        port: u16,
        refusal: Refusal,
        now: Instant,
    ) {
        let legs = spec.legs.iter();
        let told = legs.filter(|leg| self.ports[leg.port.0].note_refused(now));
        if told.count() == spec.legs.len() {
            self.refused_calls += 1;
            let message = format!("what {source} sends to port {port} begins no call: {refusal}");
            self.outbox.publish_error("call_refused", message, now);
        }
    }
}
