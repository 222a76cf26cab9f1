//! Frames: 20 ms of sound cut from packets of any size, with what is lost filled in.

mod saved;

use std::collections::VecDeque;

use crate::media::concealment::{MAX_CONTEXT, MAX_HOLE, conceal};
use crate::media::receiver::Output;
use crate::media::{FRAME_SAMPLES, Frame, Law, Samples, g711};
pub(crate) use saved::SavedFramer;

/// Cuts a leg into frames and silences that tile the call clock. Runs are pushed in order; frames
/// are pulled.
#[derive(Debug)]
pub(crate) struct Framer {
    conceals: bool,
    /// Where the frame in the making, or the next one, starts.
    position: Samples,
    frame: Partial,
    runs: VecDeque<Run>,
    /// The samples of every [`Kind::Audio`] in `runs`.
    audio: VecDeque<u8>,
    /// Lost samples at the end of `runs`, not filled in before it is known what follows.
    hole: usize,
    past: Past,
    is_finished: bool,
}

/// A stretch of one kind.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Run {
    kind: Kind,
    len: u64,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum Kind {
    /// Samples that lie in `Framer::audio`.
    Audio {
        law: Law,
        is_lost: bool,
        telephone_event: bool,
    },
    /// Lost, and too long ago for anything but silence.
    Lost,
    /// Nothing was sent.
    Silence,
}

/// The frame in the making.
#[derive(Debug)]
struct Partial {
    law: Law,
    g711: [u8; FRAME_SAMPLES],
    len: usize,
    lost: usize,
    telephone_event: bool,
}

/// The last samples pushed, from which a hole is filled in.
#[derive(Debug)]
struct Past {
    law: Law,
    /// A ring.
    g711: [u8; MAX_CONTEXT],
    /// Where the next sample goes, and the oldest one is.
    next: usize,
    /// How many there are.
    len: usize,
}

impl Framer {
    /// Starts where the leg starts.
    pub(crate) fn new(start: Samples, law: Law, conceals: bool) -> Self {
        Self {
            conceals,
            position: start,
            frame: Partial {
                law,
                g711: [g711::silence(law); FRAME_SAMPLES],
                len: 0,
                lost: 0,
                telephone_event: false,
            },
            runs: VecDeque::new(),
            audio: VecDeque::new(),
            hole: 0,
            past: Past {
                law,
                g711: [g711::silence(law); MAX_CONTEXT],
                next: 0,
                len: 0,
            },
            is_finished: false,
        }
    }

    /// Reads a little of what the next packet will need; the sum means nothing.
    pub(crate) fn touch(&self) -> u64 {
        let frame = &self.frame;
        let past = &self.past.g711;
        let ends = [
            frame.g711[0],
            frame.g711[FRAME_SAMPLES - 1],
            past[0],
            past[MAX_CONTEXT / 2],
        ];
        let lens = self.audio.len() + self.runs.len() + self.hole + frame.len + self.past.len;
        let law = u64::from(frame.law == self.past.law);
        self.position.0 ^ law ^ lens as u64 ^ ends.into_iter().map(u64::from).sum::<u64>()
    }

    /// The same of what lies in memory of its own.
    pub(crate) fn touch_beyond(&self) -> u64 {
        self.audio.front().map_or(0, |&sample| u64::from(sample))
    }

    /// Appends received audio.
    pub(crate) fn push_audio(&mut self, law: Law, samples: &[u8], telephone_event: bool) {
        self.fill_hole(law, samples);
        self.past.push(law, samples);
        self.append(law, samples, false, telephone_event);
    }

    /// Appends audio that never arrived.
    pub(crate) fn push_lost(&mut self, len: Samples) {
        self.hole = self
            .hole
            .saturating_add(usize::try_from(len.0).unwrap_or(usize::MAX));
    }

    /// Appends sound that came and cannot be decoded: it is lost at once, for nothing will fill it.
    pub(crate) fn push_undecodable(&mut self, len: Samples) {
        self.fill_hole(self.past.law, &[]);
        self.past.len = 0;
        self.push_run(Kind::Lost, len.0);
    }

    /// Appends a stretch in which nothing was sent.
    pub(crate) fn push_silence(&mut self, len: Samples) {
        if len == Samples::ZERO {
            return;
        }
        self.fill_hole(self.past.law, &[]);
        self.past.len = 0;
        self.push_run(Kind::Silence, len.0);
    }

    /// Lets the last frame be shorter than others.
    pub(crate) fn finish(&mut self) {
        self.fill_hole(self.past.law, &[]);
        self.is_finished = true;
    }

