//! What other threads ask of a worker, and what it answers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Worker, WorkerFigures, plug};
use crate::call::PartKey;
use crate::call::conversation::{Call, CallUpdate, UpdateError};
use crate::call::registration::Registration;
use crate::call::session::SessionSnapshot;
use crate::call::snapshot::CallSnapshot;
use crate::call::switchboard::{RegisterError, Settings};
use crate::config::file;
use crate::event::{Body, CallEnded, EndReason, Event};
use crate::io::clock;

/// Orders obeyed in one tick; the rest waits for the next.
const ORDERS_PER_TICK: usize = 64;

/// What a worker is told from other threads. A reply that is dropped means that there is no such
/// call.
#[derive(Debug)]
pub enum Command {
    /// Say what there is.
    Survey {
        /// A call that may be here.
        id: Arc<str>,
        /// The answer.
        reply: oneshot::Sender<Survey>,
    },
    /// Give a call ports and expect its packets.
    Register {
        /// The call.
        registration: Registration,
        /// What it looks like now. If nobody waits for it any more, the call is ended at once.
        reply: oneshot::Sender<Result<CallSnapshot, RegisterError>>,
    },
    /// Take note of what was learned late.
    Update {
        /// The call.
        id: Arc<str>,
        /// What was learned.
        update: CallUpdate,
        /// What it looks like now.
        reply: oneshot::Sender<Result<CallSnapshot, UpdateError>>,
    },
    /// End a call.
    End {
        /// The call.
        id: Arc<str>,
        /// Its last line, when its last words have their text.
        reply: oneshot::Sender<CallEnded>,
    },
    /// Show a call.
    Describe {
        /// The call.
        id: Arc<str>,
        /// What it looks like.
        reply: oneshot::Sender<CallSnapshot>,
    },
    /// Show every call.
    List {
        /// What they look like.
        reply: oneshot::Sender<Vec<CallSnapshot>>,
    },
    /// Go on with other settings.
    Adopt {
        /// What calls have in common.
        settings: Arc<Settings>,
        /// The lines of the configuration; those of other workers are passed over.
        lines: Vec<file::Line>,
    },
    /// Stop at once; another process goes on with the calls.
    HandOver,
    /// Show what there is and what was done, in sums.
    Measure {
        /// The figures.
        reply: oneshot::Sender<WorkerFigures>,
    },
    /// End every call, begin none, and stop when the last words have their text, or at the
    /// deadline.
    Drain {
        /// When to give up on what is still being recognised.
        deadline: Instant,
    },
}

/// What a worker has to say before a call is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whether it has the call.
    pub has_call: bool,
    /// Ports that it could give out.
    pub free_ports: usize,
    /// Whether it takes calls.
    pub takes_calls: bool,
}

/// Who waits for the end of which call.
#[derive(Debug, Default)]
pub(super) struct Farewells(Vec<(Arc<str>, oneshot::Sender<CallEnded>)>);

impl Farewells {
    /// Tells those who wait for it that a call has ended.
    pub(super) fn note(&mut self, event: &Event) {
        let (Body::CallEnded(ended), Some(id)) = (&event.body, &event.call_id) else {
            return;
        };
        for (_, reply) in self.0.extract_if(.., |(waited_for, _)| waited_for == id) {
            // Who has stopped waiting reads it among the lines.
            drop(reply.send(ended.clone()));
        }
    }

    fn wait_for(&mut self, id: Arc<str>, reply: oneshot::Sender<CallEnded>) {
        self.0.retain(|(_, reply)| !reply.is_closed());
        self.0.push((id, reply));
    }
}

impl Worker {
    pub(super) fn take_orders(&mut self, now: Instant) {
        for _ in 0..ORDERS_PER_TICK {
            match self.orders.try_recv() {
                Ok(order) => self.obey(order, now),
                Err(_) => return,
            }
        }
    }

