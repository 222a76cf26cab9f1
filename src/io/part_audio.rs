//! The audio of a part, kept until its text is in.

#![expect(
    clippy::disallowed_methods,
    reason = "a fragment's delay is measured from here"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::asr::session::{AudioFormat, Fragment};
use crate::media::{Frame, Law, SAMPLE_RATE, Samples, g711};

/// The audio of one part as G.711, 8 kB a second. The leg appends to it, and the recogniser of the
/// same thread reads it, from the start again if a session fails.
#[derive(Debug)]
pub struct PartAudio {
    law: Law,
    g711: RefCell<Vec<u8>>,
    /// When each [`MARK`] of samples was complete.
    marks: RefCell<Vec<Instant>>,
    closed_at: Cell<Option<Instant>>,
    /// The length that somebody waits for.
    wanted: Cell<usize>,
    changed: Notify,
}

impl PartAudio {
    /// A part with no audio yet.
    pub fn new(law: Law) -> Rc<Self> {
        Self::with(law, Vec::with_capacity(FIRST_ROOM))
    }

    fn with(law: Law, g711: Vec<u8>) -> Rc<Self> {
        Rc::new(Self {
            law,
            g711: RefCell::new(g711),
            marks: RefCell::default(),
            closed_at: Cell::new(None),
            wanted: Cell::new(usize::MAX),
            changed: Notify::new(),
        })
    }

    /// A complete part, as read from the spool.
    pub fn complete(law: Law, g711: Vec<u8>) -> Rc<Self> {
        let part = Self::with(law, g711);
        part.close();
        part
    }

    /// Adds samples in the law of the part. Beyond [`PartAudio::CAPACITY`] nothing is kept; a part
    /// of that length fails its session, which says so.
    pub fn append(&self, g711: &[u8]) {
        self.append_at(g711, Instant::now());
    }

    fn append_at(&self, g711: &[u8], at: Instant) {
        let room = Self::CAPACITY.saturating_sub(self.len());
        let samples = &g711[..g711.len().min(room)];
        self.g711.borrow_mut().extend_from_slice(samples);
        self.note_length(at);
    }

    /// Adds a frame that came at `at`, whichever law it has: a sender may change it in mid-call.
    pub fn append_frame(&self, frame: &Frame, at: Instant) {
        let bytes = frame.bytes();
        if frame.law == self.law {
            return self.append_at(bytes, at);
        }
        let mut codes = frame.g711;
        let codes = &mut codes[..bytes.len()];
        g711::convert(frame.law, self.law, codes);
        self.append_at(codes, at);
    }

    /// No more audio comes.
    pub fn close(&self) {
        self.close_at(Instant::now());
    }

    /// No more audio comes since `at`.
    pub fn close_at(&self, at: Instant) {
        self.closed_at.set(Some(at));
        self.changed.notify_one();
    }

    /// The law of the kept samples.
    pub fn law(&self) -> Law {
        self.law
    }

    /// The samples so far.
    pub fn g711(&self) -> Vec<u8> {
        self.g711.borrow().clone()
    }

    /// The samples from a place on, where there are any.
    pub fn g711_from(&self, from: usize) -> Vec<u8> {
        self.g711.borrow().get(from..).unwrap_or_default().to_vec()
    }

    /// Samples so far.
    pub fn len(&self) -> usize {
        self.g711.borrow().len()
    }

    /// Whether there is no audio yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time that the samples so far take.
    pub fn duration(&self) -> std::time::Duration {
        Samples(u64::try_from(self.len()).unwrap_or(u64::MAX)).as_duration()
    }

    /// When the first so many samples were there, to the next 100 ms; `None` while they are not.
    pub fn complete_at(&self, samples: usize) -> Option<Instant> {
        let mark = samples.div_ceil(MARK).checked_sub(1)?;
        self.marks.borrow().get(mark).copied()
    }

    /// Whether the part is complete.
    pub fn is_closed(&self) -> bool {
        self.closed_at.get().is_some()
    }

    /// Since when it is complete.
    pub fn closed_at(&self) -> Option<Instant> {
        self.closed_at.get()
    }

    /// Waits until there are `samples`, or the part is closed. For one waiter at a time.
    pub async fn reached(&self, samples: usize) {
        while !self.is_closed() && self.len() < samples {
            self.wanted.set(samples);
            self.changed.notified().await;
        }
        self.wanted.set(usize::MAX);
    }

    /// A fragment in the encoding of the wire.
    pub fn read(&self, fragment: &Fragment, format: AudioFormat) -> Vec<u8> {
        let kept = self.g711.borrow();
        let samples = kept.get(fragment.samples.clone()).unwrap_or_default();
        let len = samples.len() + fragment.padding;
        let law = match format {
            AudioFormat::Pcm8k16bit => {
                let mut pcm = vec![0; 2 * len];
                let (words, _) = pcm.as_chunks_mut::<2>();
                decode(self.law, samples, words);
                return pcm;
            }
            AudioFormat::Ulaw8k8bit => Law::Pcmu,
            AudioFormat::Alaw8k8bit => Law::Pcma,
        };
        let mut codes = samples.to_vec();
        codes.resize(len, g711::silence(self.law));
        g711::convert(self.law, law, &mut codes);
        codes
    }

