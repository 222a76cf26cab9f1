//! The frames of which it is not known yet whether an utterance takes them.

use std::collections::VecDeque;

use crate::media::Samples;
use crate::speech::utterance::parts::Heard;

/// Contiguous frames that wait to be taken into an utterance or left in silence.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    frames: VecDeque<Heard>,
}

impl Withheld {
    pub(super) fn push(&mut self, heard: Heard) {
        self.frames.push_back(heard);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Heard> {
        self.frames.drain(..)
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Heard> {
        self.frames.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn start(&self) -> Option<Samples> {
        self.frames.front().map(|heard| heard.frame.start)
    }

    /// Lets go of what ends more than `len` before the newest frame's end.
    pub(super) fn keep_last(&mut self, len: Samples) {
        let Some(newest) = self.frames.back() else {
            return;
        };
        let from = newest.frame.end().saturating_sub(len);
        self.keep_from(from);
    }

    /// Lets go of what ends more than `pre_roll` before the first speech of the last `window`
    /// frames.
    pub(super) fn start_before_speech(&mut self, pre_roll: Samples, window: u32) {
        let mut window = self.frames.iter().rev().take(window as usize);
        let first = window.rfind(|heard| heard.is_speech);
        let Some(first) = first else { return };
        let from = first.frame.start.saturating_sub(pre_roll);
        self.keep_from(from);
    }

    fn keep_from(&mut self, from: Samples) {
        while self
            .frames
            .front()
            .is_some_and(|heard| heard.frame.end() <= from)
        {
            self.frames.pop_front();
        }
    }
}
