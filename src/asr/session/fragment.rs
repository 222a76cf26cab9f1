//! Cuts the audio of a part into messages of legal size.

use std::ops::Range;

use super::settings::AudioFormat;

/// The least bytes of one binary message at 8 kHz.
pub const MIN_MESSAGE_BYTES: usize = 160;

/// The most bytes of one binary message at 8 kHz.
pub const MAX_MESSAGE_BYTES: usize = 32_768;

/// One binary message: samples of the part, then silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Samples of the part, counted from its start.
    pub samples: Range<usize>,
    /// Samples of silence behind them: only where the last message of a part would be too short.
    pub padding: usize,
}

impl Fragment {
    /// Samples on the wire.
    pub fn len(&self) -> usize {
        self.samples.len() + self.padding
    }

    /// Whether there is nothing to send; never so for a fragment that was cut.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Cuts fragments of one size, each as soon as it is complete: what comes after it may be a pause, and that is withheld
/// until it is over. What is left at the end of the part goes out at once, padded where it is too short for a message.
#[derive(Clone, Debug)]
pub(super) struct Fragmenter {
    size: usize,
    least: usize,
    sent: usize,
    finished: bool,
}

impl Fragmenter {
    /// A fragmenter for `size` samples a message.
    pub(super) fn new(size: usize, format: AudioFormat) -> Self {
        let bytes = format.bytes_per_sample();
        let least = MIN_MESSAGE_BYTES / bytes;
        // What is left at the end is sent with the message before it, if that has not gone out.
        let most = MAX_MESSAGE_BYTES / bytes - least;
        Self {
            size: size.clamp(least, most),
            least,
            sent: 0,
            finished: false,
        }
    }

    /// The next message of a part of `len` samples that is complete (`closed`) or still grows.
    pub(super) fn next(&mut self, len: usize, closed: bool) -> Option<Fragment> {
        let waiting = len.saturating_sub(self.sent);
        let take = if self.finished {
            return None;
        } else if closed && waiting < self.size + self.least {
            self.finished = true;
            waiting
        } else if waiting >= self.size {
            self.size
        } else {
            return None;
        };
        if take == 0 && self.sent > 0 {
            return None;
        }
        let samples = self.sent..self.sent + take;
        self.sent = samples.end;
        let padding = self.least.saturating_sub(take);
        Some(Fragment { samples, padding })
    }

    /// Whether there is no further message of the part.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The length of the part from which there is a next message, if it is not closed before.
    pub(super) fn wanted(&self) -> usize {
        self.sent + self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(fragmenter: &mut Fragmenter, len: usize, closed: bool) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| fragmenter.next(len, closed))
            .map(|fragment| (fragment.samples.len(), fragment.padding))
            .collect()
    }

    #[test]
    fn fragment_goes_out_when_it_is_complete() {
        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Pcm8k16bit);
        assert_eq!(fragmenter.wanted(), 3200);
        assert_eq!(cut(&mut fragmenter, 3199, false), []);
        assert_eq!(cut(&mut fragmenter, 3200, false), [(3200, 0)]);
        assert_eq!(cut(&mut fragmenter, 6480, false), [(3200, 0)]);
        assert_eq!(cut(&mut fragmenter, 6481, true), [(81, 0)]);
        assert!(fragmenter.is_finished());
    }

    #[test]
    fn short_tail_is_padded_or_merged_into_what_has_not_gone_out() {
        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Pcm8k16bit);
        assert_eq!(cut(&mut fragmenter, 3279, true), [(3279, 0)]);

        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Pcm8k16bit);
        assert_eq!(cut(&mut fragmenter, 3200, false), [(3200, 0)]);
        assert_eq!(cut(&mut fragmenter, 3279, true), [(79, 1)]);
    }

    #[test]
    fn part_that_ends_with_a_fragment_has_no_further_message() {
        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Pcm8k16bit);
        assert_eq!(cut(&mut fragmenter, 3200, false), [(3200, 0)]);
        assert_eq!(cut(&mut fragmenter, 3200, true), []);
        assert!(fragmenter.is_finished());
    }

    #[test]
    fn part_shorter_than_a_message_is_padded_once() {
        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Ulaw8k8bit);
        assert_eq!(cut(&mut fragmenter, 10, true), [(10, 150)]);
        assert!(fragmenter.is_finished());
        assert_eq!(cut(&mut fragmenter, 10, true), []);
    }

    #[test]
    fn silent_part_is_one_message_of_silence() {
        let mut fragmenter = Fragmenter::new(3200, AudioFormat::Pcm8k16bit);
        assert_eq!(cut(&mut fragmenter, 0, true), [(0, 80)]);
    }

    proptest! {
        #[test]
        fn every_sample_is_in_one_legal_message(
            steps in prop::collection::vec(0_usize..9000, 0..60),
            ms in 20_usize..=2000,
            pcm: bool,
        ) {
            let format = if pcm { AudioFormat::Pcm8k16bit } else { AudioFormat::Alaw8k8bit };
            let mut fragmenter = Fragmenter::new(ms * 8, format);
            let (mut len, mut next) = (0, 0);
            let last = steps.len();
            for (n, step) in steps.into_iter().chain([0]).enumerate() {
                len += step;
                while let Some(fragment) = fragmenter.next(len, n == last) {
                    let bytes = fragment.len() * format.bytes_per_sample();
                    prop_assert!((MIN_MESSAGE_BYTES..=MAX_MESSAGE_BYTES).contains(&bytes));
                    prop_assert!(fragment.padding == 0 || fragment.samples.end == len && n == last);
                    prop_assert_eq!(fragment.samples.start, next);
                    next = fragment.samples.end;
                }
            }
            prop_assert_eq!(next, len);
            prop_assert!(fragmenter.is_finished());
        }
    }
}
