//! The sockets of a worker: which of them have something, what it is, and when it came.

#![expect(clippy::disallowed_types, reason = "UDP is received here")]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::call::leg::Demand;
use crate::call::switchboard::{GROUP, PortIndex};
use crate::media::admission::is_rtcp;

/// Largest datagram that can be audio: beyond any MTU that carries RTP. Longer ones arrive cut and
/// are refused.
const DATAGRAM_BYTES: usize = 2048;

/// A port is read in every so manieth tick at least.
const MOST_TICKS: usize = 4;

/// Datagrams read from one socket at a time: one a tick, and sometimes one more.
const DEPTH: usize = MOST_TICKS + 1;

/// Reads that find nothing before a port is watched by epoll again.
const PATIENCE: u8 = 3;

/// How often a socket that has more is read from after the first time, in rounds: a flood on one port must not hold up the
/// others.
const FURTHER_ROUNDS: [usize; 2] = [5, 45];

/// Datagrams that are taken from one socket in a tick: 255.
const MOST: usize = DEPTH * (1 + FURTHER_ROUNDS[0] + FURTHER_ROUNDS[1]);

/// A port is emptied every so many of its turns.
const EMPTIED_EVERY: u8 = 16;

/// Whose datagram is as old as this has sent the next one.
const PACKET_TIME: Duration = Duration::from_millis(20);

/// Sockets that do not block.
///
/// Who sends, goes on sending: a port that had something is read again in one of the next ticks, as its leg demands, and
/// epoll watches only the others. Where nothing is pressing up to four packets are read at a time; the leg, which no cache
/// holds from one to the next, is fetched once for all, and the kernel says when each came. What else a socket may have is
/// asked for only where it must be: the answer that there is nothing costs half of a datagram.
pub(super) struct Intake {
    epoll: OwnedFd,
    ports: Vec<Port>,
    /// By number.
    places: BTreeMap<u16, usize>,
    /// What is read in the next ticks: the place of this tick is `tick` modulo their number.
    turns: [Vec<usize>; MOST_TICKS + 1],
    tick: usize,
    /// How long a tick takes.
    tick_time: Duration,
    ready: Vec<epoll::Event>,
    basket: Vec<Read>,
    /// For what has to be heard before something in the basket.
    sooner: Box<Read>,
    /// Where the kernel leaves its stamp.
    control: Vec<u8>,
}

/// Who wants what has come.
pub(super) trait Listener {
    /// There is something on these ports; it follows.
    fn anticipate(&self, ports: [Option<PortIndex>; GROUP]);

    /// The next of it.
    fn take(&mut self, datagram: &Datagram<'_>);

    /// How soon what comes to a port next is wanted.
    fn demand(&self, port: PortIndex) -> Demand;
}

/// What came to a port.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// The switchboard's name for the port.
    pub(super) index: PortIndex,
    /// The port itself.
    pub(super) number: u16,
    pub(super) source: SocketAddr,
    pub(super) bytes: &'a [u8],
    /// When it came, by the kernel.
    pub(super) at: Instant,
}

/// The time in which what is read in a tick has come.
///
/// The kernel stamps a datagram by the time of day, which somebody may set; what it says is believed within these limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// The ticks before, oldest first: a port was read in one of them, and what it had left then had come in the one
    /// before.
    ticks: [Instant; MOST_TICKS + 1],
    until: Instant,
    /// The time of day at its end, since 1970.
    until_real: Duration,
}

impl Interval {
    /// Before anything came.
    pub(super) const fn beginning(now: Instant) -> Self {
        Self {
            ticks: [now; MOST_TICKS + 1],
            until: now,
            until_real: Duration::ZERO,
        }
    }

    /// The interval of the next tick.
    pub(super) fn next(&self, now: Instant, time_of_day: Duration) -> Self {
        let mut ticks = self.ticks;
        ticks.rotate_left(1);
        ticks[MOST_TICKS] = self.until;
        Self {
            ticks,
            until: now,
            until_real: time_of_day,
        }
    }

