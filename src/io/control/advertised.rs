//! Which address senders are told to send to.

#![expect(clippy::disallowed_types, reason = "the system is asked for a route")]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::call::snapshot::LegSnapshot;
use crate::config::file::Rtp;
use crate::media::receiver::ExpectedSource;

/// Which address senders are told to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advertised {
    /// This one.
    Fixed(IpAddr),
    /// The one that this host would send to the sender from.
    ByRoute {
        /// What is received on.
        bind_address: IpAddr,
    },
}

/// The routes that were asked for in one request, each once.
#[derive(Debug)]
pub(super) struct Routes<'a> {
    advertised: &'a Advertised,
    known: BTreeMap<IpAddr, IpAddr>,
}

impl Advertised {
    pub(super) fn new(rtp: &Rtp) -> Self {
        match rtp.advertise_address {
            Some(address) => Self::Fixed(address),
            None if rtp.bind_address.is_unspecified() => Self::ByRoute {
                bind_address: rtp.bind_address,
            },
            None => Self::Fixed(rtp.bind_address),
        }
    }

    pub(super) const fn routes(&self) -> Routes<'_> {
        Routes {
            advertised: self,
            known: BTreeMap::new(),
        }
    }
}

impl Routes<'_> {
    /// The address for a leg.
    pub(super) fn address_for(&mut self, leg: &LegSnapshot) -> IpAddr {
        let bind_address = match *self.advertised {
            Advertised::Fixed(address) => return address,
            Advertised::ByRoute { bind_address } => bind_address,
        };
        let expected = match leg.expected_source {
            ExpectedSource::Any => None,
            ExpectedSource::Host(host) => Some(host.to_canonical()),
            ExpectedSource::Address(address) => Some(address.ip().to_canonical()),
        };
        // An IPv4 socket hears no IPv6.
        let can_hear = |sender: &IpAddr| bind_address.is_ipv6() || sender.is_ipv4();
        let sender = expected.filter(can_hear).unwrap_or(ANYBODY);
        let route = || local_address_to(sender).unwrap_or(LOOPBACK);
        *self.known.entry(sender).or_insert_with(route)
    }
}

/// The address that the system would send to the sender from; nothing is sent.
fn local_address_to(sender: IpAddr) -> io::Result<IpAddr> {
    let unspecified: IpAddr = match sender {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect((sender, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

/// Somebody behind the default route (RFC 5737, TEST-NET-1).
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Without any route, only senders on this host can reach it.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The discard service (RFC 863): some port must be named.
const DISCARD: u16 = 9;
