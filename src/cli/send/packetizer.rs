//! From audio to RTP packets, each with the time at which it is due.

use std::sync::Arc;

use audio_codec_algorithms::{encode_alaw, encode_ulaw};
use rtp_rs::RtpPacketBuilder;

use crate::cli::send::Packet;
use crate::cli::send::dtmf::{KeyPress, TelephoneEvent};
use crate::media::{Law, Samples, Ssrc};

/// How a stream looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The law that the audio is companded with.
    pub law: Law,
    /// Payload type of the audio, 0 to 127.
    pub payload_type: u8,
    /// Payload type of telephone events, 0 to 127.
    pub event_payload_type: u8,
    /// Audio in one packet.
    pub packet_time: Samples,
    /// The synchronization source.
    pub ssrc: Ssrc,
    /// Of the first packet; wraps.
    pub sequence_number: u16,
    /// Of the first packet; wraps.
    pub timestamp: u32,
}

/// The packets of one stream, from its first sample to its last: silence is sent like speech, as a
/// PBX without voice-activity suppression does. The last packet may be shorter than the others.
#[derive(Clone, Debug)]
pub struct Packetizer {
    profile: Profile,
    g711: Arc<[u8]>,
    events: Vec<TelephoneEvent>,
    position: u64,
    sequence_number: u16,
    /// End packets of a telephone event that are still to be sent (RFC 4733 §2.5.1.4: three).
    repeats: Option<(Packet, u8)>,
}

impl Packetizer {
    /// Makes the stream of companded audio; `keys` are pressed over it.
    pub fn new(profile: Profile, g711: Arc<[u8]>, keys: &[KeyPress]) -> Self {
        let packet_time = Samples(profile.packet_time.0.max(1));
        Self {
            profile: Profile {
                packet_time,
                ..profile
            },
            g711,
            events: keys.iter().map(|key| key.aligned_to(packet_time)).collect(),
            position: 0,
            sequence_number: profile.sequence_number,
            repeats: None,
        }
    }

    /// Where the stream ends: with its audio, or with the last key.
    fn end(&self) -> u64 {
        let keys = self.events.iter().map(|event| event.end().0).max();
        keys.unwrap_or(0).max(self.g711.len() as u64)
    }

    fn audio_packet(&mut self, end: u64) -> Packet {
        let start = self.position;
        let stop = (start + self.profile.packet_time.0).min(end);
        let have = |at: u64| {
            usize::try_from(at)
                .unwrap_or(usize::MAX)
                .min(self.g711.len())
        };
        let mut payload = self.g711[have(start)..have(stop)].to_vec();
        let silence = compand(self.profile.law, 0);
        payload.resize(usize::try_from(stop - start).unwrap_or(0), silence);
        let packet = self.packet(self.profile.payload_type, start == 0, start, &payload);
        self.position = stop;
        packet
    }

    fn event_packet(&mut self, event: TelephoneEvent) -> Packet {
        let payload = event.payload(Samples(self.position), self.profile.packet_time);
        let is_first = event.start.0 == self.position;
        let packet = self.packet(
            self.profile.event_payload_type,
            is_first,
            event.start.0,
            &payload,
        );
        self.position += self.profile.packet_time.0;
        if self.position == event.end().0 {
            self.repeats = Some((packet.clone(), 2));
        }
        packet
    }

    fn packet(&mut self, payload_type: u8, marker: bool, start: u64, payload: &[u8]) -> Packet {
        #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap")]
        let timestamp = self.profile.timestamp.wrapping_add(start as u32);
        let builder = RtpPacketBuilder::new()
            .payload_type(payload_type)
            .marked(marker)
            .sequence(self.sequence_number.into())
            .timestamp(timestamp)
            .ssrc(self.profile.ssrc.0)
            .payload(payload);
        let mut bytes = vec![0; builder.target_length()];
        builder.build_into_unchecked(&mut bytes);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        Packet {
            due: Samples(self.position).as_duration(),
            bytes,
        }
    }

    /// The pending repetition of an end packet: the same, under the next sequence number.
    fn repetition(&mut self) -> Option<Packet> {
        let (packet, left) = self.repeats.as_mut()?;
        packet.bytes[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        // The marker stands on the first packet of an event only (RFC 4733 §2.3).
        packet.bytes[1] &= 0x7f;
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let packet = packet.clone();
        *left -= 1;
        if *left == 0 {
            self.repeats = None;
        }
        Some(packet)
    }
}

impl Iterator for Packetizer {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if let Some(packet) = self.repetition() {
            return Some(packet);
        }
        let end = self.end();
        if self.position >= end {
            return None;
        }
        let position = Samples(self.position);
        match self
            .events
            .iter()
            .find(|event| event.covers(position))
            .copied()
        {
            Some(event) => Some(self.event_packet(event)),
            None => Some(self.audio_packet(end)),
        }
    }
}

/// Compands 16-bit samples.
pub fn compand_all(law: Law, samples: &[i16]) -> Arc<[u8]> {
    samples.iter().map(|&sample| compand(law, sample)).collect()
}

