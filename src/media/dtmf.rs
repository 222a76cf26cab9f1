//! Telephone keys (RFC 4733): one digit a press, however often its packets are repeated or lost.

mod saved;

use std::time::{Duration, Instant};

use crate::media::Samples;
pub(crate) use saved::SavedKeypad;

/// The payload of a telephone-event packet (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TelephoneEvent {
    /// 0 to 15 are the keys.
    pub(crate) code: u8,
    /// Whether the key was released.
    pub(crate) is_end: bool,
    /// So far, in samples.
    pub(crate) duration: u16,
}

impl TelephoneEvent {
    /// Reads the first event of a payload.
    pub(crate) const fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low, ..] = *payload else {
            return None;
        };
        Some(Self {
            code,
            is_end: flags & 0x80 != 0,
            duration: u16::from_be_bytes([high, low]),
        })
    }
}

/// A key that was pressed and released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Digit {
    pub(crate) digit: char,
    pub(crate) start: Samples,
    pub(crate) duration: Samples,
}

/// Makes one [`Digit`] of the packets of one press.
#[derive(Debug, Default)]
pub(crate) struct Keypad {
    pressed: Option<Press>,
    /// The last press that was reported, and when it was last heard of: its end is usually repeated
    /// (RFC 4733 §2.5.1.4).
    reported: Option<(EventId, Instant)>,
}

/// All packets of one event share the timestamp at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct EventId {
    code: u8,
    timestamp: u32,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    id: EventId,
    start: Samples,
    /// Of the segments before this one.
    before: u64,
    duration: u16,
    last: Instant,
}

impl Keypad {
    /// Takes one packet; gives the digit that it ends, by its end bit or by being of another press.
    pub(crate) fn handle(
        &mut self,
        event: TelephoneEvent,
        timestamp: u32,
        position: Samples,
        now: Instant,
    ) -> [Option<Digit>; 2] {
        let id = EventId {
            code: event.code,
            timestamp,
        };
        if self.repeats(id, now) {
            self.reported = Some((id, now));
            return [None, None];
        }
        let mut displaced = None;
        match &mut self.pressed {
            Some(press) if press.id == id => press.duration = press.duration.max(event.duration),
            Some(press) if press.is_continued_by(id) => press.begin_segment(id, event.duration),
            other => {
                displaced = other.take().map(Press::digit);
                let duration = event.duration;
                *other = Some(Press {
                    id,
                    start: position,
                    before: 0,
                    duration,
                    last: now,
                });
            }
        }
        if let Some(press) = &mut self.pressed {
            press.last = now;
        }
        let ended = if event.is_end { self.release() } else { None };
        [displaced.flatten(), ended]
    }

    /// Ends a press whose end was lost.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Digit> {
        if self.poll_timeout()? <= now {
            self.release()
        } else {
            None
        }
    }

    /// When to give up waiting for the end of a press.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.pressed?.last.checked_add(END_LOST)
    }

    /// Ends the press, if a key is pressed.
    pub(crate) fn release(&mut self) -> Option<Digit> {
        let press = self.pressed.take()?;
        self.reported = Some((press.id, press.last));
        press.digit()
    }

    /// Whether a packet that comes out of order tells of a press that is not over yet, or is one of
    /// its own: SIPp plays the very same recording for each press of a key, old sequence numbers
    /// and all.
    pub(crate) fn wants(&self, event: TelephoneEvent, timestamp: u32, now: Instant) -> bool {
        let id = EventId {
            code: event.code,
            timestamp,
        };
        let is_long_ago = |last: Instant| now.saturating_duration_since(last) >= END_REPEATED;
        match &self.pressed {
            Some(press) => press.id == id,
            None => self.reported.is_none_or(|(_, last)| is_long_ago(last)),
        }
    }

    fn repeats(&self, id: EventId, now: Instant) -> bool {
        self.reported.is_some_and(|(reported, last)| {
            reported == id && now.saturating_duration_since(last) < END_REPEATED
        })
    }
}

/// Recognises telephone events under a payload type that nobody announced: pjsua and others number
/// theirs as they like, and a receiver without SDP is not told.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct EventTypeGuess {
    known: Option<u8>,
    last: Option<(u8, u32, TelephoneEvent)>,
}

impl EventTypeGuess {
    /// Whether a packet of an unannounced type is a telephone event: from the second packet on that
    /// has the timestamp and the key of the one before, and lasts no shorter. No codec does that.
    pub(crate) fn is_event(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> bool {
        let event = match (payload_type, payload) {
            (96.., [0..=15, flags, ..]) if payload.len() == 4 && flags & 0x40 == 0 => {
                TelephoneEvent::parse(payload)
            }
            _ => None,
        };
        let Some(event) = event else {
            return false;
        };
        if let Some((last_type, last_timestamp, last)) = self.last
            && (last_type, last_timestamp, last.code) == (payload_type, timestamp, event.code)
            && last.duration <= event.duration
        {
            self.known = Some(payload_type);
        }
        self.last = Some((payload_type, timestamp, event));
        self.known == Some(payload_type)
    }
}

impl Press {
    /// Whether the event is the next segment of a long press (RFC 4733 §2.5.1.3).
    fn is_continued_by(&self, id: EventId) -> bool {
        let ends = self.id.timestamp.wrapping_add(u32::from(self.duration));
        id.code == self.id.code && id.timestamp == ends && self.duration >= LONG
    }

