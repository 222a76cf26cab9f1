//! The sockets of a worker: which of them have something, and what it is.

#![expect(clippy::disallowed_types, reason = "UDP is received here")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::call::switchboard::{GROUP, PortIndex};

/// Largest datagram that can be audio: beyond any MTU that carries RTP. Longer ones arrive cut and
/// are refused.
const DATAGRAM_BYTES: usize = 2048;

/// Datagrams taken from one socket in each round of a tick, 256 in all: a flood on one port must not
/// hold up the others. Nearly always there is one, and asking for a second would double the calls of
/// the kernel; so epoll, which is level-triggered, tells in the next round who has more.
const ROUNDS: [usize; 3] = [1, 15, 240];

/// Sockets that do not block, on an epoll of their own.
pub(super) struct Intake {
    epoll: OwnedFd,
    ports: Vec<Port>,
    /// By number.
    places: BTreeMap<u16, usize>,
    ready: Vec<epoll::Event>,
    datagram: [u8; DATAGRAM_BYTES],
}

/// Who wants what has come.
pub(super) trait Listener {
    /// There is something on these ports; it follows.
    fn anticipate(&self, ports: [Option<PortIndex>; GROUP]);

    /// A datagram from the port of that index and number.
    fn take(&mut self, port: PortIndex, number: u16, source: SocketAddr, bytes: &[u8]);
}

/// A socket and the switchboard's name for its port.
struct Port {
    number: u16,
    index: PortIndex,
    socket: UdpSocket,
}

impl Intake {
    /// Without sockets.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ports: Vec::new(),
            places: BTreeMap::new(),
            ready: Vec::new(),
            datagram: [0; DATAGRAM_BYTES],
        })
    }

    /// Receives on a port from now on.
    pub(super) fn add(
        &mut self,
        number: u16,
        index: PortIndex,
        socket: UdpSocket,
    ) -> io::Result<()> {
        let place = self.ports.len();
        let data = epoll::EventData::new_u64(u64::try_from(place).unwrap_or(u64::MAX));
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.ports.push(Port {
            number,
            index,
            socket,
        });
        self.places.insert(number, place);
        self.ready.reserve(self.ports.len());
        Ok(())
    }

    /// The switchboard's name for a port, if it is received on here.
    pub(super) fn index_of(&self, number: u16) -> Option<PortIndex> {
        self.port(number).map(|port| port.index)
    }

    /// Has what has come taken, a tick's share of each socket.
    pub(super) fn drain(&mut self, listener: &mut impl Listener) -> io::Result<()> {
        for most in ROUNDS {
            self.ready.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&NO_WAIT)) {
                Ok(0) | Err(Errno::INTR) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            for group in self.ready.chunks(GROUP) {
                let mut ports = [None; GROUP];
                for (port, event) in ports.iter_mut().zip(group) {
                    let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                    *port = self.ports.get(place);
                }
                listener.anticipate(ports.map(|port| port.map(|port| port.index)));
                for port in ports.into_iter().flatten() {
                    port.read(most, &mut self.datagram, |source, bytes| {
                        listener.take(port.index, port.number, source, bytes);
                    });
                }
            }
        }
        Ok(())
    }

    /// Drops what has come on a port and was not taken.
    pub(super) fn drop_queued(&mut self, number: u16) {
        if let Some(&place) = self.places.get(&number) {
            let most = ROUNDS.iter().sum();
            self.ports[place].read(most, &mut self.datagram, |_, _| {});
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
}

impl Port {
    fn read(&self, most: usize, datagram: &mut [u8], mut take: impl FnMut(SocketAddr, &[u8])) {
        for _ in 0..most {
            match self.socket.recv_from(datagram) {
                Ok((len, source)) => {
                    // A socket that hears both families shows IPv4 senders as mapped addresses.
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    take(source, &datagram[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of something this socket never sent; the next read goes on.
                Err(_) => {}
            }
        }
    }
}

const NO_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
