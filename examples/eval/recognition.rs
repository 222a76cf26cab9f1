//! What is understood: through callscribe's utterances and parts, and by the engine on its own.

use std::time::Duration;

use callscribe::asr::Recognition;
use callscribe::call::part::{Closed, Outcome, Parts};
use callscribe::eval::score::{Score, score};
use callscribe::media::{Frame, Law, Samples};
use callscribe::speech::Output;

use crate::recogniser::{Recogniser, g711};
use crate::samples;
use crate::score::Percentiles;

/// The texts of a leg's parts, joined as the lines give them.
pub(crate) struct Understood {
    pub(crate) texts: Vec<String>,
    /// Where each part starts, and whether it has a lead-in.
    pub(crate) parts: Vec<(Samples, bool)>,
    /// Audio sent, lead-ins included.
    pub(crate) sent: Samples,
    /// The engine's time for each part.
    pub(crate) took: Vec<Duration>,
}

impl Understood {
    /// Recognises the parts of one leg, one session each.
    pub(crate) fn of(outputs: &[Output], law: Law, recogniser: &Recogniser) -> Self {
        let mut understood = Self {
            texts: Vec::new(),
            parts: Vec::new(),
            sent: Samples::ZERO,
            took: Vec::new(),
        };
        let mut parts = Parts::default();
        let (mut open, mut audio) = ((0, 0), Vec::<Frame>::new());
        let mut waiting: Option<((u64, u32), String)> = None;
        for output in outputs {
            match *output {
                Output::PartOpened {
                    utterance,
                    part,
                    start,
                    lead_in,
                } => {
                    open = (utterance, part);
                    parts.open(utterance, part, start, lead_in);
                    understood.parts.push((start, lead_in > Samples::ZERO));
                }
                Output::LeadIn(frame) | Output::Audio(frame) => audio.push(frame),
                Output::PartClosed { end, speech, last } => {
                    parts.close(Closed { end, speech, last });
                    understood.sent += samples(audio.len());
                    let (text, took) = recogniser.recognise(law, g711(&audio));
                    audio.clear();
                    understood.took.push(took);
                    understood.settle(&mut parts, waiting.replace((open, text)));
                }
                Output::Started { .. } | Output::Ended { .. } => {}
            }
        }
        understood.settle(&mut parts, waiting);
        understood
    }

    /// A part's text comes when the next part is open, as in a live call.
    fn settle(&mut self, parts: &mut Parts, recognised: Option<((u64, u32), String)>) {
        let Some(((utterance, part), text)) = recognised else {
            return;
        };
        let recognition = Recognition {
            text,
            ..Recognition::default()
        };
        parts.settle(utterance, part, Outcome::Recognised(recognition));
        while let Some((_, _, Outcome::Recognised(recognition))) = parts.poll_settled() {
            self.texts.push(recognition.text);
        }
    }

    pub(crate) fn text(&self) -> String {
        self.texts.concat()
    }
}

/// A line of the table of recognition.
pub(crate) struct Comparison {
    pub(crate) sessions: usize,
    pub(crate) cuts: usize,
    pub(crate) sent: Samples,
    /// Through callscribe.
    pub(crate) through: Score,
    /// By the engine, fed the whole recording.
    pub(crate) whole: Score,
    /// The engine's time for a part.
    pub(crate) took: Percentiles,
}

impl Comparison {
    pub(crate) fn of(
        frames: &[Frame],
        outputs: &[Output],
        said: &str,
        law: Law,
        recogniser: &Recogniser,
    ) -> Self {
        let understood = Understood::of(outputs, law, recogniser);
        let (whole, _) = recogniser.recognise(law, g711(frames));
        let ms = |took: &Duration| i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let is_cut = |output: &&Output| matches!(output, Output::PartClosed { last: false, .. });
        Self {
            sessions: understood.parts.len(),
            cuts: outputs.iter().filter(is_cut).count(),
            sent: understood.sent,
            through: score(said, &understood.text()),
            whole: score(said, &whole),
            took: Percentiles::of(understood.took.iter().map(ms).collect()),
        }
    }
}
