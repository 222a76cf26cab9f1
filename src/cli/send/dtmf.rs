//! Telephone keys as RFC 4733 events.

use std::str::FromStr;

use crate::media::Samples;

/// Keys to press, as the command line gives them: `12#@3.5` presses 1, 2 and # from 3.5 s on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(pub Vec<KeyPress>);

/// A key held for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPress {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// From the start of the stream.
    pub start: Samples,
    /// How long it is held.
    pub duration: Samples,
}

impl KeyPress {
    /// The event that a sender with this packet time makes of it: from packet to packet.
    pub(super) fn aligned_to(&self, packet_time: Samples) -> TelephoneEvent {
        let up = |samples: Samples| Samples(samples.0.next_multiple_of(packet_time.0));
        TelephoneEvent {
            code: code(self.digit).unwrap_or(0),
            start: up(self.start),
            duration: up(Samples(self.duration.0.max(1))),
        }
    }
}

/// An event on packet boundaries.
#[derive(Clone, Copy, Debug)]
pub(super) struct TelephoneEvent {
    code: u8,
    pub(super) start: Samples,
    duration: Samples,
}

impl TelephoneEvent {
    pub(super) fn end(&self) -> Samples {
        self.start + self.duration
    }

    pub(super) fn covers(&self, position: Samples) -> bool {
        (self.start..self.end()).contains(&position)
    }

    /// The payload of the packet at `position` (RFC 4733 §2.3).
    pub(super) fn payload(&self, position: Samples, packet_time: Samples) -> [u8; 4] {
        let held = position.saturating_sub(self.start) + packet_time;
        let [high, low] = u16::try_from(held.0).unwrap_or(u16::MAX).to_be_bytes();
        let end_bit = if held >= self.duration { 0x80 } else { 0 };
        [self.code, end_bit | VOLUME, high, low]
    }
}

impl FromStr for Keys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, KeysError> {
        let (digits, seconds) = text.split_once('@').ok_or(KeysError::NoTime)?;
        let seconds: f64 = seconds.parse().map_err(|_| KeysError::Time)?;
        if !(0.0..=MAX_SECONDS).contains(&seconds) {
            return Err(KeysError::Time);
        }
        let first = Samples::from_duration(std::time::Duration::from_secs_f64(seconds));
        let press = |(i, digit): (u64, char)| {
            let digit = digit.to_ascii_uppercase();
            code(digit).ok_or(KeysError::Digit(digit))?;
            let start = first + Samples(i * (HELD.0 + PAUSE.0));
            Ok(KeyPress {
                digit,
                start,
                duration: HELD,
            })
        };
        (0..)
            .zip(digits.chars())
            .map(press)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Why keys cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing says when.
    #[error("expected DIGITS@SECONDS, for example 12#@3.5")]
    NoTime,
    /// The time is none.
    #[error("the time after @ is not a number of seconds between 0 and 86400")]
    Time,
    /// No telephone has such a key.
    #[error("{0:?} is not a telephone key; expected 0-9, *, #, A-D")]
    Digit(char),
}

/// Event code of a key (RFC 4733 §3.2, Table 3).
fn code(digit: char) -> Option<u8> {
    "0123456789*#ABCD"
        .chars()
        .zip(0..)
        .find(|&(key, _)| key == digit)
        .map(|(_, code)| code)
}

/// Power level in −dBm0.
const VOLUME: u8 = 10;

/// How long each key is held, and how long none is after it.
const HELD: Samples = Samples::from_ms(160);
const PAUSE: Samples = Samples::from_ms(100);

/// A day.
const MAX_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_one_another_with_pauses() {
        let Keys(keys) = "1*d@0.5".parse().unwrap();
        let seen: Vec<_> = keys.iter().map(|k| (k.digit, k.start.as_ms())).collect();
        assert_eq!(seen, [('1', 500), ('*', 760), ('D', 1020)]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, error) in [
            ("12", KeysError::NoTime),
            ("1@x", KeysError::Time),
            ("1@-1", KeysError::Time),
            ("1@NaN", KeysError::Time),
            ("1E@2", KeysError::Digit('E')),
        ] {
            assert_eq!(text.parse::<Keys>(), Err(error), "{text}");
        }
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(
            ['0', '9', '*', '#', 'A', 'D'].map(code),
            [0, 9, 10, 11, 12, 15].map(Some)
        );
    }
}