    /// The next frame or silence that is complete.
    pub(crate) fn pull(&mut self) -> Option<Output> {
        while self.frame.len < FRAME_SAMPLES {
            let Some(run) = self.runs.front_mut() else {
                break;
            };
            let kind = run.kind;
            if matches!(kind, Kind::Silence) && self.frame.len == 0 {
                let (start, len) = (self.position, Samples(run.len));
                self.runs.pop_front();
                self.position += len;
                return Some(Output::Silence { start, len });
            }
            let room = FRAME_SAMPLES - self.frame.len;
            let count = usize::try_from(run.len).unwrap_or(room).min(room);
            run.len -= u64::try_from(count).unwrap_or(run.len);
            if run.len == 0 {
                self.runs.pop_front();
            }
            let audio = &mut self.audio;
            self.frame.fill(kind, count, |room| take(audio, room));
        }
        let is_due = self.frame.len == FRAME_SAMPLES || (self.is_finished && self.frame.len > 0);
        is_due.then(|| self.take_frame())
    }

    fn take_frame(&mut self) -> Output {
        let frame = self.frame.take(self.position);
        self.position = frame.end();
        Output::Frame(frame)
    }

    /// Fills the open hole from what lies before it and, if any, behind it.
    fn fill_hole(&mut self, law: Law, behind: &[u8]) {
        let hole = std::mem::take(&mut self.hole);
        if hole == 0 {
            return;
        }
        if !self.conceals || self.past.len == 0 {
            self.push_run(Kind::Lost, u64::try_from(hole).unwrap_or(u64::MAX));
            return;
        }
        let mut past = [0; MAX_CONTEXT];
        let mut future = [0; MAX_CONTEXT];
        let past = self.past.decode(&mut past);
        let future = &mut future[..behind.len().min(MAX_CONTEXT)];
        g711::decode(law, behind, future);
        match hole.checked_sub(MAX_HOLE) {
            None | Some(0) => self.append_concealed(past, future, hole),
            Some(rest) => {
                self.append_concealed(past, &[], MAX_HOLE / 2);
                self.push_run(Kind::Lost, u64::try_from(rest).unwrap_or(0));
                self.append_concealed(&[], future, MAX_HOLE / 2);
            }
        }
        self.past.len = 0;
    }

    fn append_concealed(&mut self, past: &[i16], future: &[i16], len: usize) {
        let mut pcm = [0; MAX_HOLE];
        let mut codes = [0; MAX_HOLE];
        conceal(past, future, &mut pcm[..len]);
        g711::encode(self.past.law, &pcm, &mut codes[..len]);
        self.append(self.past.law, &codes[..len], true, false);
    }

    fn append(&mut self, law: Law, samples: &[u8], is_lost: bool, telephone_event: bool) {
        let kind = Kind::Audio {
            law,
            is_lost,
            telephone_event,
        };
        // Most packets are a frame, and nothing waits before them.
        if self.runs.is_empty() && self.frame.len + samples.len() <= FRAME_SAMPLES {
            let copy = |room: &mut [u8]| room.copy_from_slice(samples);
            return self.frame.fill(kind, samples.len(), copy);
        }
        self.audio.extend(samples);
        self.push_run(kind, u64::try_from(samples.len()).unwrap_or(0));
    }

    fn push_run(&mut self, kind: Kind, len: u64) {
        if len > 0 {
            self.runs.push_back(Run { kind, len });
        }
    }
}

/// Fills a slice with the oldest samples of a queue that has as many.
fn take(queue: &mut VecDeque<u8>, room: &mut [u8]) {
    let (front, back) = queue.as_slices();
    let split = front.len().min(room.len());
    let rest = room.len() - split;
    room[..split].copy_from_slice(&front[..split]);
    room[split..].copy_from_slice(&back[..rest]);
    queue.drain(..room.len());
}

impl Partial {
    /// Takes the next `count` samples of a run; there is room for them. `copy` puts audio there.
    fn fill(&mut self, kind: Kind, count: usize, copy: impl FnOnce(&mut [u8])) {
        let is_empty = self.len == 0;
        let room = &mut self.g711[self.len..self.len + count];
        match kind {
            Kind::Audio {
                law,
                is_lost,
                telephone_event,
            } => {
                copy(room);
                if is_empty {
                    self.law = law;
                }
                g711::convert(law, self.law, room);
                self.telephone_event |= telephone_event;
                self.lost += if is_lost { count } else { 0 };
            }
            Kind::Lost => {
                room.fill(g711::silence(self.law));
                self.lost += count;
            }
            Kind::Silence => room.fill(g711::silence(self.law)),
        }
        self.len += count;
    }

    /// The frame as it is, padded with silence.
    fn take(&mut self, start: Samples) -> Frame {
        self.g711[self.len..].fill(g711::silence(self.law));
        let frame = Frame {
            start,
            law: self.law,
            g711: self.g711,
            len: u8::try_from(self.len).unwrap_or(u8::MAX),
            lost: u8::try_from(self.lost).unwrap_or(u8::MAX),
            telephone_event: self.telephone_event,
        };
        self.len = 0;
        self.lost = 0;
        self.telephone_event = false;
        frame
    }
}