    fn begin_segment(&mut self, id: EventId, duration: u16) {
        self.before += u64::from(self.duration);
        self.id = id;
        self.duration = duration;
    }

    fn digit(self) -> Option<Digit> {
        let digit = char::from(*KEYS.get(usize::from(self.id.code))?);
        let duration = Samples(self.before + u64::from(self.duration));
        Some(Digit {
            digit,
            start: self.start,
            duration,
        })
    }
}

/// The keys by event code (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// A press is over when nothing was heard of it for this long; updates come every 50 ms at most
/// (RFC 4733 §2.5.1.2).
const END_LOST: Duration = Duration::from_millis(500);

/// The end of a press is not repeated any more after so long a silence: its packets follow within a
/// few intervals.
const END_REPEATED: Duration = Duration::from_millis(500);

/// A segment of a long press lasts 0xFFFF samples, or a little less with senders that keep to their
/// packet times.
const LONG: u16 = 0xF000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_sent_three_times_is_one_digit() {
        let mut line = Line::new();
        line.send(5, 800, 160, false);
        for _ in 0..3 {
            line.send(5, 800, 640, true);
        }
        assert_eq!(line.heard, [digit('5', 800, 640)]);
    }

    #[test]
    fn press_whose_end_is_lost_is_ended_by_the_next() {
        let mut line = Line::new();
        line.send(1, 0, 160, false);
        line.send(1, 1_600, 160, true);
        assert_eq!(line.heard, [digit('1', 0, 160), digit('1', 1_600, 160)]);
    }

    #[test]
    fn press_whose_end_is_lost_is_ended_by_time() {
        let mut line = Line::new();
        line.send(11, 0, 320, false);
        assert_eq!(
            line.keypad
                .handle_timeout(line.now + Duration::from_millis(499)),
            None
        );
        let ended = line
            .keypad
            .handle_timeout(line.now + Duration::from_millis(500));
        assert_eq!(ended, Some(digit('#', 0, 320)));
        line.now += Duration::from_millis(499);
        line.send(11, 0, 400, true);
        assert_eq!(line.heard, []);
    }

    #[test]
    fn only_the_end_arrives_and_is_a_digit() {
        let mut line = Line::new();
        line.send(10, 160, 800, true);
        assert_eq!(line.heard, [digit('*', 160, 800)]);
    }

    #[test]
    fn press_of_more_than_eight_seconds_is_one_digit() {
        let mut line = Line::new();
        line.send(15, 0, 0xFFFF, false);
        line.send(15, 0xFFFF, 1_000, true);
        assert_eq!(line.heard, [digit('D', 0, 0xFFFF + 1_000)]);
    }

    #[test]
    fn same_packets_played_again_after_a_while_are_another_press() {
        let mut line = Line::new();
        line.send(1, 13_280, 2_240, true);
        line.now += Duration::from_secs(1);
        line.send(1, 13_280, 2_240, true);
        assert_eq!(line.heard.len(), 2);
    }

    #[test]
    fn unannounced_type_is_events_once_two_packets_share_timestamp_and_key() {
        let mut guess = EventTypeGuess::default();
        assert!(!guess.is_event(120, 800, &[5, 10, 0, 160]));
        assert!(guess.is_event(120, 800, &[5, 10, 1, 64]));
        assert!(guess.is_event(120, 4_000, &[6, 10, 0, 160]));
    }

    #[test]
    fn codec_with_small_packets_is_no_event() {
        let mut guess = EventTypeGuess::default();
        for n in 0..100 {
            assert!(!guess.is_event(96, n * 960, &[8, 10, 0, 160]));
            assert!(!guess.is_event(9, 800, &[5, 10, 0, 160]));
        }
    }

    #[test]
    fn hook_flash_is_no_key() {
        let mut line = Line::new();
        line.send(16, 0, 160, true);
        assert_eq!(line.heard, []);
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3]), None);
    }

    struct Line {
        keypad: Keypad,
        now: Instant,
        heard: Vec<Digit>,
    }

    impl Line {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
        fn new() -> Self {
            Self {
                keypad: Keypad::default(),
                now: Instant::now(),
                heard: Vec::new(),
            }
        }

        fn send(&mut self, code: u8, timestamp: u32, duration: u16, is_end: bool) {
            let event = TelephoneEvent {
                code,
                is_end,
                duration,
            };
            let position = Samples(u64::from(timestamp));
            let heard = self.keypad.handle(event, timestamp, position, self.now);
            self.heard.extend(heard.into_iter().flatten());
        }
    }

    fn digit(digit: char, start: u64, duration: u64) -> Digit {
        Digit {
            digit,
            start: Samples(start),
            duration: Samples(duration),
        }
    }
}
