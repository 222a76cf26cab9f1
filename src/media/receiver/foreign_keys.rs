//! Keys that the heard sender signals beside its audio.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::media::Samples;
use crate::media::dtmf::{Digit, Keypad, SavedKeypad, TelephoneEvent};
use crate::media::reorder::Header;
use crate::media::statistics::Statistics;
use crate::media::stream::Fate;

/// Keys in a stream of their own, or with sequence numbers of their own.
#[derive(Debug, Default)]
pub(super) struct ForeignKeys {
    pub(super) keypad: Keypad,
    figures: Figures,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// The last sequence number.
    number: Option<u16>,
    packets: u64,
    copies: u64,
}

/// [`ForeignKeys`] between two processes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedForeignKeys {
    keypad: SavedKeypad,
    figures: Figures,
}

impl ForeignKeys {
    /// Counts a packet.
    pub(super) fn count(&mut self, sequence_number: u16) -> Fate {
        let number = Some(sequence_number);
        let figures = &mut self.figures;
        figures.packets += 1;
        if std::mem::replace(&mut figures.number, number) == number {
            figures.copies += 1;
            return Fate::Duplicate;
        }
        Fate::Played
    }

    /// Takes a packet of another stream than the audio's; by arrival, for its timestamps may have
    /// nothing to do with those of the audio.
    pub(super) fn press(
        &mut self,
        event: TelephoneEvent,
        header: &Header,
        now: Instant,
    ) -> impl Iterator<Item = Digit> {
        let pressed_for = Samples(u64::from(event.duration));
        let position = header.arrival.position.saturating_sub(pressed_for);
        let digits = self.keypad.handle(event, header.timestamp, position, now);
        digits.into_iter().flatten()
    }

    /// The figures of the leg with those of the keys, none of which is missed.
    pub(super) const fn add_to(&self, statistics: Statistics) -> Statistics {
        let Figures {
            packets, copies, ..
        } = self.figures;
        Statistics {
            expected: statistics.expected + packets - copies,
            received: statistics.received + packets,
            lost: statistics.lost - copies.cast_signed(),
            ..statistics
        }
    }

    pub(super) fn save(&self, now: Instant) -> SavedForeignKeys {
        SavedForeignKeys {
            keypad: self.keypad.save(now),
            figures: self.figures,
        }
    }

    pub(super) fn restore(saved: &SavedForeignKeys, saved_at: Instant) -> Self {
        Self {
            keypad: Keypad::restore(&saved.keypad, saved_at),
            figures: saved.figures,
        }
    }
}
