//! The account of a leg: where every sample of it went.

use crate::event::{Coverage, RtpFigures};
use crate::media::{Frame, Samples};

/// The account; [`Ledger::coverage`] gives its sums in milliseconds that add up exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    received: Samples,
    lost: Samples,
    speech: Samples,
    transcribed: Samples,
    gap: Samples,
}

/// The sums of one leg or of many; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What arrived, or was meant as silence by the sender.
    pub received: Samples,
    /// What never arrived.
    pub lost: Samples,
    /// Received, inside parts that are complete.
    pub speech: Samples,
    /// Speech in final transcripts.
    pub transcribed: Samples,
    /// Speech in `gap` lines.
    pub gap: Samples,
}

impl Sums {
    /// Adds the sums of another leg.
    pub const fn add(&mut self, other: &Self) {
        self.received.0 += other.received.0;
        self.lost.0 += other.lost.0;
        self.speech.0 += other.speech.0;
        self.transcribed.0 += other.transcribed.0;
        self.gap.0 += other.gap.0;
    }
}

impl Ledger {
    /// Twenty milliseconds came out of the receiver.
    pub fn count_frame(&mut self, frame: &Frame) {
        self.received += frame.received();
        self.lost += Samples(u64::from(frame.lost));
    }

    /// The sender was silent on purpose.
    pub fn count_silence(&mut self, len: Samples) {
        self.received += len;
    }

    /// A part was closed: so much of what was received is speech.
    pub fn count_speech(&mut self, speech: Samples) {
        self.speech += speech;
    }

    /// The final text of a part was published.
    pub fn count_transcribed(&mut self, speech: Samples) {
        self.transcribed += speech;
    }

    /// A part was given up with a `gap` line.
    pub fn count_gap(&mut self, speech: Samples) {
        self.gap += speech;
    }

    /// Whether every sample of speech is accounted for.
    pub fn is_settled(&self) -> bool {
        self.transcribed + self.gap == self.speech
    }

    /// Length of the leg on the call clock.
    pub fn duration(&self) -> Samples {
        self.received + self.lost
    }

    /// The sums, for adding up those of many legs.
    pub const fn sums(&self) -> Sums {
        Sums {
            received: self.received,
            lost: self.lost,
            speech: self.speech,
            transcribed: self.transcribed,
            gap: self.gap,
        }
    }

    /// The sums in milliseconds. The three equations of the contract hold exactly: one term of each is taken as the
    /// difference, so that rounding cannot break them.
    pub fn coverage(&self, channel: u8) -> Coverage {
        let duration_ms = self.duration().as_ms();
        let lost_ms = self.lost.as_ms();
        let received_ms = duration_ms - lost_ms;
        let speech_ms = self.speech.as_ms();
        let transcribed_ms = self.transcribed.as_ms();
        Coverage {
            channel,
            received_ms,
            lost_ms,
            silence_ms: received_ms - speech_ms,
            speech_ms,
            transcribed_ms,
            gap_ms: speech_ms - transcribed_ms,
            rtp: RtpFigures::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn milliseconds_add_up_whatever_the_samples(
            silence in 0_u64..1_000_000, lost in 0_u64..100_000,
            transcribed in 0_u64..500_000, gap in 0_u64..500_000,
        ) {
            let speech = Samples(transcribed + gap);
            let mut ledger = Ledger { lost: Samples(lost), ..Ledger::default() };
            ledger.count_silence(speech + Samples(silence));
            ledger.count_speech(speech);
            ledger.count_transcribed(Samples(transcribed));
            prop_assert_eq!(ledger.is_settled(), gap == 0);
            ledger.count_gap(Samples(gap));
            prop_assert!(ledger.is_settled());

            let c = ledger.coverage(0);
            prop_assert_eq!(c.received_ms + c.lost_ms, ledger.duration().as_ms());
            prop_assert_eq!(c.speech_ms + c.silence_ms, c.received_ms);
            prop_assert_eq!(c.transcribed_ms + c.gap_ms, c.speech_ms);
            prop_assert!(gap > 0 || c.gap_ms == 0);
        }
    }
}
