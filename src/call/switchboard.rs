//! The switchboard: which port carries which leg, and who may begin a call on a port that nobody registered.

mod anticipation;
mod refusal;
mod registration;
mod resumption;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::asr::Recognition;
use crate::call::census::Totals;
use crate::call::conversation::{Call, CallSpec, CallUpdate, Phase};
use crate::call::leg::LegSpec;
use crate::call::overload::{self, Overload};
use crate::call::part::Outcome;
use crate::call::port::{OldStream, Port, PortUse};
use crate::call::speech_settings::SpeechSettings;
use crate::call::stray::{StrayCause, Strays};
use crate::call::{CallKey, Outbox, Output, PartKey, WallClock};
use crate::event::{EndReason, GapReason, Metadata, Role, RoleSource};
use crate::media::Samples;
use crate::media::admission::{admission, foreign_sound, is_rtcp};
use crate::media::receiver::{self, ExpectedSource};
use crate::queue::take_first;
use crate::speech::voice;
pub use anticipation::GROUP;
pub use refusal::OVERLOAD_OVER;
pub use registration::RegisterError;
pub use resumption::{Hindrance, News, Resumed};

/// What every call of a worker has in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How datagrams are received.
    pub receiver: Arc<receiver::Settings>,
    /// How speech is found and cut.
    pub speech: SpeechSettings,
    /// How much audio goes to the recogniser at a time: a leg is heard promptly when so much is nearly there.
    pub fragment: Samples,
    /// What tells speech from the rest.
    pub detector: voice::Kind,
    /// The recogniser's name in the lines.
    pub provider: Arc<str>,
    /// A call that nobody registered ends after so long without a packet.
    pub idle_timeout: Duration,
    /// A registered call ends after so long without a packet: somebody forgot it.
    pub registered_idle_timeout: Duration,
    /// Whether a sender on a port that nobody registered begins a call of its own.
    pub unregistered_calls: bool,
    /// Whether senders get receiver reports (RFC 3550 §6.4.2).
    pub receiver_reports: bool,
    /// From which load on what is shed.
    pub overload: overload::Settings,
    /// Whether every frame is put out as [`Output::Heard`], for a recording.
    pub monitor: bool,
}

/// Fixed ports with fixed roles: a line of the configuration. A packet on any of them begins a call of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Begins the id of each of its calls.
    pub name: String,
    /// Port and role of each leg, in the order of their channel numbers.
    pub legs: Vec<(PortIndex, Option<Role>)>,
}

/// No call begins, for there would be too many.
struct Refused;

/// Names a port within the switchboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortIndex(usize);

#[cfg(test)]
impl PortIndex {
    /// The port that was added after so many others.
    pub(crate) const fn new(place: usize) -> Self {
        Self(place)
    }
}

/// The calls of one worker and the ports they are plugged into.
///
/// Contract: give one input, drain [`Switchboard::poll_output`], then ask [`Switchboard::poll_timeout`].
pub struct Switchboard {
    settings: Arc<Settings>,
    ports: Vec<Port>,
    lines: Vec<Line>,
    calls: Vec<Option<Call>>,
    deadlines: Vec<Option<Instant>>,
    /// By slot: what happened since the call was saved.
    news: Vec<News>,
    /// Slots in which a call came, began or ended since then.
    pressing: usize,
    free_slots: Vec<usize>,
    next_serial: u32,
    next_port: usize,
    is_closed: bool,
    /// Ports that carry a leg.
    legs: usize,
    overload: Overload,
    refused_calls: u64,
    strays: Strays,
    totals: Totals,
    outbox: Outbox,
}

impl Switchboard {
    /// A switchboard with no port and no call. `wall` gives the lines their time of day.
    pub fn new(settings: Arc<Settings>, wall: WallClock) -> Self {
        Self {
            overload: Overload::new(settings.overload, NonZeroUsize::MIN),
            settings,
            ports: Vec::new(),
            lines: Vec::new(),
            calls: Vec::new(),
            deadlines: Vec::new(),
            news: Vec::new(),
            pressing: 0,
            free_slots: Vec::new(),
            next_serial: 0,
            next_port: 0,
            is_closed: false,
            legs: 0,
            refused_calls: 0,
            strays: Strays::default(),
            totals: Totals::default(),
            outbox: Outbox::new(wall),
        }
    }

    /// Adds a port that datagrams will arrive on.
    pub fn add_port(&mut self, number: u16) -> PortIndex {
        self.ports.push(Port::new(number));
        PortIndex(self.ports.len() - 1)
    }

    /// Adds a line. A port that another line has already stays with that one.
    pub fn add_line(&mut self, line: Line) {
        let index = self.lines.len();
        for &(port, _) in &line.legs {
            self.ports[port.0].line.get_or_insert(index);
        }
        self.lines.push(line);
    }