    /// The most samples that are kept: one more than any session takes, so that it can tell.
    pub const CAPACITY: usize = SAMPLE_RATE as usize * 60 + 1;

    fn note_length(&self, at: Instant) {
        let len = self.len();
        let mut marks = self.marks.borrow_mut();
        if len / MARK > marks.len() {
            marks.resize(len / MARK, at);
        }
        if len >= self.wanted.get() {
            self.changed.notify_one();
        }
    }
}

/// Decodes as many samples as both slices hold, to 16-bit linear PCM, little-endian.
fn decode(law: Law, codes: &[u8], pcm: &mut [[u8; 2]]) {
    let linear = g711::linear(law);
    for (word, &code) in pcm.iter_mut().zip(codes) {
        *word = linear[usize::from(code)].to_le_bytes();
    }
}

/// Samples that there is room for from the start: a second and a half, which spares most of the growing.
const FIRST_ROOM: usize = 12_000;

/// Samples between two marks: 100 ms.
const MARK: usize = 800;

#[cfg(test)]
mod tests {
    use audio_codec_algorithms::convert_alaw_to_ulaw;

    use super::*;
    use crate::media::FRAME_SAMPLES;

    fn fragment(samples: std::ops::Range<usize>, padding: usize) -> Fragment {
        Fragment { samples, padding }
    }

    #[test]
    fn pcm_is_little_endian_and_padded_with_silence() {
        let part = PartAudio::new(Law::Pcmu);
        part.append(&[0x00, 0xFF]);
        let pcm = part.read(&fragment(0..2, 1), AudioFormat::Pcm8k16bit);
        let expected = [(-32124_i16).to_le_bytes(), [0, 0], [0, 0]].concat();
        assert_eq!(pcm, expected);
    }

    #[test]
    fn companded_samples_pass_through_or_change_law() {
        let part = PartAudio::new(Law::Pcma);
        part.append(&[0x2A, 0xD5]);
        let all = fragment(0..2, 0);
        assert_eq!(part.read(&all, AudioFormat::Alaw8k8bit), [0x2A, 0xD5]);
        let expected = [0x2A, 0xD5].map(convert_alaw_to_ulaw);
        assert_eq!(part.read(&all, AudioFormat::Ulaw8k8bit), expected);
    }

    #[test]
    fn frame_of_the_other_law_is_converted() {
        let part = PartAudio::new(Law::Pcmu);
        part.append_frame(
            &Frame {
                start: Samples::ZERO,
                law: Law::Pcma,
                g711: [0x2A; FRAME_SAMPLES],
                len: 2,
                lost: 0,
                telephone_event: false,
            },
            Instant::now(),
        );
        let kept = part.read(&fragment(0..2, 0), AudioFormat::Ulaw8k8bit);
        assert_eq!(kept, [convert_alaw_to_ulaw(0x2A); 2]);
    }

    #[test]
    fn memory_of_a_part_is_bounded() {
        let part = PartAudio::new(Law::Pcmu);
        for _ in 0..100 {
            part.append(&[0xFF; 8000]);
        }
        assert_eq!(part.len(), PartAudio::CAPACITY);
    }

    #[tokio::test]
    async fn waiter_is_woken_at_its_length_and_at_the_close() {
        let part = PartAudio::new(Law::Pcmu);
        let mut woken = when_woken(part.reached(100));
        assert!(!woken.poll());
        part.append(&[0; 99]);
        assert!(!woken.poll());
        part.append(&[0; 1]);
        assert!(woken.poll());

        let mut woken = when_woken(part.reached(1000));
        assert!(!woken.poll());
        part.close();
        assert!(woken.poll());
    }

    /// Polls a future only when it has been woken.
    fn when_woken<F: Future>(future: F) -> Polled<F> {
        Polled {
            future: Box::pin(future),
            woken: std::sync::Arc::new(Flag(true.into())),
        }
    }

    struct Polled<F> {
        future: std::pin::Pin<Box<F>>,
        woken: std::sync::Arc<Flag>,
    }

    struct Flag(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    impl<F: Future> Polled<F> {
        fn poll(&mut self) -> bool {
            let waker = std::sync::Arc::clone(&self.woken).into();
            let mut context = std::task::Context::from_waker(&waker);
            let woken = self
                .woken
                .0
                .swap(false, std::sync::atomic::Ordering::Relaxed);
            woken && self.future.as_mut().poll(&mut context).is_ready()
        }
    }
}
