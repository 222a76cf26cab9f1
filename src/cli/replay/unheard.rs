//! What a replay could not use, for people.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::capture::Datagram;
use crate::media::admission::{Admission, admission};
use crate::media::receiver;

/// The datagrams that came to no call.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    streams: BTreeMap<(SocketAddr, SocketAddr, Reason), u64>,
    not_rtp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    UnknownPayloadType(u8),
    SourceNotAllowed,
    OldCall,
}

impl Unheard {
    /// Takes note of a datagram that came to no call.
    pub(super) fn note(&mut self, datagram: &Datagram<'_>, settings: &receiver::Settings) {
        let reason = match admission(settings, datagram.source, &datagram.payload) {
            Admission::UnknownPayloadType(payload_type) => Reason::UnknownPayloadType(payload_type),
            Admission::SourceNotAllowed => Reason::SourceNotAllowed,
            // It would begin a call, were it not of one that is over.
            Admission::Admitted(_) => Reason::OldCall,
            Admission::NotRtp => {
                self.not_rtp += 1;
                return;
            }
        };
        let stream = (datagram.source, datagram.destination, reason);
        *self.streams.entry(stream).or_default() += 1;
    }

    /// A sentence for each stream, and one for everything that is no RTP.
    pub(super) fn sentences(&self) -> Vec<String> {
        let streams = self.streams.iter().take(MOST_STREAMS);
        let mut said: Vec<_> = streams
            .map(|(stream, count)| sentence(stream, *count))
            .collect();
        let more = self.streams.len().saturating_sub(MOST_STREAMS);
        said.extend((more > 0).then(|| format!("and {more} more streams")));
        let not_rtp = self.not_rtp;
        said.extend((not_rtp > 0).then(|| format!("{not_rtp} datagrams that are no RTP")));
        said
    }
}

fn sentence(
    (source, destination, reason): &(SocketAddr, SocketAddr, Reason),
    count: u64,
) -> String {
    let stream = format!("{count} packets from {source} to {destination}");
    match reason {
        Reason::UnknownPayloadType(payload_type) => {
            format!("{stream}: payload type {payload_type} is no G.711 here (rtp.payload-types)")
        }
        Reason::SourceNotAllowed => {
            format!("{stream}: the sender is in no network of rtp.allowed-networks")
        }
        Reason::OldCall => format!("{stream}: their call was over"),
    }
}

/// Streams that get a sentence of their own.
const MOST_STREAMS: usize = 20;
