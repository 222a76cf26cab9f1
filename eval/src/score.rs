//! How near the detector and the segmenter come to the truth.

use std::ops::Range;
use std::time::Duration;

use callscribe::media::Samples;
use callscribe::speech::Output;

use crate::samples;

/// Verdicts against labels, per 20 ms frame.
pub(crate) struct Frames {
    /// Wrong verdicts among all.
    pub(crate) error: f32,
    /// Speech taken for silence, among speech.
    pub(crate) miss: f32,
    /// Silence taken for speech, among silence.
    pub(crate) false_alarm: f32,
}

impl Frames {
    pub(crate) fn compare(labels: &[bool], verdicts: &[bool]) -> Self {
        let count = |label, verdict| {
            let pairs = labels.iter().zip(verdicts);
            pairs
                .filter(|(l, v)| (**l, **v) == (label, verdict))
                .count()
        };
        let (missed, false_alarms) = (count(true, false), count(false, true));
        let speech = missed + count(true, true);
        let silence = false_alarms + count(false, false);
        Self {
            error: share(missed + false_alarms, speech + silence),
            miss: share(missed, speech),
            false_alarm: share(false_alarms, silence),
        }
    }
}

/// Utterances against true ones: speech whose pauses are shorter than the hangover.
pub(crate) struct Utterances {
    pub(crate) truth: usize,
    pub(crate) found: usize,
    /// Speech outside every utterance, among speech.
    pub(crate) lost_speech: f32,
    /// Start of the utterance less the start of the speech, in milliseconds: the pre-roll is
    /// negative. Where one found utterance goes on from a true one to the next, that has no onset.
    pub(crate) onset: Percentiles,
    /// End of the utterance less the end of the speech.
    pub(crate) end: Percentiles,
    /// When the last part of the utterance was closed, less the end of its speech.
    pub(crate) closed: Percentiles,
    /// Parts: each is a session.
    pub(crate) sessions: usize,
    /// Parts that ended within their utterance.
    pub(crate) cuts: usize,
    /// Audio in all parts, lead-ins included.
    pub(crate) sent: Samples,
    pub(crate) speech: Samples,
}

impl Utterances {
    /// `closed` tells how far the leg was heard when each utterance ended.
    pub(crate) fn compare(
        labels: &[bool],
        outputs: &[Output],
        closed: &[Samples],
        hangover: Duration,
    ) -> Self {
        let truth = true_utterances(labels, Samples::from_duration(hangover));
        let found = spans(outputs);
        let inside = |at: usize| found.iter().any(|span| span.contains(&samples(at).0));
        let speech = labels.iter().filter(|label| **label).count();
        let lost = labels
            .iter()
            .enumerate()
            .filter(|(at, label)| **label && !inside(*at))
            .count();
        let count = |is_wanted: fn(&Output) -> bool| {
            outputs.iter().filter(|output| is_wanted(output)).count()
        };
        let pairs = pairs(&truth, &found);
        let onsets = pairs.iter().filter(|pair| pair.begin_together);
        let ends = pairs.iter().filter(|pair| pair.end_together);
        let onsets = onsets.map(|pair| difference(pair.found.start, pair.truth.start));
        let ends = ends.map(|pair| difference(pair.found.end, pair.truth.end));
        Self {
            truth: truth.len(),
            found: found.len(),
            lost_speech: share(lost, speech),
            onset: Percentiles::of(onsets.collect()),
            end: Percentiles::of(ends.collect()),
            closed: Percentiles::of(delays(labels, closed)),
            sessions: count(|output| matches!(output, Output::PartOpened { .. })),
            cuts: count(|output| matches!(output, Output::PartClosed { last: false, .. })),
            sent: samples(count(|output| {
                matches!(output, Output::LeadIn(_) | Output::Audio(_))
            })),
            speech: samples(speech),
        }
    }
}

/// The tenth, the middle and the ninetieth of a hundred.
#[derive(Default)]
pub(crate) struct Percentiles {
    pub(crate) p10: i64,
    pub(crate) p50: i64,
    pub(crate) p90: i64,
}

impl Percentiles {
    pub(crate) fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        };
        let [p10, p50, p90] = [10, 50, 90].map(|percent| at(percent).copied().unwrap_or_default());
        Self { p10, p50, p90 }
    }
}

/// From the last speech to the close of each utterance.
fn delays(labels: &[bool], closed: &[Samples]) -> Vec<i64> {
    let last_speech = |at: &Samples| {
        let heard = labels
            .iter()
            .enumerate()
            .take_while(|(frame, _)| samples(*frame) < *at);
        let last = heard.filter(|(_, label)| **label).last();
        last.map(|(frame, _)| difference(at.0, samples(frame + 1).0))
    };
    closed.iter().filter_map(last_speech).collect()
}

fn true_utterances(labels: &[bool], hangover: Samples) -> Vec<Range<u64>> {
    let mut utterances: Vec<Range<u64>> = Vec::new();
    let speech = labels.iter().enumerate().filter(|(_, label)| **label);
    for (start, end) in speech.map(|(at, _)| (samples(at).0, samples(at + 1).0)) {
        match utterances.last_mut() {
            Some(last) if start < last.end + hangover.0 => last.end = end,
            _ => utterances.push(start..end),
        }
    }
    utterances
}

fn spans(outputs: &[Output]) -> Vec<Range<u64>> {
    let mut spans = Vec::new();
    for output in outputs {
        if let Output::Ended { start, end, .. } = output {
            spans.push(start.0..end.0);
        }
    }
    spans
}

/// A true utterance and one that was found in the same place.
struct Pair<'a> {
    truth: &'a Range<u64>,
    found: &'a Range<u64>,
    /// No other one of either list is there before.
    begin_together: bool,
    end_together: bool,
}

fn pairs<'a>(truth: &'a [Range<u64>], found: &'a [Range<u64>]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for truth in truth {
        for found in found.iter().filter(|found| overlap(found, truth)) {
            let is_new = |last: &Pair<'_>| last.truth != truth && last.found != found;
            let is_new = pairs.last().is_none_or(is_new);
            if let (false, Some(last)) = (is_new, pairs.last_mut()) {
                last.end_together = false;
            }
            pairs.push(Pair {
                truth,
                found,
                begin_together: is_new,
                end_together: true,
            });
        }
    }
    pairs
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn difference(found: u64, truth: u64) -> i64 {
    let [found, truth] =
        [found, truth].map(|at| i64::try_from(Samples(at).as_ms()).unwrap_or(i64::MAX));
    found - truth
}

fn share(part: usize, whole: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "some thousand frames")]
    let share = part as f32 / whole.max(1) as f32;
    share
}
