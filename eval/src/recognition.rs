//! What is understood: through callscribe's utterances and parts, and by the engine on its own.

use callscribe::asr::Recognition;
use callscribe::call::part::{Closed, Outcome, Parts};
use callscribe::eval::score::{Score, score};
use callscribe::media::{Frame, Law, Samples};
use callscribe::speech::Output;

use crate::recogniser::{Recogniser, g711};
use crate::samples;
use crate::seams::Seam;

/// The texts of a leg's parts, joined as the lines give them.
pub(crate) struct Understood {
    pub(crate) texts: Vec<String>,
    pub(crate) parts: Vec<Part>,
    /// Audio sent, lead-ins included.
    pub(crate) sent: Samples,
}

/// A part that was opened.
pub(crate) struct Part {
    pub(crate) start: Samples,
    /// Whether the utterance was cut there.
    pub(crate) is_seam: bool,
}

impl Understood {
    /// Recognises the parts of one leg, one session each.
    pub(crate) fn of(outputs: &[Output], law: Law, recogniser: &Recogniser) -> Self {
        let mut understood = Self {
            texts: Vec::new(),
            parts: Vec::new(),
            sent: Samples::ZERO,
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
                    understood.parts.push(Part {
                        start,
                        is_seam: part > 0,
                    });
                }
                Output::LeadIn(frame) | Output::Audio(frame) => audio.push(frame),
                Output::PartClosed { end, speech, last } => {
                    parts.close(Closed { end, speech, last });
                    understood.sent += samples(audio.len());
                    let (text, _) = recogniser.recognise(law, g711(&audio));
                    audio.clear();
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

/// What is understood of a condition.
pub(crate) struct Comparison {
    /// Through callscribe.
    pub(crate) through: Score,
    /// By the engine, fed the whole recording.
    pub(crate) whole: Score,
    /// Characters lost at a seam, in the mean; `None` without one.
    pub(crate) lost_at_seams: Option<f32>,
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
        Self {
            through: score(said, &understood.text()),
            lost_at_seams: Seam::lost_at_each(&Seam::all(&understood, said, &whole)),
            whole: score(said, &whole),
        }
    }
}