    /// The tick.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Since the tick before.
    fn last(&self) -> Duration {
        let [.., before] = self.ticks;
        self.until.saturating_duration_since(before)
    }

    /// Whether the time of day was not set back since something got this stamp.
    fn believes(&self, stamp: Duration) -> bool {
        stamp <= self.until_real + PACKET_TIME
    }

    /// When something came that has this stamp.
    fn time_of(&self, stamp: Option<Duration>) -> Instant {
        let ago = stamp.map_or(Duration::ZERO, |at| self.until_real.saturating_sub(at));
        let [since, ..] = self.ticks;
        self.until.checked_sub(ago).unwrap_or(since).max(since)
    }
}

/// A socket and the switchboard's name for its port.
struct Port {
    number: u16,
    index: PortIndex,
    socket: UdpSocket,
    demand: Demand,
    /// Reads in a row that found nothing.
    misses: u8,
    /// How often it was its turn, as far as it goes.
    turns: u8,
    /// The tick of its next turn; one that is over while epoll watches it.
    due: usize,
}

/// A datagram as it was read, and the place of its port.
struct Read {
    place: usize,
    source: SocketAddr,
    at: Instant,
    is_stamped: bool,
    len: usize,
    bytes: [u8; DATAGRAM_BYTES],
}

/// Places of ports; `None` where nothing is left to do.
type Group = [Option<usize>; GROUP];

