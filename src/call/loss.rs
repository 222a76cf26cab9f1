//! Stretches in which the network lost everything: too long to conceal, so a `gap` line tells of them.

use crate::media::{Frame, Samples};

/// Loss is told from this length on; concealment has faded to silence by then.
const TOLD_FROM: Samples = Samples::from_ms(100);

/// The loss that is going on in a leg, if any.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct LossRun {
    going_on: Option<(Samples, Samples)>,
}

impl LossRun {
    /// Whether audio is being lost.
    pub const fn is_going_on(&self) -> bool {
        self.going_on.is_some()
    }

    /// Looks at the next frame; gives start and end of a long loss that is over with it.
    pub fn note(&mut self, frame: &Frame) -> Option<(Samples, Samples)> {
        if frame.lost == frame.len {
            let start = self.going_on.map_or(frame.start, |(start, _)| start);
            self.going_on = Some((start, frame.end()));
            return None;
        }
        self.finish()
    }

    /// The leg has ended: gives start and end of a long loss that was going on.
    pub fn finish(&mut self) -> Option<(Samples, Samples)> {
        self.going_on
            .take()
            .filter(|&(start, end)| end.saturating_sub(start) >= TOLD_FROM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FRAME_SAMPLES, Law};

    fn frame(index: u64, lost: u8) -> Frame {
        Frame {
            start: Samples(index * 160),
            law: Law::Pcmu,
            g711: [0xFF; FRAME_SAMPLES],
            len: 160,
            lost,
            telephone_event: false,
        }
    }

    #[test]
    fn long_loss_is_told_once_with_its_extent() {
        let mut loss = LossRun::default();
        assert_eq!(loss.note(&frame(0, 0)), None);
        assert!((1..=6).all(|index| loss.note(&frame(index, 160)).is_none()));
        assert_eq!(
            loss.note(&frame(7, 20)),
            Some((Samples(160), Samples(7 * 160)))
        );
        assert_eq!(loss.note(&frame(8, 0)), None);
    }

    #[test]
    fn short_loss_is_not_told() {
        let mut loss = LossRun::default();
        assert!((0..4).all(|index| loss.note(&frame(index, 160)).is_none()));
        assert_eq!(loss.note(&frame(4, 0)), None);
    }
}