fn compand(law: Law, sample: i16) -> u8 {
    match law {
        Law::Pcmu => encode_ulaw(sample),
        Law::Pcma => encode_alaw(sample),
    }
}

/// The longest packet time whose payload fits an Ethernet frame, 1460 bytes, in milliseconds.
pub const MAX_PACKET_TIME_MS: u64 = 182;

#[cfg(test)]
mod tests {
    use rtp_rs::RtpReader;

    use super::*;

    #[test]
    fn every_sample_is_sent_once_and_the_last_packet_is_short() {
        let audio: Vec<u8> = (0..=255).cycle().take(500).collect();
        let packets: Vec<_> = Packetizer::new(PROFILE, audio.clone().into(), &[]).collect();
        let sizes: Vec<_> = packets.iter().map(|p| payload(p).len()).collect();
        assert_eq!(sizes, [160, 160, 160, 20]);
        assert_eq!(packets.iter().flat_map(payload).collect::<Vec<_>>(), audio);
        let due: Vec<_> = packets.iter().map(|p| p.due.as_millis()).collect();
        assert_eq!(due, [0, 20, 40, 60]);
    }

    #[test]
    fn sequence_number_and_timestamp_wrap() {
        let profile = Profile {
            sequence_number: u16::MAX,
            timestamp: u32::MAX - 79,
            ..PROFILE
        };
        let packets: Vec<_> = Packetizer::new(profile, vec![0; 480].into(), &[]).collect();
        let numbers: Vec<u16> = packets
            .iter()
            .map(|p| header(p, |r| r.sequence_number().into()))
            .collect();
        assert_eq!(numbers, [u16::MAX, 0, 1]);
        let stamps: Vec<_> = packets
            .iter()
            .map(|p| header(p, |r| r.timestamp()))
            .collect();
        assert_eq!(stamps, [u32::MAX - 79, 80, 240]);
    }

    #[test]
    fn profile_is_what_the_packets_say() {
        let packet = Packetizer::new(PROFILE, vec![0xff; 80].into(), &[])
            .next()
            .unwrap();
        let read = RtpReader::new(&packet.bytes).unwrap();
        assert_eq!(
            (read.ssrc(), read.payload_type(), read.mark()),
            (0xabcd, 8, true)
        );
    }

    #[test]
    fn key_takes_the_place_of_audio_under_one_timestamp() {
        let key = KeyPress {
            digit: '#',
            start: Samples(155),
            duration: Samples(300),
        };
        let packets: Vec<_> = Packetizer::new(PROFILE, vec![1; 800].into(), &[key]).collect();
        let seen: Vec<_> = packets
            .iter()
            .map(|p| {
                header(p, |r| {
                    (r.payload_type(), r.timestamp(), r.mark(), r.payload()[0])
                })
            })
            .collect();
        let key = |mark| (101, 1160, mark, 11);
        let expected = [
            (8, 1000, true, 1),
            key(true),
            key(false),
            key(false),
            key(false),
            (8, 1480, false, 1),
            (8, 1640, false, 1),
        ];
        assert_eq!(seen, expected);
        let durations: Vec<_> = packets[1..5]
            .iter()
            .map(|p| payload(p)[1..].to_vec())
            .collect();
        // Duration 160, then 320 with the end bit, three times.
        assert_eq!(durations[0], [10, 0, 160]);
        assert!(durations[1..].iter().all(|d| *d == [0x80 | 10, 1, 64]));
        let numbers: Vec<u16> = packets
            .iter()
            .map(|p| header(p, |r| r.sequence_number().into()))
            .collect();
        assert_eq!(numbers, (7..14).collect::<Vec<u16>>());
    }

    #[test]
    fn key_after_the_end_of_the_audio_is_reached_through_silence() {
        let key = KeyPress {
            digit: '1',
            start: Samples(480),
            duration: Samples(160),
        };
        let packets: Vec<_> = Packetizer::new(PROFILE, vec![1; 160].into(), &[key]).collect();
        let types: Vec<_> = packets
            .iter()
            .map(|p| header(p, |r| r.payload_type()))
            .collect();
        assert_eq!(types, [8, 8, 8, 101, 101, 101]);
        assert!(
            payload(&packets[2]).iter().all(|&byte| byte == 0xd5),
            "A-law silence"
        );
    }

    const PROFILE: Profile = Profile {
        law: Law::Pcma,
        payload_type: 8,
        event_payload_type: 101,
        packet_time: Samples(160),
        ssrc: Ssrc(0xabcd),
        sequence_number: 7,
        timestamp: 1000,
    };

    fn header<T>(packet: &Packet, read: impl FnOnce(RtpReader<'_>) -> T) -> T {
        read(RtpReader::new(&packet.bytes).unwrap())
    }

    fn payload(packet: &Packet) -> Vec<u8> {
        header(packet, |reader| reader.payload().to_vec())
    }
}