    /// A datagram arrived on a port.
    pub fn handle_datagram(
        &mut self,
        port: PortIndex,
        source: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) {
        let Some(entry) = self.ports.get_mut(port.0) else {
            return;
        };
        if entry.is_of_old_call(source, bytes, now) {
            let admission = admission(&self.settings.receiver, source, bytes);
            entry.note_stray(admission, now);
            let old_call = Some(StrayCause::OldCall);
            self.strays
                .note(entry.number, source, admission, old_call, now);
            return;
        }
        let taken = entry.taken_by;
        let taken = match taken {
            Some(taken) => Ok(Some(taken)),
            None => self.answer(port, source, bytes, now),
        };
        match taken {
            Ok(Some(PortUse::Leg { call, channel })) => {
                self.with_call(call, now, |call, outbox| {
                    call.handle_datagram(channel, source, bytes, outbox, now);
                });
            }
            Ok(Some(PortUse::Rtcp { call, channel })) => {
                self.with_call(call, now, |call, outbox| {
                    call.handle_rtcp(channel, source, bytes, outbox, now);
                });
            }
            Ok(None) => self.note_stray(port, source, bytes, None, now),
            Err(Refused) => {
                let refused = Some(StrayCause::Refused);
                self.note_stray(port, source, bytes, refused, now);
            }
        }
    }

    /// The call that gets what comes to a port, RTP or RTCP.
    pub fn call_on(&self, port: PortIndex) -> Option<&Call> {
        let taken = self.ports.get(port.0)?.taken_by;
        let (PortUse::Leg { call, .. } | PortUse::Rtcp { call, .. }) =
            taken.or_else(|| self.leg_before(port))?;
        self.call(call)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.deadlines.len() {
            if self.deadlines[slot].is_some_and(|deadline| now >= deadline)
                && let Some(key) = self.calls[slot].as_ref().map(Call::key)
            {
                self.with_call_if(key, now, |call, outbox| call.handle_timeout(outbox, now));
            }
        }
    }

    /// The recogniser has the final text of a part.
    pub fn handle_recognised(&mut self, key: PartKey, recognition: Recognition, now: Instant) {
        self.handle_outcome(key, Outcome::Recognised(recognition), now);
    }

    /// The recogniser has given a part up.
    pub fn handle_unrecognised(
        &mut self,
        key: PartKey,
        reason: GapReason,
        detail: String,
        now: Instant,
    ) {
        self.handle_outcome(key, Outcome::Unrecognised { reason, detail }, now);
    }

    /// The audio of a part waits on disk, for the recogniser is away; its text will be late.
    pub fn handle_postponed(&mut self, key: PartKey, now: Instant) {
        self.with_call(key.call, now, |call, _| call.handle_postponed(key));
    }

    /// The recogniser has a first guess at a part.
    pub fn handle_interim(&mut self, key: PartKey, text: String, now: Instant) {
        self.with_call(key.call, now, |call, outbox| {
            call.handle_interim(key, text, outbox, now)
        });
    }

    /// Something was learned late about a call.
    pub fn handle_update(&mut self, key: CallKey, update: CallUpdate, now: Instant) {
        self.with_call(key, now, |call, outbox| {
            call.handle_update(update, outbox, now)
        });
        if self.call(key).is_some() {
            self.note_news(key.slot as usize, News::Pressing);
        }
    }

    /// A call is over.
    pub fn handle_end(&mut self, key: CallKey, reason: EndReason, now: Instant) {
        self.with_call(key, now, |call, outbox| {
            call.handle_end(reason, outbox, now)
        });
    }

    /// Every call is over and no other begins.
    pub fn handle_close(&mut self, reason: EndReason, now: Instant) {
        self.is_closed = true;
        for key in self.calls().map(Call::key).collect::<Vec<_>>() {
            self.handle_end(key, reason, now);
        }
    }

    /// Goes on with other settings: what begins takes all of them, what goes on those that it can. A
    /// line takes the name and the roles of the one with the same ports.
    pub fn adopt(&mut self, settings: Arc<Settings>, lines: Vec<Line>) {
        for (slot, call) in self.calls.iter_mut().enumerate() {
            if let Some(call) = call {
                call.adopt(&settings);
                self.deadlines[slot] = call.poll_timeout();
            }
        }
        for new in lines {
            let ports = |line: &Line| -> Vec<PortIndex> {
                line.legs.iter().map(|&(port, _)| port).collect()
            };
            if let Some(old) = self.lines.iter_mut().find(|old| ports(old) == ports(&new)) {
                *old = new;
            }
        }
        self.overload.adopt(settings.overload);
        self.settings = settings;
    }