impl Intake {
    /// Without sockets.
    pub(super) fn new(tick_time: Duration) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ports: Vec::new(),
            places: BTreeMap::new(),
            turns: Default::default(),
            tick: 0,
            tick_time,
            ready: Vec::new(),
            basket: std::iter::repeat_with(Read::nothing)
                .take(GROUP * DEPTH)
                .collect(),
            sooner: Box::new(Read::nothing()),
            control: cmsg_space!(TimeSpec),
        })
    }

    /// Receives on a port from now on.
    pub(super) fn add(
        &mut self,
        number: u16,
        index: PortIndex,
        socket: UdpSocket,
    ) -> io::Result<()> {
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let place = self.ports.len();
        epoll::add(&self.epoll, &socket, name(place), ONCE)?;
        self.ports.push(Port {
            number,
            index,
            socket,
            demand: Demand::LEAST,
            misses: 0,
            turns: 0,
            due: 0,
        });
        self.places.insert(number, place);
        self.ready.reserve(self.ports.len());
        Ok(())
    }

    /// The switchboard's name for a port, if it is received on here.
    pub(super) fn index_of(&self, number: u16) -> Option<PortIndex> {
        self.port(number).map(|port| port.index)
    }

    /// Has taken what has come, a tick's share of each socket whose turn it is.
    pub(super) fn drain(
        &mut self,
        interval: &Interval,
        listener: &mut impl Listener,
    ) -> io::Result<()> {
        self.tick += 1;
        let turn = self.tick % self.turns.len();
        let mut due = std::mem::take(&mut self.turns[turn]);
        // The worker was held up: what counts the time now must know of everything that came meanwhile.
        if interval.last() > 2 * self.tick_time {
            self.turns.iter_mut().for_each(|turn| due.append(turn));
        }
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&NO_WAIT)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let place = |event: &epoll::Event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        due.extend(self.ready.iter().map(place));
        let mut hungry = Vec::new();
        for places in due.chunks(GROUP) {
            let mut group = [None; GROUP];
            for (entry, &place) in group.iter_mut().zip(places) {
                *entry = Some(place);
            }
            self.read_group(&mut group, interval, listener);
            for (entry, &place) in group.iter().zip(places) {
                if entry.is_none() {
                    self.give_turn(place, listener);
                }
            }
            if group.iter().any(Option::is_some) {
                hungry.push((group, group));
            }
        }
        due.clear();
        self.turns[turn] = due;
        for times in FURTHER_ROUNDS {
            for (group, _) in &mut hungry {
                for _ in 0..times {
                    if group.iter().all(Option::is_none) {
                        break;
                    }
                    self.read_group(group, interval, listener);
                }
            }
        }
        for (_, places) in hungry {
            for place in places.into_iter().flatten() {
                self.give_turn(place, listener);
            }
        }
        Ok(())
    }

    /// Has taken all that has come to a port: something happens to its call now.
    pub(super) fn empty(&mut self, number: u16, interval: &Interval, listener: &mut impl Listener) {
        if let Some(&place) = self.places.get(&number) {
            self.empty_place(place, interval, listener);
        }
    }

    /// Drops what has come on a port and was not taken.
    pub(super) fn drop_queued(&self, number: u16) {
        if let Some(&place) = self.places.get(&number) {
            let port = &self.ports[place];
            let mut room = [0; DATAGRAM_BYTES];
            for _ in 0..MOST {
                if port.socket.recv(&mut room).is_err() {
                    return;
                }
            }
        }
    }

    /// Sends from the port of that number, or else from the one below it.
    pub(super) fn send(&self, number: u16, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        let below = || self.port(number.checked_sub(1)?);
        match self.port(number).or_else(below) {
            Some(port) => port.socket.send_to(packet, to).map(|_| ()),
            None => Ok(()),
        }
    }

    fn port(&self, number: u16) -> Option<&Port> {
        self.ports.get(*self.places.get(&number)?)
    }

    /// Says when a port is read next. Where epoll cannot be told, it is read in vain until it can.
    fn give_turn(&mut self, place: usize, listener: &impl Listener) {
        let Some(port) = self.ports.get_mut(place) else {
            return;
        };
        port.demand = listener.demand(port.index);
        if port.misses >= PATIENCE
            && epoll::modify(&self.epoll, &port.socket, name(place), ONCE).is_ok()
        {
            (port.misses, port.due) = (0, self.tick);
            return;
        }
        port.due = self.tick + port.ticks_to_wait(port.demand, self.tick_time);
        let turn = port.due % self.turns.len();
        self.turns[turn].push(place);
    }

    /// Gives a port that waits for its turn an earlier one, if its leg wants what follows sooner now that it was emptied.
    fn ask_again(&mut self, number: u16, listener: &impl Listener) {
        let Some(&place) = self.places.get(&number) else {
            return;
        };
        let port = &self.ports[place];
        let ticks = port.ticks_to_wait(listener.demand(port.index), self.tick_time);
        if self.tick + ticks >= port.due {
            return;
        }
        let turn = port.due % self.turns.len();
        let mut waiting = self.turns[turn].iter();
        if let Some(found) = waiting.position(|&waiting| waiting == place) {
            self.turns[turn].swap_remove(found);
            self.give_turn(place, listener);
        }
    }

    /// Reads from each port of the group, then has it taken; leaves those in it that may have more. The kernel's work is
    /// done for all of them before ours begins, so that each finds its instructions in the cache.
    fn read_group(&mut self, group: &mut Group, interval: &Interval, listener: &mut impl Listener) {
        let ports = group.map(|place| Some(self.ports.get(place?)?.index));
        let mut count = 0;
        for entry in &mut *group {
            let Some(place) = *entry else { continue };
            *entry = None;
            let Some(port) = self.ports.get_mut(place) else {
                continue;
            };
            port.misses = port.misses.saturating_add(1);
            port.turns = port.turns.wrapping_add(1);
            for _ in 0..DEPTH {
                let read = &mut self.basket[count];
                *entry = None;
                if !port.read(read, &mut self.control, interval) {
                    break;
                }
                read.place = place;
                port.misses = 0;
                count += 1;
                if !port.may_have_more(read, interval) {
                    break;
                }
                *entry = Some(place);
            }
        }
        listener.anticipate(ports);
        let mut rtcp = Vec::new();
        for number in 0..count {
            match self.stream_of_rtcp(number) {
                Some(stream) => rtcp.push((number, stream)),
                None => self.hand_out(number, listener),
            }
        }
        // It may say BYE: what was sent to the stream's own port comes before it.
        for (number, stream) in rtcp {
            self.empty(stream, interval, listener);
            self.ask_again(stream, listener);
            self.hand_out(number, listener);
        }
    }

    /// The port below that of something in the basket, if it is RTCP and may be that port's.
    fn stream_of_rtcp(&self, number: usize) -> Option<u16> {
        let read = &self.basket[number];
        let below = self.ports[read.place].number.checked_sub(1)?;
        (below.is_multiple_of(2) && is_rtcp(read.bytes())).then_some(below)
    }

    fn hand_out(&self, number: usize, listener: &mut impl Listener) {
        let read = &self.basket[number];
        listener.take(&read.as_datagram(&self.ports[read.place]));
    }

    fn empty_place(&mut self, place: usize, interval: &Interval, listener: &mut impl Listener) {
        let port = &self.ports[place];
        for _ in 0..MOST {
            if !port.read(&mut self.sooner, &mut self.control, interval) {
                return;
            }
            listener.take(&self.sooner.as_datagram(port));
        }
    }
}

