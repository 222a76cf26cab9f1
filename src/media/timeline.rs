//! Time: where on the call clock a packet belongs, and what lies between it and the one before.
//!
//! RTP timestamps say how the sound of one run of a sender fits together; arrival says where a run
//! begins on the call clock, and whether a jump of the timestamp is a silence or a sender that
//! began anew:
//!
//! - A timestamp that goes on where the last packet ended is contiguous, whatever the sequence
//!   numbers did.
//! - A gap is lost audio as far as missing packets explain it, and otherwise silence that the
//!   sender did not send.
//! - A packet that starts a little before the last one ended is appended whole; the debt is worked
//!   off in silence.
//! - A jump that arrival contradicts begins a new run where the packet arrived, never before what
//!   is already placed.

mod run;

use crate::media::Samples;
use crate::media::timeline::run::Run;

/// Places the packets of a leg on the call clock.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Timeline {
    /// Everything before is placed; only grows.
    end: Samples,
    run: Option<Run>,
    /// Where the next run begins, at the earliest.
    begin: Samples,
}

/// An audio packet in want of a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audio {
    /// As on the wire.
    pub(crate) timestamp: u32,
    /// In samples.
    pub(crate) len: u32,
    pub(crate) marker: bool,
    /// Packets given up since the one before.
    pub(crate) missing: u64,
    pub(crate) arrival: Samples,
}

/// What lies between the audio before and a packet, and what the packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Never arrived.
    pub(crate) lost: Samples,
    /// Never sent.
    pub(crate) silence: Samples,
    /// Whether the lost part comes first.
    pub(crate) lost_first: bool,
    /// Whether a telephone event was going on while the packet was sampled.
    pub(crate) telephone_event: bool,
}

impl Timeline {
    /// Begins where the leg begins.
    pub(crate) fn new(start: Samples) -> Self {
        Self {
            end: start,
            run: None,
            begin: start,
        }
    }

    /// Lets the next packet begin a new run at `arrival`: another stream, or the same after a
    /// pause.
    pub(crate) fn restart(&mut self, arrival: Samples) {
        self.run = None;
        self.begin = arrival;
    }

    /// Places a packet after everything before it.
    pub(crate) fn place(&mut self, audio: &Audio) -> Placement {
        if let Some(run) = &self.run
            && run.is_jump(audio)
        {
            self.restart(audio.arrival);
        }
        let gap = match &mut self.run {
            Some(run) => run.place(audio, self.end),
            None => self.begin_run(audio),
        };
        self.end += gap.lost + gap.silence + Samples(u64::from(audio.len));
        gap
    }

    /// Takes note of comfort noise (RFC 3389); its timestamp, if it moves at all, ends a silence
    /// that is certain.
    pub(crate) fn comfort_noise(&mut self, audio: &Audio) -> Placement {
        let Some(run) = &mut self.run else {
            return Placement::default();
        };
        let gap = run.comfort_noise(audio, self.end);
        self.end += gap.lost + gap.silence;
        gap
    }

    /// Takes note of sound that nobody here can decode, and gives how much was lost by it.
    pub(crate) fn foreign(&mut self, audio: &Audio) -> Placement {
        let Some(run) = &mut self.run else {
            return Placement::default();
        };
        let gap = run.foreign(audio, self.end);
        self.end += gap.lost + gap.silence;
        gap
    }

    /// Takes note of a telephone event (RFC 4733) in the stream and gives its position.
    pub(crate) fn telephone_event(&mut self, audio: &Audio, duration: u32, ended: bool) -> Samples {
        let position = self.run.as_mut().and_then(|run| {
            run.miss(audio.missing);
            run.telephone_event(audio, duration, ended)
        });
        position.unwrap_or(audio.arrival.saturating_sub(Samples(u64::from(duration))))
    }

    /// Counts packets that were given up before one that carries no time.
    pub(crate) fn miss(&mut self, missing: u64) {
        if let Some(run) = &mut self.run {
            run.miss(missing);
        }
    }

    /// Moves the end of what is placed by samples that were put in or left out.
    pub(crate) fn shift_end(&mut self, samples: i64) {
        self.end = Samples(self.end.0.saturating_add_signed(samples));
    }

    /// Reads a little of what the next packet will need; the sum means nothing.
    pub(crate) fn touch(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.touch())
    }

    /// How far the clock wants the next contiguous packet to move: later if positive.
    pub(crate) fn error(&self) -> i64 {
        self.run
            .as_ref()
            .map_or(0, |run| run.position(0) - self.end.0.cast_signed())
    }

    /// How much later a packet came than the packets before it, by its timestamp.
    pub(crate) fn delay_grew(&self, timestamp: u32, arrival: Samples) -> i64 {
        let run = self.run.as_ref();
        run.map_or(0, |run| run.delay_grew(timestamp, arrival))
    }

    /// Whether so many packets ago the run was about at this timestamp.
    pub(crate) fn has_passed(&self, timestamp: u32, behind: u64) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| run.has_passed(timestamp, behind))
    }

    /// Where on the call clock a timestamp of the current run lies.
    pub(crate) fn position_of(&self, timestamp: u32) -> Option<Samples> {
        let run = self.run.as_ref()?;
        let position = run.position(run.gap(timestamp));
        Some(Samples(u64::try_from(position).unwrap_or(0)))
    }

    /// Forgets an event whose end never came.
    pub(crate) fn end_event(&mut self) {
        if let Some(run) = &mut self.run {
            run.end_event();
        }
    }

    fn begin_run(&mut self, audio: &Audio) -> Placement {
        let wait = self.begin.saturating_sub(self.end);
        let silence = if wait.0 < SNAP { Samples::ZERO } else { wait };
        self.run = Some(Run::new(audio, self.end + silence));
        Placement {
            silence,
            ..Placement::default()
        }
    }
}

/// A new run this close behind the one before is contiguous with it: 60 ms, what jitter explains.
const SNAP: u64 = 480;

#[cfg(test)]
mod tests;
