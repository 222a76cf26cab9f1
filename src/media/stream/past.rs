//! What becomes of packets whose place in the sequence is past.

use std::time::Instant;

use super::{Decided, Fate, PAUSE, Stream};
use crate::media::dtmf::TelephoneEvent;
use crate::media::reorder::{Arrival, Header};
use crate::media::rewind::{Nature, Past};
use crate::media::sequence::SequenceNumber;
use crate::media::settings::Payload;

impl Stream {
    /// What became of packets that were undecided, since the last call.
    pub(crate) fn take_decided(&mut self) -> Decided {
        std::mem::take(&mut self.decided)
    }

    /// What becomes of packets that are undecided if nothing more comes.
    pub(crate) fn undecided(&self) -> Decided {
        let mut decided = self.decided;
        for past in self.rewind.iter() {
            decided.count(past.nature);
        }
        decided
    }

    /// Keeps an audio packet until it is clear whether the sender began anew with it.
    pub(super) fn keep_past(&mut self, past: Past, now: Instant) -> Fate {
        while let Some(unfit) = self.rewind.pop_unfit(&past.packet.header) {
            self.dismiss(&unfit);
        }
        self.rewind.keep(past);
        while let Some(straggler) = self.rewind.pop_straggler() {
            self.dismiss(&straggler);
        }
        if self.rewind.is_new_beginning() {
            self.begin_anew(now);
        }
        Fate::Undecided
    }

    /// The stream goes on, so what is kept was late or a copy.
    pub(super) fn dismiss_past(&mut self) {
        while let Some(past) = self.rewind.pop() {
            self.dismiss(&past);
        }
    }

    /// A packet other than of audio may still tell of a key.
    pub(super) fn accept_out_of_order(
        &mut self,
        nature: Nature,
        header: &Header,
        bytes: &[u8],
    ) -> Fate {
        let event = match header.payload {
            Some(Payload::TelephoneEvent) => TelephoneEvent::parse(bytes),
            Some(Payload::Audio(_) | Payload::ComfortNoise) | None => None,
        };
        let Arrival { at, position } = header.arrival;
        match event.filter(|event| self.keypad.wants(*event, header.timestamp, at)) {
            Some(event) => {
                let digits = self.keypad.handle(event, header.timestamp, position, at);
                self.digits.extend(digits.into_iter().flatten());
                Fate::Played
            }
            None if nature == Nature::Late => Fate::Late,
            None => Fate::Duplicate,
        }
    }

    fn dismiss(&mut self, past: &Past) {
        self.count_past(past.sequence, past.nature);
        self.decided.count(past.nature);
    }

    /// Counts a packet whose place is past.
    pub(super) fn count_past(&mut self, sequence: SequenceNumber, nature: Nature) {
        match nature {
            Nature::Late => self.reception.count(sequence),
            Nature::Copy | Nature::Other => self.reception.count_copy(sequence),
        }
    }

    /// Hears what was kept: it begins the sequence anew.
    fn begin_anew(&mut self, now: Instant) {
        let packets = self.rewind.take();
        let Some(first) = packets.front() else {
            return;
        };
        let Header {
            timestamp, arrival, ..
        } = first.packet.header;
        self.begin_sequence(&first.packet.header, now);
        if self.timeline.delay_grew(timestamp, arrival.position) > PAUSE {
            self.timeline.restart(arrival.position);
        }
        for past in packets {
            // As if it had been heard when it came: those that were swapped wait for each other.
            let at = past.packet.header.arrival.at;
            match self.accept(&past.packet.header, &past.packet.bytes, at) {
                Fate::Played => self.decided.played += 1,
                Fate::Late => self.decided.late += 1,
                Fate::Duplicate => self.decided.duplicate += 1,
                Fate::Undecided => {}
            }
        }
        self.release(now);
    }
}

impl Decided {
    const fn count(&mut self, nature: Nature) {
        match nature {
            Nature::Late => self.late += 1,
            Nature::Copy | Nature::Other => self.duplicate += 1,
        }
    }
}
