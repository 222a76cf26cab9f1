//! The RTP streams of a capture, to be sent again as they were.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use rtp_rs::RtpReader;

use crate::capture::Datagram;
use crate::cli::send::Packet;

/// Everything a capture has that went to one address and is RTP, with what came along: RTCP and STUN
/// on the same port, other payload types, a second stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it went.
    pub destination: SocketAddr,
    /// Packets of each RTP stream by SSRC.
    pub streams: BTreeMap<u32, u64>,
    datagrams: Vec<(Duration, Vec<u8>)>,
}

/// Which flows of a capture are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only packets of this RTP stream.
    pub ssrc: Option<u32>,
    /// Only what went to this port.
    pub port: Option<u16>,
}

/// Groups datagrams into flows, in order of their first datagram; what is not RTP is left out.
pub fn flows<'a>(datagrams: impl IntoIterator<Item = Datagram<'a>>) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    let mut places = BTreeMap::new();
    for datagram in datagrams {
        let place = *places.entry(datagram.destination).or_insert(flows.len());
        if place == flows.len() {
            flows.push(Flow::new(datagram.destination));
        }
        flows[place].push(datagram.time, datagram.payload.into_owned());
    }
    flows.retain(Flow::is_rtp);
    flows
}

/// Picks as many flows as there are receivers.
///
/// # Errors
/// When the selection leaves more or fewer flows than `wanted`; the error lists them.
pub fn select(
    flows: Vec<Flow>,
    selection: Selection,
    wanted: usize,
) -> Result<Vec<Flow>, SelectionError> {
    let found = list(&flows);
    let mut left: Vec<Flow> = flows
        .into_iter()
        .filter(|flow| {
            selection
                .port
                .is_none_or(|port| flow.destination.port() == port)
        })
        .collect();
    if let Some(ssrc) = selection.ssrc {
        left.retain(|flow| flow.streams.contains_key(&ssrc));
        left.iter_mut().for_each(|flow| flow.keep_only(ssrc));
    }
    match left.len() {
        count if count == wanted => Ok(left),
        count => Err(SelectionError {
            count,
            wanted,
            found,
        }),
    }
}

/// The packets of flows, each due as long after the first of them all as it was when captured.
pub fn packets(flows: Vec<Flow>) -> Vec<Vec<Packet>> {
    let times = flows
        .iter()
        .flat_map(|flow| flow.datagrams.iter().map(|(time, _)| *time));
    let origin = times.min().unwrap_or_default();
    let due = |(time, bytes): (Duration, Vec<u8>)| Packet {
        due: time.saturating_sub(origin),
        bytes,
    };
    let in_order = |flow: Flow| {
        let mut packets: Vec<_> = flow.datagrams.into_iter().map(due).collect();
        packets.sort_by_key(|packet| packet.due);
        packets
    };
    flows.into_iter().map(in_order).collect()
}

/// The selection does not leave as many flows as there are receivers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} RTP flows match but there are {wanted} receivers; choose with --ssrc or --port, or give \
     one --to for each. The capture has:{found}"
)]
pub struct SelectionError {
    count: usize,
    wanted: usize,
    found: String,
}

impl Flow {
    const fn new(destination: SocketAddr) -> Self {
        Self {
            destination,
            streams: BTreeMap::new(),
            datagrams: Vec::new(),
        }
    }

    fn push(&mut self, time: Duration, payload: Vec<u8>) {
        if let Some(ssrc) = rtp_ssrc(&payload) {
            *self.streams.entry(ssrc).or_insert(0) += 1;
        }
        self.datagrams.push((time, payload));
    }

    fn keep_only(&mut self, ssrc: u32) {
        self.streams.retain(|stream, _| *stream == ssrc);
        self.datagrams
            .retain(|(_, payload)| rtp_ssrc(payload) == Some(ssrc));
    }

