//! When an utterance begins, ends and is cut.

use std::time::Duration;

use crate::media::Samples;
use crate::speech::cut;

/// The times of an utterance as somebody wants them; [`Settings::new`] checks them.
///
/// [`Timing::default`] is [`Timing::dialogue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Audio before the first speech that belongs to the utterance; 0 to 2 s, 300 ms by default.
    /// Less may cost a soft first consonant, more is billed for nothing.
    pub pre_roll: Duration,
    /// Audio after the last speech that belongs to the utterance; at most the hangover, 200 ms by
    /// default. Less may cost a soft last syllable, more is billed for nothing.
    pub post_roll: Duration,
    /// Silence that ends an utterance; 100 ms to 5 s, 600 ms by default. Less cuts a thinking pause
    /// in two, more delays the text by as much. It is not billed: all of it beyond the post-roll is
    /// withheld.
    pub hangover: Duration,
    /// Speech that opens an utterance; 20 to 500 ms, 80 ms by default. Less lets clicks open one,
    /// more loses short words.
    pub onset: Duration,
    /// Length of a part from which on it is cut at a good pause; 1 s to the limit, 40 s by default.
    /// Less opens more sessions, more finds fewer good pauses.
    pub cut_from: Duration,
    /// The most audio in a part; up to 59 s, 58 s by default: the recogniser's own limit is one
    /// minute.
    pub cut_limit: Duration,
    /// Audio held back, past `cut_from`, to choose a place for the cut; 100 ms to 20 s, 4 s by
    /// default. Less makes worse cuts, more delays partial texts there and takes 10 kB a second
    /// while it lasts.
    pub look_ahead: Duration,
    /// Audio before a cut in no pause that the next session hears again, so that no word is lost
    /// between the two texts; 0 to 5 s, none by default, at most a quarter of `cut_limit`. Under 2 s
    /// there are too few common words to join the texts by; all of it is billed twice.
    pub overlap: Duration,
}

impl Timing {
    /// For conversations: an utterance ends soon, so that its text comes soon.
    pub const fn dialogue() -> Self {
        Self {
            pre_roll: Duration::from_millis(300),
            post_roll: Duration::from_millis(200),
            hangover: Duration::from_millis(600),
            onset: Duration::from_millis(80),
            cut_from: Duration::from_secs(40),
            cut_limit: Duration::from_secs(58),
            look_ahead: Duration::from_secs(4),
            overlap: Duration::ZERO,
        }
    }

    /// For one voice that speaks at length (voicemail, announcements, dictation): pauses seldom end
    /// an utterance.
    pub const fn monologue() -> Self {
        Self {
            hangover: Duration::from_millis(1_200),
            post_roll: Duration::from_millis(300),
            ..Self::dialogue()
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::dialogue()
    }
}

/// Times that were checked, in samples of the call clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) pre_roll: Samples,
    pub(super) post_roll: Samples,
    pub(super) hangover: Samples,
    /// Speech frames that open an utterance.
    pub(super) onset_frames: u32,
    pub(super) cut: cut::Settings,
}

impl Settings {
    /// Checks the times.
    ///
    /// # Errors
    /// The first time that is outside its range.
    pub fn new(timing: Timing) -> Result<Self, SettingsError> {
        let check = |key, value, least, most| {
            let refused = SettingsError {
                key,
                value,
                least,
                most,
            };
            if (least..=most).contains(&value) {
                Ok(Samples::from_duration(value))
            } else {
                Err(refused)
            }
        };
        let Timing {
            pre_roll,
            post_roll,
            hangover,
            onset,
            cut_from,
            cut_limit,
            look_ahead,
            overlap,
        } = timing;
        let overlap = check("overlap", overlap, Duration::ZERO, LONGEST_OVERLAP)?;
        let onset = check("onset", onset, FRAME, FRAME * MAX_ONSET_FRAMES)?;
        Ok(Self {
            pre_roll: check("pre-roll", pre_roll, Duration::ZERO, Duration::from_secs(2))?,
            hangover: check(
                "hangover",
                hangover,
                Duration::from_millis(100),
                Duration::from_secs(5),
            )?,
            post_roll: check("post-roll", post_roll, Duration::ZERO, hangover)?,
            onset_frames: u32::try_from(onset.as_ms().div_ceil(20)).unwrap_or(MAX_ONSET_FRAMES),
            cut: cut::Settings {
                limit: check("cut-limit", cut_limit, Duration::from_secs(2), LONGEST_PART)?,
                search_from: check("cut-from", cut_from, Duration::from_secs(1), cut_limit)?,
                look_ahead: check(
                    "look-ahead",
                    look_ahead,
                    Duration::from_millis(100),
                    Duration::from_secs(20),
                )?,
                overlap: overlap.min(Samples::from_duration(cut_limit / 4)),
            },
        })
    }
}

impl Settings {
    /// Silence that ends an utterance.
    pub const fn hangover(&self) -> Duration {
        self.hangover.as_duration()
    }

    /// Frames among which the onset looks for its speech frames; at most 50.
    pub(super) const fn onset_window(&self) -> u32 {
        self.onset_frames * 2
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Timing::default()).expect("a test holds the presets against the ranges")
    }
}

/// A time outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value:?}, but must be from {least:?} to {most:?}")]
pub struct SettingsError {
    /// The time's name, as the configuration file spells it without its unit.
    pub key: &'static str,
    /// What was asked for.
    pub value: Duration,
    /// The least it may be.
    pub least: Duration,
    /// The most it may be.
    pub most: Duration,
}

const FRAME: Duration = Duration::from_millis(20);
const LONGEST_OVERLAP: Duration = Duration::from_secs(5);
const MAX_ONSET_FRAMES: u32 = 25;
/// A recognition takes less than a minute, and the recogniser's clock need not agree with the
/// sender's.
const LONGEST_PART: Duration = Duration::from_secs(59);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_the_ranges() {
        assert!(Settings::new(Timing::dialogue()).is_ok());
        assert!(Settings::new(Timing::monologue()).is_ok());
    }

    #[test]
    fn a_post_roll_longer_than_the_hangover_is_refused_by_name() {
        let timing = Timing {
            post_roll: Duration::from_secs(1),
            ..Timing::default()
        };
        let refused = Settings::new(timing).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "post-roll is 1s, but must be from 0ns to 600ms"
        );
    }

    #[test]
    fn a_part_of_a_minute_is_refused() {
        let timing = Timing {
            cut_limit: Duration::from_secs(60),
            ..Timing::default()
        };
        assert_eq!(Settings::new(timing).unwrap_err().key, "cut-limit");
    }
}