    /// Whoever ordered may have gone: an answer that nobody takes is dropped.
    fn obey(&mut self, order: Command, now: Instant) {
        match order {
            Command::Survey { id, reply } => drop(reply.send(self.survey(&id, now))),
            Command::Register {
                registration,
                reply,
            } => {
                let id = Arc::clone(&registration.id);
                if reply.send(self.register(registration, now)).is_err() {
                    self.end(&id, now);
                }
            }
            Command::Update { id, update, reply } => {
                if let Some(outcome) = self.update(&id, update, now) {
                    drop(reply.send(outcome));
                }
            }
            Command::End { id, reply } => {
                if self.switchboard.find(&id).is_some() {
                    self.farewells.wait_for(Arc::clone(&id), reply);
                    self.end(&id, now);
                }
            }
            Command::Describe { id, reply } => {
                if let Some(call) = self.switchboard.find(&id) {
                    drop(reply.send(self.show(call, now)));
                }
            }
            Command::List { reply } => {
                let calls = self.switchboard.calls();
                drop(reply.send(calls.map(|call| self.show(call, now)).collect()));
            }
            Command::Adopt { settings, lines } => {
                let lines = lines.iter().filter_map(|line| plug(line, &self.intake));
                self.switchboard.adopt(settings, lines.collect());
            }
            Command::HandOver => self.is_handing_over = true,
            Command::Measure { reply } => drop(reply.send(self.measure(now))),
            Command::Drain { deadline } => {
                self.draining = Some(deadline);
                let calls: Vec<_> = self.switchboard.calls().map(Call::key).collect();
                calls.into_iter().for_each(|call| self.hear_out(call));
                self.switchboard.handle_close(EndReason::Shutdown, now);
            }
        }
    }

    fn measure(&self, now: Instant) -> WorkerFigures {
        WorkerFigures {
            census: self.switchboard.census(now),
            meter: self.meter.clone(),
            busy: clock::thread_time(),
            load: self.switchboard.overload().load(),
            shedding: self.switchboard.overload().shedding(),
            delays: self.recognitions.delays(),
        }
    }

    fn survey(&self, id: &str, now: Instant) -> Survey {
        Survey {
            has_call: self.switchboard.find(id).is_some(),
            free_ports: self.switchboard.free_ports(now),
            takes_calls: self.switchboard.takes_calls(),
        }
    }

    fn register(
        &mut self,
        registration: Registration,
        now: Instant,
    ) -> Result<CallSnapshot, RegisterError> {
        let id = Arc::clone(&registration.id);
        let ports = self.switchboard.find_ports(registration.legs.len(), now)?;
        // What was sent to a port before it was given to a call is not of that call.
        let numbers = ports
            .iter()
            .filter_map(|&port| self.switchboard.port_number(port));
        numbers.for_each(|number| self.intake.drop_queued(number));
        let idle_timeout = self.switchboard.settings().registered_idle_timeout;
        let spec = registration.on_ports(&ports, idle_timeout);
        self.switchboard.register(spec, now)?;
        let call = self.switchboard.find(&id).map(|call| self.show(call, now));
        call.ok_or(RegisterError::Closed)
    }

    fn update(
        &mut self,
        id: &str,
        update: CallUpdate,
        now: Instant,
    ) -> Option<Result<CallSnapshot, UpdateError>> {
        let call = self.switchboard.find(id)?;
        let key = call.key();
        if let Err(refused) = call.check_update(&update) {
            return Some(Err(refused));
        }
        self.switchboard.handle_update(key, update, now);
        self.switchboard
            .call(key)
            .map(|call| Ok(self.show(call, now)))
    }

    /// What a call looks like, with its sessions.
    fn show(&self, call: &Call, now: Instant) -> CallSnapshot {
        let mut shown = call.snapshot(now);
        for leg in &mut shown.legs {
            let parts = PartKey::of_leg(call.key(), leg.channel.channel);
            leg.parts_spooled = self.spooling.waiting(parts.clone());
            let spooled = (leg.parts_spooled > 0).then_some(SessionSnapshot::SPOOLED);
            let session = self.recognitions.session(parts, now).or(spooled);
            leg.session = session.or(leg.session.take());
        }
        shown
    }

    fn end(&mut self, id: &str, now: Instant) {
        if let Some(key) = self.switchboard.find(id).map(Call::key) {
            self.hear_out(key);
            self.switchboard.handle_end(key, EndReason::Hangup, now);
        }
    }
}