impl Port {
    /// How many ticks its leg can wait for what comes next.
    fn ticks_to_wait(&self, demand: Demand, tick_time: Duration) -> usize {
        match demand {
            Demand::Within(time) if self.misses == 0 => ticks_in(time, tick_time),
            Demand::Within(_) | Demand::All => 1,
        }
    }

    /// Reads the next datagram; `false` if there is none.
    fn read(&self, to: &mut Read, control: &mut [u8], interval: &Interval) -> bool {
        let mut room = [IoSliceMut::new(&mut to.bytes)];
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrStorage>(fd, &mut room, Some(control), MsgFlags::empty());
        // An error is that of something that this socket sent, by ICMP; the next tick goes on.
        let Ok(message) = received else {
            return false;
        };
        let Some(source) = message.address.as_ref().and_then(socket_address) else {
            return false;
        };
        let stamp = message.cmsgs().into_iter().flatten().find_map(stamp);
        let stamp = stamp.filter(|&stamp| interval.believes(stamp));
        (to.len, to.source) = (message.bytes, source);
        (to.at, to.is_stamped) = (interval.time_of(stamp), stamp.is_some());
        true
    }

    /// Whether to ask for what may be behind a datagram. Now and then it is asked for in any case: no error of the stamps
    /// lets anything pile up.
    fn may_have_more(&self, last: &Read, interval: &Interval) -> bool {
        let age = interval.until.saturating_duration_since(last.at);
        let is_old = age >= PACKET_TIME || !last.is_stamped;
        is_old || self.demand == Demand::All || self.turns.is_multiple_of(EMPTIED_EVERY)
    }
}

impl Read {
    fn nothing() -> Self {
        Self {
            place: 0,
            source: SocketAddr::from(([0; 4], 0)),
            at: Instant::now(),
            is_stamped: false,
            len: 0,
            bytes: [0; DATAGRAM_BYTES],
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_datagram(&self, port: &Port) -> Datagram<'_> {
        Datagram {
            index: port.index,
            number: port.number,
            source: self.source,
            bytes: self.bytes(),
            at: self.at,
        }
    }
}

/// In how many ticks a port is read again where what comes is wanted within this time.
fn ticks_in(time: Duration, tick: Duration) -> usize {
    let ticks = time.as_nanos() / tick.as_nanos().max(1);
    usize::try_from(ticks).map_or(MOST_TICKS, |ticks| ticks.clamp(1, MOST_TICKS))
}

/// What epoll calls a port.
fn name(place: usize) -> epoll::EventData {
    epoll::EventData::new_u64(u64::try_from(place).unwrap_or(u64::MAX))
}

/// Where a datagram is from. A socket that hears both families shows IPv4 senders as mapped addresses.
fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    let v6 = SocketAddr::from(*storage.as_sockaddr_in6()?);
    Some(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
}

/// The kernel's stamp, since 1970.
fn stamp(message: ControlMessageOwned) -> Option<Duration> {
    if let ControlMessageOwned::ScmTimestampns(at) = message {
        Some(at.into())
    } else {
        None
    }
}

/// Tells of a port once, and then no more until it is asked to.
const ONCE: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);

const NO_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