    /// The time of day was read again; lines made from now on use it.
    pub fn set_wall_clock(&mut self, wall: WallClock) {
        self.outbox.wall = wall;
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        take_first(&mut self.outbox.queue)
    }

    /// When [`Switchboard::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// What every call has in common.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Datagrams that came to a port without a call and began none.
    pub const fn strays(&self) -> &Strays {
        &self.strays
    }

    /// What the calls that are over have carried.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many ports it has.
    pub const fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The number of a port.
    pub fn port_number(&self, port: PortIndex) -> Option<u16> {
        self.ports.get(port.0).map(|port| port.number)
    }

    /// What is shed, and why.
    pub const fn overload(&self) -> &Overload {
        &self.overload
    }

    /// Calls that were refused.
    pub const fn refused_calls(&self) -> u64 {
        self.refused_calls
    }

    /// The calls that are not over.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().flatten()
    }

    /// The call of that id.
    pub fn find(&self, id: &str) -> Option<&Call> {
        self.calls().find(|call| &*call.spec().id == id)
    }

    /// The call of that key.
    pub fn call(&self, key: CallKey) -> Option<&Call> {
        let call = self.calls.get(key.slot as usize)?.as_ref()?;
        (call.key() == key).then_some(call)
    }

    /// It is known what became of a part.
    pub fn handle_outcome(&mut self, key: PartKey, outcome: Outcome, now: Instant) {
        self.with_call(key.call, now, |call, outbox| {
            call.handle_outcome(key, outcome, outbox, now);
        });
    }

    /// Feeds a call, then looks whether it still needs its ports and its slot.
    fn with_call(&mut self, key: CallKey, now: Instant, feed: impl FnOnce(&mut Call, &mut Outbox)) {
        self.with_call_if(key, now, |call, outbox| {
            feed(call, outbox);
            true
        });
    }

    /// The same; `feed` tells whether there is anything new to save.
    fn with_call_if(
        &mut self,
        key: CallKey,
        now: Instant,
        feed: impl FnOnce(&mut Call, &mut Outbox) -> bool,
    ) {
        let slot = key.slot as usize;
        let Some(Some(call)) = self.calls.get_mut(slot) else {
            return;
        };
        if call.key() != key {
            return;
        }
        let phase_before = call.phase();
        let was_heard = !matches!(phase_before, Phase::Ending(_));
        let went_on = feed(call, &mut self.outbox);
        let phase = call.phase();
        self.deadlines[slot] = call.poll_timeout();
        if phase != phase_before || went_on {
            self.note_news(slot, News::of(phase != phase_before));
        }
        match phase {
            Phase::Expected | Phase::Active => {}
            Phase::Ending(_) if !was_heard => {}
            Phase::Ending(_) => self.unplug(key, now),
            Phase::Ended => {
                self.unplug(key, now);
                if let Some(call) = self.calls[slot].take() {
                    self.totals.add(&call);
                    self.free_slots.push(slot);
                }
            }
        }
    }

    /// Who is on a free port, now that something came. RTCP there is of the leg before; RTP is not, for some senders
    /// multiplex the two and use every port.
    fn answer(
        &mut self,
        port: PortIndex,
        source: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Option<PortUse>, Refused> {
        let before = self.leg_before(port);
        if before.is_some() && is_rtcp(bytes) {
            return Ok(before);
        }
        let begun = self.begin_call(port, source, bytes, now)?;
        Ok(begun.or(before))
    }

    /// A packet on a free port begins a call where that is allowed: all the legs of its line, or one of its own.
    fn begin_call(
        &mut self,
        index: PortIndex,
        source: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Option<PortUse>, Refused> {
        let settings = Arc::clone(&self.settings);
        let Some(port) = self.ports.get_mut(index.0) else {
            return Ok(None);
        };
        if port.line.is_none() && !settings.unregistered_calls {
            port.note_stray(admission(&settings.receiver, source, bytes), now);
            return Ok(None);
        }
        if self.is_closed {
            return Ok(None);
        }
        if !port.admits(source, bytes, &settings.receiver) {
            warn_of_foreign(port, source, bytes, &settings.receiver, now);
            return Ok(None);
        }
        let number = port.number;
        let begun_ms = self.outbox.wall.at(now).as_millisecond();
        let spec = if let Some(line) = port.line.and_then(|line| self.lines.get(line)) {
            line.call(begun_ms, settings.idle_timeout)
        } else {
            unregistered_call(index, number, begun_ms, settings.idle_timeout)
        };
        if let Some(refusal) = self.overload.refusal(self.legs, spec.legs.len()) {
            self.refuse(&spec, source, number, refusal, now);
            return Err(Refused);
        }
        self.plug_in(spec, now);
        Ok(self.ports.get(index.0).and_then(|port| port.taken_by))
    }

    fn note_stray(
        &mut self,
        port: PortIndex,
        source: SocketAddr,
        bytes: &[u8],
        why: Option<StrayCause>,
        now: Instant,
    ) {
        if let Some(port) = self.ports.get(port.0) {
            let admission = admission(&self.settings.receiver, source, bytes);
            self.strays.note(port.number, source, admission, why, now);
        }
    }

    fn plug_in(&mut self, spec: CallSpec, now: Instant) -> CallKey {
        let key = self.free_slot();
        for (channel, leg) in (0_u8..).zip(&spec.legs) {
            self.ports[leg.port.0].taken_by = Some(PortUse::Leg { call: key, channel });
        }
        self.legs += spec.legs.len();
        let local_ports = spec
            .legs
            .iter()
            .map(|leg| self.ports[leg.port.0].number)
            .collect();
        self.insert(Call::new(key, spec, local_ports, &self.settings, now));
        key
    }

    fn free_slot(&mut self) -> CallKey {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.deadlines.push(None);
            self.news.push(News::None);
            self.calls.len() - 1
        });
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        CallKey {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            serial,
        }
    }

    fn insert(&mut self, call: Call) {
        let slot = call.key().slot as usize;
        self.deadlines[slot] = call.poll_timeout();
        self.note_news(slot, News::Pressing);
        self.calls[slot] = Some(call);
    }

    fn unplug(&mut self, key: CallKey, now: Instant) {
        let Some(call) = &self.calls[key.slot as usize] else {
            return;
        };
        for leg in call.legs() {
            // A leg that could not go on after a restart has none.
            let Some(port) = self.ports.get_mut(leg.spec().port.0) else {
                continue;
            };
            let is_its =
                |taken: &PortUse| matches!(taken, PortUse::Leg { call, .. } if *call == key);
            if port.taken_by.as_ref().is_some_and(is_its) {
                let patience = call.spec().idle_timeout;
                let goes_on =
                    |old: &OldStream| now.saturating_duration_since(old.last_packet) < patience;
                port.rest(leg.last_stream().filter(goes_on), now);
                self.legs -= 1;
            }
        }
    }

    /// A free odd port may carry the RTCP of the leg on the port before it (RFC 3550 §11).
    fn leg_before(&self, port: PortIndex) -> Option<PortUse> {
        let number = self.ports.get(port.0)?.number;
        let before = self.ports.get(port.0.checked_sub(1)?)?;
        match before.taken_by {
            Some(PortUse::Leg { call, channel })
                if number % 2 == 1 && before.number + 1 == number =>
            {
                Some(PortUse::Rtcp { call, channel })
            }
            Some(PortUse::Leg { .. } | PortUse::Rtcp { .. }) | None => None,
        }
    }
}

