//! Many streams from one recording: the load that a receiver is measured with.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "sending meets the clock and the sockets here"
)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtp_rs::RtpPacketBuilder;

use crate::cli::send::pump::{Sent, wait_until};
use crate::media::{Law, Samples};

/// What a crowd of streams has in common.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The recording in both laws; streams take turns with them. Each plays it in a loop, from a
    /// place of its own.
    pub recordings: Vec<Recording>,
    /// Where the first stream goes; each further one goes to the next even port.
    pub first: SocketAddr,
    /// Streams.
    pub streams: u16,
    /// Audio in one packet.
    pub packet_time: Samples,
    /// For how long each sends.
    pub length: Duration,
    /// Seed of sequence numbers, timestamps and SSRCs.
    pub seed: u64,
}

/// Audio in the law it is sent in.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The law.
    pub law: Law,
    /// The samples.
    pub g711: Arc<[u8]>,
}

/// Streams that are due at the same moments are sent in one go; there are so many of those in a
/// packet time. A trunk's frames come bunched like that.
const SLOTS: u32 = 20;

/// Why a crowd cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CrowdError {
    /// There is no port for the last stream.
    #[error("{streams} streams from port {first} on need ports beyond 65535; start lower")]
    Ports {
        /// How many were asked for.
        streams: u16,
        /// The first port.
        first: u16,
    },
    /// The recording holds less than one packet.
    #[error("the recording is shorter than one packet")]
    Empty,
    /// A socket cannot be opened.
    #[error(
        "cannot open the socket of stream {stream}: {source}; `ulimit -n` bounds how many there can be"
    )]
    Socket {
        /// Which, from 0.
        stream: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// A socket failed midway.
    #[error("sending stopped: {0}")]
    Interrupted(io::Error),
}

/// Sends all streams in real time and returns what they came to together.
///
/// # Errors
/// When there are too few ports or descriptors, or a socket fails.
pub fn send(crowd: &Crowd) -> Result<Sent, CrowdError> {
    let mut members = crowd.members()?;
    let start = Instant::now();
    let packet_time = crowd.packet_time.as_duration();
    let mut sent = Sent::default();
    let mut packet = Vec::new();
    let mut slot = 0;
    loop {
        let due = packet_time * slot / SLOTS;
        if due >= crowd.length {
            return Ok(sent);
        }
        let delay = wait_until(start + due);
        sent.worst_delay = sent.worst_delay.max(delay);
        let group = usize::try_from(slot % SLOTS).unwrap_or(0);
        for member in members.iter_mut().skip(group).step_by(SLOTS as usize) {
            member.next_packet(&mut packet);
            member
                .send(&packet, &mut sent)
                .map_err(CrowdError::Interrupted)?;
        }
        slot += 1;
    }
}

impl Crowd {
    fn members(&self) -> Result<Vec<Member>, CrowdError> {
        let packet = usize::try_from(self.packet_time.0).unwrap_or(usize::MAX);
        if self
            .recordings
            .iter()
            .any(|recording| recording.g711.len() < packet)
        {
            return Err(CrowdError::Empty);
        }
        let recordings = self.recordings.iter().cycle();
        (0..self.streams)
            .zip(recordings)
            .map(|(stream, recording)| self.member(stream, recording))
            .collect()
    }

    fn member(
        &self,
        stream: u16,
        Recording { law, g711 }: &Recording,
    ) -> Result<Member, CrowdError> {
        let first = self.first.port();
        let port = stream
            .checked_mul(2)
            .and_then(|above| first.checked_add(above));
        let port = port.ok_or(CrowdError::Ports {
            streams: self.streams,
            first,
        })?;
        let target = SocketAddr::new(self.first.ip(), port);
        let socket = connected(target).map_err(|source| CrowdError::Socket { stream, source })?;
        let random = scatter(self.seed.wrapping_add(u64::from(stream)));
        Ok(Member {
            socket,
            law: *law,
            g711: Arc::clone(g711),
            place: self.place(stream, g711.len()),
            packet_samples: usize::try_from(self.packet_time.0).unwrap_or(usize::MAX),
            sequence_number: low(random >> 8),
            timestamp: u32::from(low(random >> 16)) << 16,
            ssrc: u32::from(low(random >> 32)) << 16 | u32::from(stream),
            is_first: true,
        })
    }
}

impl Crowd {
    /// Where in a recording a stream begins. Steps of the golden ratio spread any number of streams evenly, so that at
    /// every moment as many of them speak as the recording has of speech.
    fn place(&self, stream: u16, length: usize) -> usize {
        let turn = scatter(self.seed).wrapping_add(GOLDEN_RATIO.wrapping_mul(stream.into()));
        let place = (u128::from(turn) * length as u128) >> 64;
        usize::try_from(place).unwrap_or(0)
    }
}

/// One stream.
struct Member {
    socket: UdpSocket,
    law: Law,
    g711: Arc<[u8]>,
    place: usize,
    packet_samples: usize,
    sequence_number: u16,
    timestamp: u32,
    ssrc: u32,
    is_first: bool,
}

impl Member {
    fn next_packet(&mut self, packet: &mut Vec<u8>) {
        let end = self.place + self.packet_samples;
        let payload = self.g711.get(self.place..end);
        let payload = payload.unwrap_or_else(|| &self.g711[..self.packet_samples]);
        self.place = if end <= self.g711.len() {
            end
        } else {
            self.packet_samples
        };
        let builder = RtpPacketBuilder::new()
            .payload_type(match self.law {
                Law::Pcmu => 0,
                Law::Pcma => 8,
            })
            .marked(std::mem::take(&mut self.is_first))
            .sequence(self.sequence_number.into())
            .timestamp(self.timestamp)
            .ssrc(self.ssrc)
            .payload(payload);
        packet.resize(builder.target_length(), 0);
        builder.build_into_unchecked(packet);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let samples = u32::try_from(self.packet_samples).unwrap_or(0);
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    fn send(&self, packet: &[u8], sent: &mut Sent) -> io::Result<()> {
        match self.socket.send(packet) {
            Ok(length) => {
                sent.packets += 1;
                sent.bytes += length as u64;
                Ok(())
            }
            // About an earlier packet; the next one is tried again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                sent.refused += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let local = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(local)?;
    socket.connect(target)?;
    Ok(socket)
}

/// A number that looks random and is the same for the same seed (SplitMix64).
const fn scatter(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(GOLDEN_RATIO);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// 2^64 divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
const fn low(random: u64) -> u16 {
    random as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_begin_all_over_the_recording() {
        let crowd = Crowd {
            recordings: Vec::new(),
            first: SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000)),
            streams: 100,
            packet_time: Samples::from_ms(20),
            length: Duration::from_secs(1),
            seed: 7,
        };
        let mut tenths = [0; 10];
        for stream in 0..100 {
            tenths[crowd.place(stream, 1000) / 100] += 1;
        }
        assert!(
            tenths.iter().all(|&count| (9..=11).contains(&count)),
            "{tenths:?}"
        );
    }
}
