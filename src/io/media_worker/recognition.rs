//! The parts that a worker is having recognised: their audio, their tasks, their reports.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::{Id, JoinSet};
use tracing::{Instrument, Span, error};

use crate::asr::Recognition;
use crate::call::PartKey;
use crate::call::session::{Progress, SessionSnapshot};
use crate::event::GapReason;
use crate::io::part_audio::PartAudio;
use crate::io::recogniser::{Delays, News, Recogniser};
use crate::media::{Frame, Law};

/// What a recognition has to say.
#[derive(Debug)]
pub(super) enum Report {
    /// What has been understood so far.
    Interim(String),
    /// The final text.
    Recognised(Recognition),
    /// There will be none.
    Unrecognised {
        /// Why.
        reason: GapReason,
        /// For people.
        detail: String,
        /// Whether the same audio may be recognised at another time.
        can_wait: bool,
    },
}

/// The recognitions of one worker. All of it lives on the worker's thread.
pub(super) struct Recognitions {
    recogniser: Rc<Recogniser>,
    open: BTreeMap<PartKey, Rc<PartAudio>>,
    /// Of every part that has no outcome yet.
    audio: HashMap<PartKey, Rc<PartAudio>>,
    tasks: JoinSet<()>,
    keys: HashMap<Id, PartKey>,
    reports: Rc<RefCell<VecDeque<(PartKey, Report)>>>,
    /// How far the parts are that have no outcome yet.
    progress: Rc<RefCell<BTreeMap<PartKey, Progress>>>,
}

impl Recognitions {
    pub(super) fn new(recogniser: Recogniser) -> Self {
        Self {
            recogniser: Rc::new(recogniser),
            open: BTreeMap::new(),
            audio: HashMap::new(),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            reports: Rc::default(),
            progress: Rc::default(),
        }
    }

    /// Begins a part: its session is opened at once, so that the handshake hides behind its first words.
    pub(super) fn open(&mut self, key: PartKey, law: Law, span: Span) -> Rc<PartAudio> {
        let audio = PartAudio::new(law);
        self.open.insert(key, Rc::clone(&audio));
        self.begin(key, Rc::clone(&audio), span);
        audio
    }

    /// Keeps the audio of a part that is recognised another time, if at all.
    pub(super) fn only_keep(&mut self, key: PartKey, law: Law) -> Rc<PartAudio> {
        let audio = PartAudio::new(law);
        self.open.insert(key, Rc::clone(&audio));
        audio
    }

    /// Begins a part again of which there is audio from before a restart; more may follow.
    pub(super) fn reopen(
        &mut self,
        key: PartKey,
        (law, g711): (Law, Vec<u8>),
        is_closed: bool,
        span: Span,
    ) -> Rc<PartAudio> {
        let audio = PartAudio::new(law);
        audio.append(&g711);
        if is_closed {
            audio.close();
        } else {
            self.open.insert(key, Rc::clone(&audio));
        }
        self.begin(key, Rc::clone(&audio), span);
        audio
    }

    fn begin(&mut self, key: PartKey, audio: Rc<PartAudio>, span: Span) {
        self.audio.insert(key, Rc::clone(&audio));
        let (recogniser, reports) = (Rc::clone(&self.recogniser), Rc::clone(&self.reports));
        let progress = Rc::clone(&self.progress);
        let recognise = async move {
            let on_news = |news| match news {
                News::Interim(text) => reports.borrow_mut().push_back((key, Report::Interim(text))),
                News::Progress(now) => drop(progress.borrow_mut().insert(key, now)),
            };
            let report = match recogniser.recognise(audio, on_news).await {
                Ok(recognition) => Report::Recognised(recognition),
                Err(failure) => Report::Unrecognised {
                    reason: failure.reason,
                    detail: failure.detail,
                    can_wait: failure.can_wait,
                },
            };
            reports.borrow_mut().push_back((key, report));
        };
        let task = self.tasks.spawn_local(recognise.instrument(span));
        self.keys.insert(task.id(), key);
    }

    /// How long parts took on their way to the recogniser.
    pub(super) fn delays(&self) -> Delays {
        self.recogniser.delays()
    }

    pub(super) fn append(&self, key: PartKey, frame: &Frame, at: Instant) {
        if let Some(audio) = self.open.get(&key) {
            audio.append_frame(frame, at);
        }
    }

    pub(super) fn close(&mut self, key: PartKey, at: Instant) {
        if let Some(audio) = self.open.remove(&key) {
            audio.close_at(at);
        }
    }

    /// The next report, until `None`. A task that panicked reports that its part is given up.
    pub(super) fn poll_report(&mut self) -> Option<(PartKey, Report)> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let (id, panicked) = match ended {
                Ok((id, ())) => (id, false),
                Err(error) => (error.id(), error.is_panic()),
            };
            let key = self.keys.remove(&id);
            if let Some(key) = key.filter(|_| panicked) {
                error!("a recognition panicked");
                let detail = "the recognition ended by a fault of this program".to_owned();
                let report = Report::Unrecognised {
                    reason: GapReason::AsrUnavailable,
                    detail,
                    can_wait: false,
                };
                self.reports.borrow_mut().push_back((key, report));
            }
        }
        let report = self.reports.borrow_mut().pop_front();
        if let Some((key, Report::Recognised(_) | Report::Unrecognised { .. })) = &report {
            self.audio.remove(key);
            self.progress.borrow_mut().remove(key);
        }
        report
    }

    /// How a leg's parts fare that are on their way to a text; `None` if there are none.
    pub(super) fn session(
        &self,
        parts: RangeInclusive<PartKey>,
        now: Instant,
    ) -> Option<SessionSnapshot> {
        let progress = self.progress.borrow();
        SessionSnapshot::of(progress.range(parts).map(|(_, part)| part), now)
    }

    /// The audio so far of a part that has no outcome.
    pub(super) fn audio(&self, key: PartKey) -> Option<&PartAudio> {
        self.audio.get(&key).map(Rc::as_ref)
    }

    /// Gives up on everything that is still being recognised.
    pub(super) fn abandon(&mut self) -> Vec<PartKey> {
        self.tasks.abort_all();
        self.open.clear();
        self.progress.borrow_mut().clear();
        let mut keys: Vec<_> = self.keys.drain().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys
    }
}
