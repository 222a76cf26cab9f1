//! A call: its legs on one clock, from its first packet to the text of its last words.

mod saved;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::health::CHECK_INTERVAL;
use crate::call::leg::{self, Leg, LegSpec};
use crate::call::part::Outcome;
use crate::call::switchboard::Settings;
use crate::call::{CallKey, Outbox, PartKey};
use crate::event::{
    Body, CallEnded, CallStarted, CallUpdated, Direction, EndReason, Metadata, Role, RoleSource,
    rfc3339,
};
use crate::media::CallClock;
use crate::media::receiver::ExpectedSource;
pub use saved::{SavedCall, SavedCallError};

/// What is known of a call before its first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSpec {
    /// Names the call to readers.
    pub id: Arc<str>,
    /// Its legs, in the order of their channel numbers.
    pub legs: Vec<LegSpec>,
    /// Calling party, if known.
    pub from: Option<String>,
    /// Called party, if known.
    pub to: Option<String>,
    /// Who called whom, if known.
    pub direction: Option<Direction>,
    /// Passed on to readers untouched.
    pub metadata: Metadata,
    /// Without a packet for so long, the call ends.
    pub idle_timeout: Duration,
    /// Whether somebody will say when it ends. RTCP BYE then ends nothing: it may be a hold or a transfer.
    pub is_registered: bool,
}

/// What was learned late about a call; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUpdate {
    /// Calling party.
    pub from: Option<String>,
    /// Called party.
    pub to: Option<String>,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// Keys to add to the metadata, or to replace in it.
    pub metadata: Metadata,
    /// Roles by channel number.
    pub roles: Vec<(u8, Role)>,
    /// Who may send a leg, by channel number.
    pub expected_sources: Vec<(u8, ExpectedSource)>,
}

/// Why a call could not be updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The update speaks of a leg that the call does not have.
    #[error("the call has no channel {channel}, only {legs} legs from 0 on")]
    NoSuchLeg {
        /// The channel.
        channel: u8,
        /// Legs of the call.
        legs: usize,
    },
}

/// A call.
pub struct Call {
    key: CallKey,
    spec: CallSpec,
    legs: Vec<Leg>,
    clock: CallClock,
    expected_since: Instant,
    /// The silence goes back to here, unless something was heard since; no time counts in which nobody listened.
    silent_since: Instant,
    phase: Phase,
    next_check: Instant,
}

impl CallUpdate {
    /// Whether nothing of it goes into a line: who may send a leg is not told.
    fn says_nothing_to_readers(&self) -> bool {
        let is_about_call = self.from.is_some() || self.to.is_some() || self.direction.is_some();
        !is_about_call && self.metadata.is_empty() && self.roles.is_empty()
    }
}

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// Nothing has been heard yet.
    Expected,
    /// It goes on.
    Active,
    /// Nothing more is heard; the last words are being recognised.
    Ending(EndReason),
    /// Everything has been said.
    Ended,
}

impl Call {
    /// A call that waits for its first packet.
    pub fn new(
        key: CallKey,
        spec: CallSpec,
        local_ports: Vec<u16>,
        settings: &Arc<Settings>,
        now: Instant,
    ) -> Self {
        let leg = |(channel, (leg, port)): (u8, (&LegSpec, u16))| {
            let context = leg::Context {
                call: key,
                call_id: Arc::clone(&spec.id),
                channel,
                port,
            };
            Leg::new(context, leg.clone(), settings, now)
        };
        Self {
            key,
            legs: (0_u8..)
                .zip(spec.legs.iter().zip(local_ports))
                .map(leg)
                .collect(),
            spec,
            clock: CallClock::default(),
            expected_since: now,
            silent_since: now,
            phase: Phase::Expected,
            next_check: now + CHECK_INTERVAL,
        }
    }

    /// A leg by its number.
    pub fn leg(&self, channel: u8) -> Option<&Leg> {
        self.legs.get(usize::from(channel))
    }

    /// Reads a little of what the next datagram will need; the sum means nothing.
    pub fn touch(&self) -> u64 {
        let is_active = u64::from(self.phase == Phase::Active);
        let is_young = u64::from(self.next_check == self.expected_since);
        let patience = self.spec.idle_timeout.as_secs();
        is_active + is_young + self.legs.len() as u64 + patience
    }