impl Line {
    fn call(&self, begun_ms: i64, idle_timeout: Duration) -> CallSpec {
        let leg = |&(port, role): &(PortIndex, Option<Role>)| {
            let role_source = if role.is_some() {
                RoleSource::Configured
            } else {
                RoleSource::Unknown
            };
            LegSpec {
                port,
                role,
                role_source,
                law: None,
                expected_source: ExpectedSource::Any,
            }
        };
        CallSpec {
            legs: self.legs.iter().map(leg).collect(),
            ..anonymous_call(&self.name, begun_ms, idle_timeout)
        }
    }
}

/// Somebody would begin a call if he sent G.711: says so once, not with every packet.
fn warn_of_foreign(
    port: &mut Port,
    source: SocketAddr,
    bytes: &[u8],
    settings: &receiver::Settings,
    now: Instant,
) {
    if let Some(payload_type) = foreign_sound(settings, source, bytes)
        && port.note_foreign(now)
    {
        tracing::warn!(
            port = port.number,
            %source,
            payload_type,
            "sender begins no call, for its payload type is not in rtp.payload-types"
        );
    }
}

fn unregistered_call(
    port: PortIndex,
    number: u16,
    begun_ms: i64,
    idle_timeout: Duration,
) -> CallSpec {
    let leg = LegSpec {
        port,
        role: None,
        role_source: RoleSource::Unknown,
        law: None,
        expected_source: ExpectedSource::Any,
    };
    CallSpec {
        legs: vec![leg],
        ..anonymous_call(&format!("port{number}"), begun_ms, idle_timeout)
    }
}

fn anonymous_call(name: &str, begun_ms: i64, idle_timeout: Duration) -> CallSpec {
    CallSpec {
        id: format!("{name}-{begun_ms}").into(),
        legs: Vec::new(),
        from: None,
        to: None,
        direction: None,
        metadata: Metadata::new(),
        idle_timeout,
        is_registered: false,
    }
}
