//! What a leg's operator may want to know in numbers.

use crate::media::Ssrc;

/// Every datagram of a leg's port, by what became of it; the fields add up to the datagrams that
/// came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// RTP packets that became part of what is heard.
    pub played: u64,
    /// Came after their place was given up.
    pub late: u64,
    /// Second and further copies.
    pub duplicate: u64,
    /// RTP packets of another stream of the heard sender.
    pub other_ssrc: u64,
    /// Datagrams from an address that is not allowed, not registered, or not the heard one.
    pub source_rejected: u64,
    /// RTP packets of a payload type that is not in the table.
    pub unknown_payload_type: u64,
    /// RTP packets of the heard stream that are far outside its sequence.
    pub out_of_sequence: u64,
    /// RTP whose header lies, or whose payload is too long or too short for its type.
    pub malformed: u64,
    /// RTCP datagrams on the port of RTP or beside it.
    pub rtcp: u64,
    /// STUN messages.
    pub stun: u64,
    /// Neither RTP nor RTCP nor STUN.
    pub not_rtp: u64,
}

impl Counters {
    /// Datagrams that came, those apart that are still held back.
    pub const fn total(&self) -> u64 {
        self.played
            + self.late
            + self.duplicate
            + self.other_ssrc
            + self.source_rejected
            + self.unknown_payload_type
            + self.out_of_sequence
            + self.malformed
            + self.rtcp
            + self.stun
            + self.not_rtp
    }

    /// Adds the counts of another leg.
    pub const fn add(&mut self, other: &Self) {
        self.played += other.played;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.other_ssrc += other.other_ssrc;
        self.source_rejected += other.source_rejected;
        self.unknown_payload_type += other.unknown_payload_type;
        self.out_of_sequence += other.out_of_sequence;
        self.malformed += other.malformed;
        self.rtcp += other.rtcp;
        self.stun += other.stun;
        self.not_rtp += other.not_rtp;
    }
}

/// Figures of a leg, over all streams that were heard on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// The stream that is heard now, or was last.
    pub ssrc: Option<Ssrc>,
    /// Streams heard one after the other.
    pub streams: u64,
    /// Highest sequence number of the stream, with the count of cycles above it (RFC 3550 §6.4.1).
    pub extended_highest: u32,
    /// Packets sent, by their sequence numbers (RFC 3550 §A.3).
    pub expected: u64,
    /// Packets of the streams that came, duplicates and late ones included.
    pub received: u64,
    /// Expected less received (RFC 3550 §A.3); duplicates make it smaller.
    pub lost: i64,
    /// Interarrival jitter of the stream, in samples (RFC 3550 §A.8).
    pub jitter: u64,
    /// Samples of lost audio, concealed or silent.
    pub lost_samples: u64,
    /// Samples put in (positive) or left out (negative) outside speech to follow the sender's
    /// clock.
    pub clock_adjustment: i64,
    /// What became of each datagram.
    pub counters: Counters,
}