    /// A datagram arrived for a leg.
    pub fn handle_datagram(
        &mut self,
        channel: u8,
        source: SocketAddr,
        bytes: &[u8],
        outbox: &mut Outbox,
        now: Instant,
    ) {
        if self.is_over() {
            return;
        }
        let Some(leg) = self.legs.get_mut(usize::from(channel)) else {
            return;
        };
        let first_line = outbox.queue.len();
        leg.handle_datagram(source, bytes, &mut self.clock, outbox, now);
        self.note_start(first_line, outbox, now);
        self.note_farewell(outbox, now);
    }

    /// RTCP arrived on a port of its own for a leg.
    pub fn handle_rtcp(
        &mut self,
        channel: u8,
        source: SocketAddr,
        bytes: &[u8],
        outbox: &mut Outbox,
        now: Instant,
    ) {
        if self.is_over() {
            return;
        }
        let Some(leg) = self.legs.get_mut(usize::from(channel)) else {
            return;
        };
        leg.handle_rtcp(source, bytes, outbox, now);
        self.note_farewell(outbox, now);
    }

    /// Time has passed; tells whether anything came of it.
    pub fn handle_timeout(&mut self, outbox: &mut Outbox, now: Instant) -> bool {
        if self.is_over() {
            return false;
        }
        let outputs_before = outbox.queue.len();
        let mut went_on = false;
        for leg in &mut self.legs {
            if leg.poll_timeout().is_some_and(|deadline| now >= deadline) {
                leg.handle_timeout(outbox, now);
                went_on = true;
            }
        }
        if now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            self.check_health(outbox, now);
        }
        if now >= self.idle_deadline() {
            self.handle_end(EndReason::IdleTimeout, outbox, now);
        }
        went_on || outbox.queue.len() > outputs_before
    }

    /// The call is over: what is open is closed, and `call_ended` follows when its last words have their text.
    pub fn handle_end(&mut self, reason: EndReason, outbox: &mut Outbox, now: Instant) {
        if self.is_over() {
            return;
        }
        self.phase = Phase::Ending(reason);
        for leg in &mut self.legs {
            leg.handle_end(outbox, now);
        }
        self.finish_if_settled(outbox, now);
    }

    /// A part has its outcome.
    pub fn handle_outcome(
        &mut self,
        key: PartKey,
        outcome: Outcome,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        if let Some(leg) = self.legs.get_mut(usize::from(key.channel)) {
            leg.handle_outcome((key.utterance, key.part), outcome, outbox, now);
        }
        self.finish_if_settled(outbox, now);
    }

    /// The audio of a part waits on disk, for the recogniser is away.
    pub fn handle_postponed(&mut self, key: PartKey) {
        if let Some(leg) = self.legs.get_mut(usize::from(key.channel)) {
            leg.handle_postponed((key.utterance, key.part));
        }
    }

    /// The recogniser has a first guess at an open part.
    pub fn handle_interim(
        &mut self,
        key: PartKey,
        text: String,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        if let Some(leg) = self.legs.get_mut(usize::from(key.channel)) {
            leg.handle_interim((key.utterance, key.part), text, outbox, now);
        }
    }

    /// Whether every leg that the update speaks of is there.
    ///
    /// # Errors
    /// When one is not.
    pub fn check_update(&self, update: &CallUpdate) -> Result<(), UpdateError> {
        let roles = update.roles.iter().map(|&(channel, _)| channel);
        let sources = update.expected_sources.iter().map(|&(channel, _)| channel);
        let legs = self.legs.len();
        match roles
            .chain(sources)
            .find(|&channel| usize::from(channel) >= legs)
        {
            Some(channel) => Err(UpdateError::NoSuchLeg { channel, legs }),
            None => Ok(()),
        }
    }

    /// Something was learned late; what is said of legs that are not there is ignored.
    pub fn handle_update(&mut self, update: CallUpdate, outbox: &mut Outbox, now: Instant) {
        for &(channel, expected) in &update.expected_sources {
            if let Some(leg) = self.legs.get_mut(usize::from(channel)) {
                leg.set_expected_source(expected);
            }
        }
        if update.says_nothing_to_readers() {
            return;
        }
        let has_metadata = !update.metadata.is_empty();
        let spec = &mut self.spec;
        spec.from = update.from.clone().or(spec.from.take());
        spec.to = update.to.clone().or(spec.to.take());
        spec.direction = update.direction.or(spec.direction);
        spec.metadata.extend(update.metadata);
        let mut channels = Vec::new();
        for (channel, role) in update.roles {
            if let Some(leg) = self.legs.get_mut(usize::from(channel)) {
                leg.set_role(Some(role), RoleSource::Registered);
                channels.push(leg.describe());
            }
        }
        if self.phase == Phase::Active {
            let (from, to, direction) = (update.from, update.to, update.direction);
            let metadata = has_metadata.then(|| self.spec.metadata.clone());
            let body = CallUpdated {
                channels,
                from,
                to,
                direction,
                metadata,
            };
            outbox.publish(&self.spec.id, Body::CallUpdated(body), now);
        }
    }

    /// Goes on with other settings.
    pub fn adopt(&mut self, settings: &Arc<Settings>) {
        self.spec.idle_timeout = match self.spec.is_registered {
            true => settings.registered_idle_timeout,
            false => settings.idle_timeout,
        };
        self.legs.iter_mut().for_each(|leg| leg.adopt(settings));
    }

    /// When [`Call::handle_timeout`] is due; `None` when it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let legs = self.legs.iter().filter_map(Leg::poll_timeout);
        legs.chain([self.idle_deadline(), self.next_check]).min()
    }

    /// Where the call is in its life.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether everything that was said so far has its text.
    pub fn is_settled(&self) -> bool {
        self.legs.iter().all(Leg::is_settled)
    }

    /// Whether it has ended and nothing is left but parts that wait on disk.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Ending(_)) && self.legs.iter().all(Leg::is_waiting)
    }

    /// The call's name within its worker.
    pub const fn key(&self) -> CallKey {
        self.key
    }

    /// What is known of it.
    pub const fn spec(&self) -> &CallSpec {
        &self.spec
    }

    /// Its legs, in the order of their channel numbers.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The clock of all its legs.
    pub const fn clock(&self) -> &CallClock {
        &self.clock
    }

    const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Ended)
    }

    fn idle_deadline(&self) -> Instant {
        self.silent_since() + self.spec.idle_timeout
    }

    fn silent_since(&self) -> Instant {
        let heard = self.legs.iter().filter_map(Leg::last_heard);
        heard.fold(self.silent_since, Instant::max)
    }

    /// The first accepted packet starts the call; its line goes before the lines of that packet.
    fn note_start(&mut self, first_line: usize, outbox: &mut Outbox, now: Instant) {
        if self.phase == Phase::Expected && self.clock.origin().is_some() {
            self.phase = Phase::Active;
            let lines_of_packet = outbox.queue.split_off(first_line);
            self.publish_started(self.clock.origin().unwrap_or(now), outbox, now);
            outbox.queue.extend(lines_of_packet);
        }
    }

    fn publish_started(&self, origin: Instant, outbox: &mut Outbox, now: Instant) {
        let body = CallStarted {
            started_at: rfc3339(outbox.wall.at(origin)),
            channels: self.legs.iter().map(Leg::describe).collect(),
            from: self.spec.from.clone(),
            to: self.spec.to.clone(),
            direction: self.spec.direction,
            metadata: self.spec.metadata.clone(),
        };
        outbox.publish(&self.spec.id, Body::CallStarted(body), now);
    }

    /// A call of which every heard leg has said BYE is over.
    fn note_farewell(&mut self, outbox: &mut Outbox, now: Instant) {
        let mut heard = self
            .legs
            .iter()
            .filter(|leg| leg.last_heard().is_some())
            .peekable();
        let is_left = heard.peek().is_some() && heard.all(Leg::has_sender_left);
        if is_left && !self.spec.is_registered {
            self.handle_end(EndReason::RtcpBye, outbox, now);
        }
    }

    fn check_health(&mut self, outbox: &mut Outbox, now: Instant) {
        let is_heard = |leg: &Leg| {
            let since = leg.last_heard().map(|at| now.saturating_duration_since(at));
            since.is_some_and(|since| since < 2 * CHECK_INTERVAL)
        };
        let heard = self.legs.iter().filter(|leg| is_heard(leg)).count();
        for leg in &mut self.legs {
            let others_heard = heard - usize::from(is_heard(leg));
            leg.check_health(others_heard > 0, outbox, now);
        }
    }

    fn finish_if_settled(&mut self, outbox: &mut Outbox, now: Instant) {
        let Phase::Ending(reason) = self.phase else {
            return;
        };
        if !self.is_settled() {
            return;
        }
        self.phase = Phase::Ended;
        if self.clock.origin().is_none() {
            self.publish_started(self.expected_since, outbox, now);
        }
        let body = CallEnded {
            reason,
            duration_ms: self
                .legs
                .iter()
                .map(|leg| leg.end_with_keys().as_ms())
                .max()
                .unwrap_or(0),
            coverage: self.legs.iter().filter_map(Leg::coverage).collect(),
        };
        outbox.publish(&self.spec.id, Body::CallEnded(body), now);
    }
}
