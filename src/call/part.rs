//! The parts of a leg that wait for their text, and the order in which their lines may go out.

use std::collections::VecDeque;

use crate::asr::Recognition;
use crate::event::GapReason;
use crate::media::Samples;

/// How a part came out.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// It has its final text.
    Recognised(Recognition),
    /// It will have none.
    Unrecognised {
        /// Why.
        reason: GapReason,
        /// For people.
        detail: String,
    },
}

/// A part from its onset to its outcome.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Ordinal of the utterance on its leg.
    pub utterance: u64,
    /// Ordinal of the part in its utterance.
    pub part: u32,
    /// Where it starts on the call clock.
    pub start: Samples,
    /// Where it ends, once closed.
    pub closed: Option<Closed>,
    /// How often a line about it went out.
    pub revision: u32,
    outcome: Option<Outcome>,
}

/// What is known of a part once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Closed {
    /// Where it ends on the call clock.
    pub end: Samples,
    /// Received samples in it.
    pub speech: Samples,
    /// Whether it is the last of its utterance.
    pub last: bool,
}

/// The unsettled parts of a leg, oldest first.
///
/// A part is settled when it is closed and has its outcome and no earlier part of the same utterance is unsettled: the
/// line that closes an utterance is then the last line of that utterance. Utterances do not wait for each other.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Parts {
    waiting: VecDeque<Part>,
}

impl Parts {
    /// A part begins.
    pub fn open(&mut self, utterance: u64, part: u32, start: Samples) {
        let (closed, outcome) = (None, None);
        self.waiting.push_back(Part {
            utterance,
            part,
            start,
            closed,
            revision: 0,
            outcome,
        });
    }

    /// The youngest part is complete.
    pub fn close(&mut self, closed: Closed) {
        if let Some(part) = self.waiting.back_mut() {
            part.closed = Some(closed);
        }
    }

    /// A part has its outcome; a second one for the same part changes nothing.
    pub fn settle(&mut self, utterance: u64, part: u32, outcome: Outcome) {
        if let Some(part) = self.find(utterance, part) {
            part.outcome.get_or_insert(outcome);
        }
    }

    /// The part, if it is not settled yet.
    pub fn find(&mut self, utterance: u64, part: u32) -> Option<&mut Part> {
        self.waiting
            .iter_mut()
            .find(|p| p.utterance == utterance && p.part == part)
    }

    /// Takes the next settled part, with its extent and its outcome.
    pub fn poll_settled(&mut self) -> Option<(Part, Closed, Outcome)> {
        let ready = (0..self.waiting.len()).find(|&i| self.is_ready(i))?;
        let mut part = self.waiting.remove(ready)?;
        let (closed, outcome) = (part.closed?, part.outcome.take()?);
        Some((part, closed, outcome))
    }

    /// How many wait for their text, the one that is being spoken included.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The parts whose outcome is not known, oldest first.
    pub fn undecided(&self) -> impl Iterator<Item = &Part> {
        self.waiting.iter().filter(|part| part.outcome.is_none())
    }

    /// Whether every part has been settled.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_ready(&self, index: usize) -> bool {
        let part = &self.waiting[index];
        part.closed.is_some()
            && part.outcome.is_some()
            && self
                .waiting
                .iter()
                .take(index)
                .all(|earlier| earlier.utterance != part.utterance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Outcome {
        Outcome::Recognised(Recognition {
            text: text.into(),
            ..Recognition::default()
        })
    }

    fn closed(end: u64, last: bool) -> Closed {
        Closed {
            end: Samples(end),
            speech: Samples(160),
            last,
        }
    }

    #[test]
    fn last_part_waits_for_an_earlier_one() {
        let mut parts = Parts::default();
        parts.open(0, 0, Samples(0));
        parts.close(closed(160, false));
        parts.open(0, 1, Samples(160));
        parts.close(closed(320, true));
        parts.settle(0, 1, text("second"));
        assert_eq!(parts.poll_settled(), None);

        parts.settle(0, 0, text("first"));
        let order: Vec<u32> = std::iter::from_fn(|| parts.poll_settled())
            .map(|p| p.0.part)
            .collect();
        assert_eq!(order, [0, 1]);
        assert!(parts.is_empty());
    }

    #[test]
    fn utterances_do_not_wait_for_each_other() {
        let mut parts = Parts::default();
        parts.open(0, 0, Samples(0));
        parts.close(closed(160, true));
        parts.open(1, 0, Samples(800));
        parts.close(closed(960, true));
        parts.settle(1, 0, text("later"));
        assert_eq!(parts.poll_settled().map(|p| p.0.utterance), Some(1));
    }

    #[test]
    fn outcome_before_the_close_waits_for_the_close() {
        let mut parts = Parts::default();
        parts.open(0, 0, Samples(0));
        parts.settle(
            0,
            0,
            Outcome::Unrecognised {
                reason: GapReason::Quota,
                detail: "".into(),
            },
        );
        assert_eq!(parts.poll_settled(), None);
        parts.close(closed(160, true));
        assert_eq!(parts.poll_settled().map(|p| p.1.end), Some(Samples(160)));
    }

    #[test]
    fn second_outcome_changes_nothing() {
        let mut parts = Parts::default();
        parts.open(0, 0, Samples(0));
        parts.close(closed(160, true));
        parts.settle(0, 0, text("one"));
        parts.settle(0, 0, text("two"));
        assert_eq!(parts.poll_settled().map(|p| p.2), Some(text("one")));
        parts.settle(0, 0, text("three"));
        assert_eq!(parts.poll_settled(), None);
    }
}
