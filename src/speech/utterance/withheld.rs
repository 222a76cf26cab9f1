//! The frames of which it is not known yet whether an utterance takes them.

use std::collections::VecDeque;

use crate::media::{FRAME_SAMPLES, Samples};
use crate::speech::utterance::parts::Heard;

/// Contiguous frames that wait to be taken into an utterance or left in silence.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    frames: VecDeque<Heard>,
    /// How many of them are shorter than others.
    short: usize,
}

impl Withheld {
    pub(super) fn push(&mut self, heard: Heard) {
        self.short += usize::from(is_short(&heard));
        self.frames.push_back(heard);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Heard> {
        self.short = 0;
        self.frames.drain(..)
    }

    pub(super) fn clear(&mut self) {
        self.short = 0;
        self.frames.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Heard> {
        self.frames.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// How much audio it is at most; less where there are short ones.
    pub(super) fn longest(&self) -> Samples {
        Samples(self.frames.len() as u64 * FRAME_SAMPLES as u64)
    }

    pub(super) fn start(&self) -> Option<Samples> {
        self.frames.front().map(|heard| heard.frame.start)
    }

    /// Lets go of what ends more than `len` before the end of the newest frame. While all are whole, none is looked at:
    /// the oldest has left the cache long ago.
    pub(super) fn keep_last(&mut self, len: Samples) {
        if self.short == 0 {
            let whole = FRAME_SAMPLES as u64;
            let all = self.frames.len() as u64 * whole;
            let excess = all.saturating_sub(len.0) / whole;
            self.frames.drain(..usize::try_from(excess).unwrap_or(0));
        } else if let Some(newest) = self.frames.back() {
            self.keep_from(newest.frame.end().saturating_sub(len));
        }
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
        while let Some(oldest) = self.frames.front()
            && oldest.frame.end() <= from
        {
            self.short -= usize::from(is_short(oldest));
            self.frames.pop_front();
        }
    }
}

fn is_short(heard: &Heard) -> bool {
    usize::from(heard.frame.len) < FRAME_SAMPLES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Frame, Law};

    fn heard(start: u64, len: u8) -> Heard {
        Heard {
            frame: Frame {
                start: Samples(start),
                law: Law::Pcma,
                g711: [0xD5; FRAME_SAMPLES],
                len,
                lost: 0,
                telephone_event: false,
            },
            is_speech: false,
            level: 0.0,
        }
    }

    /// What is kept of frames of these lengths, by where each starts.
    fn kept(lens: &[u8], keep: u64) -> Vec<u64> {
        let (mut withheld, mut at) = (Withheld::default(), 0);
        for &len in lens {
            withheld.push(heard(at, len));
            withheld.keep_last(Samples(keep));
            at += u64::from(len);
        }
        withheld.iter().map(|heard| heard.frame.start.0).collect()
    }

    #[test]
    fn frames_that_end_within_the_last_stretch_are_kept() {
        assert_eq!(kept(&[160; 10], 480), [1_120, 1_280, 1_440]);
        assert_eq!(kept(&[160; 10], 481), [960, 1_120, 1_280, 1_440]);
        assert_eq!(kept(&[160; 2], 480), [0, 160]);
        assert_eq!(kept(&[160; 2], 0), [] as [u64; 0]);
    }

    #[test]
    fn short_frames_count_for_what_they_are() {
        assert_eq!(kept(&[160, 40, 160, 160], 360), [160, 200, 360]);
        assert_eq!(kept(&[160, 40, 160, 160, 160], 480), [200, 360, 520]);
        assert_eq!(kept(&[40, 160, 160, 160, 160], 320), [360, 520]);
    }
}