    /// Other protocols may look like RTP for a packet, but do not repeat an SSRC most of the time.
    fn is_rtp(&self) -> bool {
        let repeated: u64 = self.streams.values().filter(|&&count| count > 1).sum();
        repeated * 2 > self.datagrams.len() as u64
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}:", self.destination)?;
        for (ssrc, count) in &self.streams {
            write!(f, " SSRC {ssrc:#010x} ({count} packets)")?;
        }
        Ok(())
    }
}

fn list(flows: &[Flow]) -> String {
    let mut list = String::new();
    for flow in flows {
        // Writing to a string cannot fail.
        write!(list, "\n  {flow}").unwrap_or_default();
    }
    if list.is_empty() {
        list.push_str(" no RTP at all");
    }
    list
}

/// The SSRC, if the datagram looks like RTP and not like RTCP on the same port (RFC 5761 §4).
fn rtp_ssrc(payload: &[u8]) -> Option<u32> {
    let second = *payload.get(1)?;
    let reader = RtpReader::new(payload).ok()?;
    (!(192..=223).contains(&second)).then(|| reader.ssrc())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rtp_rs::RtpPacketBuilder;

    use super::*;

    #[test]
    fn flow_keeps_what_came_along_and_its_timing() {
        let rtcp = vec![0x80, 200, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        let captured = [
            datagram(5_000, 20000, rtp(1)),
            datagram(5_030, 20000, rtcp.clone()),
            datagram(5_020, 20000, rtp(1)),
            datagram(5_010, 53, b"a name to look up".to_vec()),
        ];
        let flows = select(flows(captured), Selection::default(), 1).unwrap();
        let packets = packets(flows);
        let due: Vec<_> = packets[0].iter().map(|p| p.due.as_millis()).collect();
        assert_eq!(due, [0, 20, 30]);
        assert_eq!(packets[0][2].bytes, rtcp);
    }

    #[test]
    fn two_flows_stay_on_one_clock() {
        let captured = [
            datagram(1_000, 20000, rtp(1)),
            datagram(1_007, 20002, rtp(2)),
            datagram(1_020, 20000, rtp(1)),
            datagram(1_027, 20002, rtp(2)),
        ];
        let packets = packets(select(flows(captured), Selection::default(), 2).unwrap());
        assert_eq!(packets[1][0].due, Duration::from_millis(7));
    }

    #[test]
    fn stream_is_chosen_by_ssrc_or_port() {
        let captured = || {
            flows([
                datagram(0, 20000, rtp(1)),
                datagram(1, 20000, rtp(1)),
                datagram(2, 20000, rtp(7)),
                datagram(3, 20000, rtp(7)),
                datagram(4, 20002, rtp(2)),
                datagram(5, 20002, rtp(2)),
            ])
        };
        let by_ssrc = Selection {
            ssrc: Some(7),
            port: None,
        };
        let chosen = select(captured(), by_ssrc, 1).unwrap();
        assert_eq!(packets(chosen)[0].len(), 2);
        let by_port = Selection {
            ssrc: None,
            port: Some(20002),
        };
        assert_eq!(
            select(captured(), by_port, 1).unwrap()[0]
                .destination
                .port(),
            20002
        );
        let error = select(captured(), Selection::default(), 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("0x00000007 (2 packets)"), "{error}");
        assert!(error.contains("to 192.0.2.9:20002"), "{error}");
    }

    #[test]
    fn capture_without_rtp_is_said_to_have_none() {
        let error = select(flows([]), Selection::default(), 1)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("no RTP at all"), "{error}");
    }

    fn datagram(ms: u64, port: u16, payload: Vec<u8>) -> Datagram<'static> {
        Datagram {
            time: Duration::from_millis(ms),
            source: "192.0.2.1:4000".parse().unwrap(),
            destination: SocketAddr::new([192, 0, 2, 9].into(), port),
            payload: Cow::Owned(payload),
        }
    }

    fn rtp(ssrc: u32) -> Vec<u8> {
        RtpPacketBuilder::new()
            .payload_type(0)
            .ssrc(ssrc)
            .payload(&[0xff; 160])
            .build()
            .unwrap()
    }
}
