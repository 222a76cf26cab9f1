//! One utterance, written out in parts that fit a recognition each.

mod saved;

use std::collections::VecDeque;

use crate::media::{Frame, Samples};
use crate::speech::{Output, cut};
pub(super) use saved::SavedParts;

/// A frame with what the detector made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) frame: Frame,
    pub(super) is_speech: bool,
    /// In dBFS.
    pub(super) level: f32,
}

impl Heard {
    fn as_piece(&self) -> cut::Piece {
        cut::Piece {
            len: Samples(u64::from(self.frame.len)),
            level: self.level,
            is_speech: self.is_speech,
        }
    }
}

/// The open utterance on its way out: frames pass at once, until its part is long enough to be cut;
/// from then on they are held back within the look-ahead.
#[derive(Debug)]
pub(super) struct Parts {
    settings: cut::Settings,
    utterance: u64,
    utterance_start: Samples,
    part: u32,
    part_start: Samples,
    /// Up to where the audio is put out.
    put_out: Samples,
    /// Received samples put out in this part.
    speech: Samples,
    held: VecDeque<Heard>,
    held_len: Samples,
    /// Scratch for the decision, kept for its memory.
    window: Vec<cut::Piece>,
}

impl Parts {
    /// Opens an utterance and its first part.
    pub(super) fn open(
        settings: cut::Settings,
        utterance: u64,
        start: Samples,
        outputs: &mut VecDeque<Output>,
    ) -> Self {
        outputs.push_back(Output::Started { utterance, start });
        outputs.push_back(Output::PartOpened {
            utterance,
            part: 0,
            start,
        });
        Self {
            settings,
            utterance,
            utterance_start: start,
            part: 0,
            part_start: start,
            put_out: start,
            speech: Samples::ZERO,
            held: VecDeque::new(),
            held_len: Samples::ZERO,
            window: Vec::new(),
        }
    }

    /// Takes the next frame of the utterance.
    pub(super) fn push(&mut self, heard: Heard, outputs: &mut VecDeque<Output>) {
        if heard.frame.end().saturating_sub(self.part_start) > self.settings.limit {
            let cut = cut::anywhere(self.window());
            self.cut(cut, outputs);
        }
        self.hold(heard);
        if heard.frame.end().saturating_sub(self.part_start) <= self.settings.search_from {
            return self.release(Samples::ZERO, outputs);
        }
        if heard.is_speech && self.follows_a_pause() {
            let offset = self.put_out - self.part_start;
            let settings = self.settings;
            if let Some(cut) = cut::at_pause(self.window(), offset, &settings) {
                return self.cut(cut, outputs);
            }
        }
        self.release(self.settings.look_ahead, outputs);
    }

    /// Closes the last part and the utterance at the end of the last frame; gives that end.
    pub(super) fn close(mut self, outputs: &mut VecDeque<Output>) -> Samples {
        self.release(Samples::ZERO, outputs);
        let end = self.put_out;
        outputs.push_back(Output::PartClosed {
            end,
            speech: self.speech,
            last: true,
        });
        outputs.push_back(Output::Ended {
            utterance: self.utterance,
            start: self.utterance_start,
            end,
        });
        end
    }

    /// Ends the part after so many held frames; the others begin the next one.
    fn cut(&mut self, count: usize, outputs: &mut VecDeque<Output>) {
        for _ in 0..count {
            self.put_out_oldest(outputs);
        }
        let end = self.put_out;
        outputs.push_back(Output::PartClosed {
            end,
            speech: self.speech,
            last: false,
        });
        self.part += 1;
        self.part_start = end;
        self.speech = Samples::ZERO;
        outputs.push_back(Output::PartOpened {
            utterance: self.utterance,
            part: self.part,
            start: end,
        });
        self.release(Samples::ZERO, outputs);
    }

    /// Up to where the audio is put out.
    pub(super) const fn put_out(&self) -> Samples {
        self.put_out
    }

    /// What is held back.
    #[cfg(test)]
    pub(super) fn held_len(&self) -> Samples {
        self.held_len
    }

    fn hold(&mut self, heard: Heard) {
        self.held_len += Samples(u64::from(heard.frame.len));
        self.held.push_back(heard);
    }

    /// Puts out the oldest held frames until no more than `keep` is held.
    fn release(&mut self, keep: Samples, outputs: &mut VecDeque<Output>) {
        while self.held_len > keep {
            self.put_out_oldest(outputs);
        }
    }

    fn put_out_oldest(&mut self, outputs: &mut VecDeque<Output>) {
        let Some(Heard { frame, .. }) = self.held.pop_front() else {
            return;
        };
        self.held_len = self.held_len.saturating_sub(Samples(u64::from(frame.len)));
        self.put_out = frame.end();
        self.speech += frame.received();
        outputs.push_back(Output::Audio(frame));
    }

    fn follows_a_pause(&self) -> bool {
        let before = self
            .held
            .len()
            .checked_sub(2)
            .and_then(|index| self.held.get(index));
        before.is_some_and(|heard| !heard.is_speech)
    }

    fn window(&mut self) -> &[cut::Piece] {
        self.window.clear();
        self.window.extend(self.held.iter().map(Heard::as_piece));
        &self.window
    }
}
