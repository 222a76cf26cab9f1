//! Which streams of a capture are legs, and which legs are one call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::call::switchboard::{Line, PortIndex, Switchboard};
use crate::capture::Datagram;
use crate::cli::replay::LegArg;
use crate::media::admission::admitted_stream;
use crate::media::receiver;

/// The destinations of a capture, as ports of a switchboard.
pub(super) struct Plan {
    ports: BTreeMap<SocketAddr, PortIndex>,
}

/// Who sends audio to a destination, and when it first did.
#[derive(Debug, Default)]
struct Stream {
    senders: BTreeSet<SocketAddr>,
    first: usize,
}

impl Plan {
    /// Adds every destination to the switchboard, and a line for every call.
    pub(super) fn new(
        datagrams: &[Datagram<'_>],
        legs: &[LegArg],
        settings: &receiver::Settings,
        switchboard: &mut Switchboard,
    ) -> Self {
        let destinations: BTreeSet<_> = datagrams.iter().map(|d| d.destination).collect();
        let add = |to: SocketAddr| (to, switchboard.add_port(to.port()));
        let ports: BTreeMap<_, _> = destinations.into_iter().map(add).collect();
        let plan = Self { ports };
        plan.add_chosen_line(legs, switchboard);
        plan.add_lines(&streams(datagrams, settings), switchboard);
        plan
    }

    pub(super) fn port(&self, destination: SocketAddr) -> Option<PortIndex> {
        self.ports.get(&destination).copied()
    }

    pub(super) fn has_port(&self, port: u16) -> bool {
        self.ports.keys().any(|to| to.port() == port)
    }

    fn add_chosen_line(&self, legs: &[LegArg], switchboard: &mut Switchboard) {
        let find = |leg: &LegArg| {
            let found = self.ports.iter().find(|(to, _)| to.port() == leg.port);
            found.map(|(_, &port)| (port, leg.role))
        };
        let legs: Vec<_> = legs.iter().filter_map(find).collect();
        if !legs.is_empty() {
            switchboard.add_line(Line {
                name: "replay".to_owned(),
                legs,
            });
        }
    }

    /// A stream and the one that goes back are one call; whoever began is channel 0.
    fn add_lines(&self, streams: &BTreeMap<SocketAddr, Stream>, switchboard: &mut Switchboard) {
        for (&to, stream) in streams {
            let answer = stream.senders.iter().find_map(|&from| {
                let back = streams.get(&from)?;
                back.senders.contains(&to).then_some((from, back.first))
            });
            let legs = match answer {
                Some((_, answered)) if answered < stream.first => continue,
                Some((from, _)) => vec![to, from],
                None => vec![to],
            };
            let port = |to: &SocketAddr| Some((self.port(*to)?, None));
            let legs = legs.iter().filter_map(port).collect();
            let name = format!("{}-{}", to.ip(), to.port());
            switchboard.add_line(Line { name, legs });
        }
    }
}

/// The streams of audio, by destination.
fn streams(
    datagrams: &[Datagram<'_>],
    settings: &receiver::Settings,
) -> BTreeMap<SocketAddr, Stream> {
    let mut streams: BTreeMap<SocketAddr, Stream> = BTreeMap::new();
    for (index, datagram) in datagrams.iter().enumerate() {
        if admitted_stream(settings, datagram.source, &datagram.payload).is_some() {
            let first = Stream {
                first: index,
                ..Stream::default()
            };
            let stream = streams.entry(datagram.destination).or_insert(first);
            stream.senders.insert(datagram.source);
        }
    }
    streams
}