impl Past {
    fn push(&mut self, law: Law, samples: &[u8]) {
        if law != self.law {
            g711::convert(self.law, law, &mut self.g711);
            self.law = law;
        }
        let new = &samples[samples.len().saturating_sub(MAX_CONTEXT)..];
        let (ahead, around) = new.split_at(new.len().min(MAX_CONTEXT - self.next));
        self.g711[self.next..][..ahead.len()].copy_from_slice(ahead);
        self.g711[..around.len()].copy_from_slice(around);
        self.next = (self.next + new.len()) % MAX_CONTEXT;
        self.len = (self.len + new.len()).min(MAX_CONTEXT);
    }

    fn decode<'a>(&self, pcm: &'a mut [i16; MAX_CONTEXT]) -> &'a [i16] {
        let (newer, older) = self.g711.split_at(self.next);
        g711::decode(self.law, older, pcm);
        g711::decode(self.law, newer, &mut pcm[older.len()..]);
        &pcm[MAX_CONTEXT - self.len..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_any_size_become_contiguous_frames() {
        for size in [26, 80, 160, 240, 588, 1_460] {
            let sent: Vec<u8> = (0..8_000).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut framer = Framer::new(Samples(7), Law::Pcma, true);
            let mut frames = Vec::new();
            for packet in sent.chunks(size) {
                framer.push_audio(Law::Pcma, packet, false);
                frames.extend(pulled(&mut framer));
            }
            framer.finish();
            frames.extend(pulled(&mut framer));
            let heard: Vec<u8> = frames
                .iter()
                .flat_map(|frame| frame.bytes().to_vec())
                .collect();
            assert!(heard == sent, "{size}");
            assert!(frames.windows(2).all(|pair| pair[0].end() == pair[1].start));
        }
    }

    #[test]
    fn frame_in_the_making_is_completed_from_the_silence_behind_it() {
        let mut framer = Framer::new(Samples::ZERO, Law::Pcmu, true);
        framer.push_audio(Law::Pcmu, &[0x10; 80], false);
        framer.push_silence(Samples(1_000));
        let Some(Output::Frame(frame)) = framer.pull() else {
            panic!("no frame");
        };
        assert_eq!((frame.len, frame.lost, frame.g711[80]), (160, 0, 0xFF));
        let silence = Output::Silence {
            start: Samples(160),
            len: Samples(920),
        };
        assert_eq!(framer.pull(), Some(silence));
        assert_eq!(framer.pull(), None);
    }

    #[test]
    fn frame_with_two_laws_has_the_first() {
        let mut framer = Framer::new(Samples::ZERO, Law::Pcmu, true);
        framer.push_audio(Law::Pcmu, &[g711::silence(Law::Pcmu); 80], false);
        framer.push_audio(Law::Pcma, &[g711::silence(Law::Pcma); 240], false);
        let frames = pulled(&mut framer);
        assert_eq!((frames[0].law, frames[1].law), (Law::Pcmu, Law::Pcma));
        let mut pcm = [0; FRAME_SAMPLES];
        g711::decode(Law::Pcmu, &frames[0].g711, &mut pcm);
        assert!(pcm.iter().all(|sample| sample.abs() <= 8));
    }

    #[test]
    fn lost_samples_are_counted_in_the_frames_they_fall_into() {
        let mut framer = Framer::new(Samples::ZERO, Law::Pcmu, true);
        framer.push_audio(Law::Pcmu, &[0x20; 240], false);
        framer.push_lost(Samples(240));
        framer.push_audio(Law::Pcmu, &[0x20; 160], false);
        let lost: Vec<u8> = pulled(&mut framer).iter().map(|frame| frame.lost).collect();
        assert_eq!(lost, [0, 80, 160, 0]);
    }

    #[test]
    fn long_hole_is_as_long_as_it_was() {
        let mut framer = Framer::new(Samples::ZERO, Law::Pcmu, true);
        framer.push_audio(Law::Pcmu, &[0x20; 160], false);
        framer.push_lost(Samples(80_000));
        framer.push_audio(Law::Pcmu, &[0x20; 160], false);
        let frames = pulled(&mut framer);
        assert_eq!(frames.len(), 502);
        assert_eq!(
            frames
                .iter()
                .map(|frame| u64::from(frame.lost))
                .sum::<u64>(),
            80_000
        );
    }

    fn pulled(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.pull())
            .filter_map(|output| {
                let Output::Frame(frame) = output else {
                    return None;
                };
                Some(frame)
            })
            .collect()
    }
}
