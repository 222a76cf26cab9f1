//! Datagrams that come to a port and belong to no call: counted by cause, with the last senders as
//! evidence for whoever asks why nothing is heard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::media::admission::Admission;

/// Senders that are remembered; the one that was silent longest makes room.
const MAX_SENDERS: usize = 16;

/// Why a datagram belongs to no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StrayCause {
    /// It would be heard, but nobody registered a call on its port.
    NoCall,
    /// Its stream was that of a call that is over.
    OldCall,
    /// It would have begun a call, but there was too much to do.
    Refused,
    /// Its sender is in no allowed network.
    SourceNotAllowed,
    /// Its payload type has no meaning here.
    UnknownPayloadType,
    /// It is no RTP, or broken.
    NotRtp,
}

impl StrayCause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::NoCall,
        Self::OldCall,
        Self::Refused,
        Self::SourceNotAllowed,
        Self::UnknownPayloadType,
        Self::NotRtp,
    ];

    /// The cause in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCall => "no_call",
            Self::OldCall => "old_call",
            Self::Refused => "refused",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::UnknownPayloadType => "unknown_payload_type",
            Self::NotRtp => "not_rtp",
        }
    }

    const fn of(admission: Admission) -> Self {
        match admission {
            Admission::Admitted(_) => Self::NoCall,
            Admission::SourceNotAllowed => Self::SourceNotAllowed,
            Admission::UnknownPayloadType(_) => Self::UnknownPayloadType,
            Admission::NotRtp => Self::NotRtp,
        }
    }
}

/// A sender whose datagrams belong to no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StraySender {
    /// The local port.
    pub port: u16,
    /// The sender.
    pub source: SocketAddr,
    /// Why it is not heard.
    pub cause: StrayCause,
    /// The payload type that has no meaning here.
    pub payload_type: Option<u8>,
    /// Datagrams since it is remembered.
    pub datagrams: u64,
    /// When the last one came.
    pub last: Instant,
}

/// The strays of a worker.
#[derive(Debug, Default)]
pub struct Strays {
    counts: [u64; StrayCause::ALL.len()],
    senders: Vec<StraySender>,
}

impl Strays {
    /// A datagram on `port` belongs to no call, because of `why` if not of what it is itself.
    pub fn note(
        &mut self,
        port: u16,
        source: SocketAddr,
        admission: Admission,
        why: Option<StrayCause>,
        now: Instant,
    ) {
        let cause = why.unwrap_or(StrayCause::of(admission));
        self.counts[cause as usize] += 1;
        let payload_type = match admission {
            Admission::UnknownPayloadType(payload_type) => Some(payload_type),
            Admission::Admitted(_) | Admission::SourceNotAllowed | Admission::NotRtp => None,
        };
        let sender = StraySender {
            port,
            source,
            cause,
            payload_type,
            datagrams: 1,
            last: now,
        };
        self.remember(sender);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of each cause.
    pub fn counts(&self) -> impl Iterator<Item = (StrayCause, u64)> {
        StrayCause::ALL.into_iter().zip(self.counts)
    }

    /// The senders that were heard of within the last `window`.
    pub fn senders(&self, window: Duration, now: Instant) -> impl Iterator<Item = &StraySender> {
        let is_recent =
            move |sender: &&StraySender| now.saturating_duration_since(sender.last) < window;
        self.senders.iter().filter(is_recent)
    }

    fn remember(&mut self, new: StraySender) {
        let is_same = |old: &&mut StraySender| {
            (old.port, old.source, old.cause, old.payload_type)
                == (new.port, new.source, new.cause, new.payload_type)
        };
        if let Some(old) = self.senders.iter_mut().find(is_same) {
            old.datagrams += 1;
            old.last = new.last;
        } else if self.senders.len() < MAX_SENDERS {
            self.senders.push(new);
        } else if let Some(oldest) = self.senders.iter_mut().min_by_key(|sender| sender.last) {
            *oldest = new;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn sender_is_remembered_once_with_its_count_and_payload_type() {
        let (mut strays, epoch) = (Strays::default(), Instant::now());
        for _ in 0..3 {
            let opus = Admission::UnknownPayloadType(111);
            strays.note(20_000, from(4_000), opus, None, epoch);
        }
        let senders: Vec<_> = strays.senders(WINDOW, epoch).collect();
        let [sender] = senders[..] else {
            panic!("{senders:?}")
        };
        assert_eq!((sender.datagrams, sender.payload_type), (3, Some(111)));
        assert_eq!(sender.cause, StrayCause::UnknownPayloadType);
        assert_eq!(strays.total(), 3);
    }

    #[test]
    fn flood_of_senders_is_bounded_and_the_newest_are_kept() {
        let (mut strays, epoch) = (Strays::default(), Instant::now());
        for n in 0..1_000_u16 {
            let now = epoch + Duration::from_millis(n.into());
            strays.note(20_000, from(n), Admission::NotRtp, None, now);
        }
        let kept: Vec<u16> = strays
            .senders(WINDOW, epoch)
            .map(|sender| sender.source.port())
            .collect();
        assert_eq!(kept.len(), MAX_SENDERS);
        assert!(kept.iter().all(|&port| port >= 984), "{kept:?}");
        assert_eq!(strays.total(), 1_000);
    }

    #[test]
    fn sender_that_has_gone_is_no_evidence() {
        let (mut strays, epoch) = (Strays::default(), Instant::now());
        let old_call = Some(StrayCause::OldCall);
        strays.note(20_000, from(1), Admission::NotRtp, old_call, epoch);
        assert_eq!(strays.senders(WINDOW, epoch + WINDOW).count(), 0);
        let counts: Vec<_> = strays.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(StrayCause::OldCall, 1)]);
    }
}
