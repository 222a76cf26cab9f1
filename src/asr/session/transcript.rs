//! Joins the segments of all results of a session into one text.

use crate::asr::message::{Segment, SegmentResult};
use crate::asr::{Recognition, Word};
use crate::media::Samples;

/// The segments of one session, in the order of their time.
///
/// A final segment replaces the unfinished ones it covers. A service that restates a final segment
/// sends the same stretch of time again: the later one counts. Segments without a stretch (start
/// and end equal) restate nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    finals: Vec<Segment>,
    interims: Vec<Segment>,
}

impl Transcript {
    /// Takes one segment; returns false when there are too many to be one minute of speech.
    pub(super) fn push(&mut self, segment: Segment) -> bool {
        self.interims.retain(|old| !supersedes(&segment, old));
        if segment.is_final {
            self.finals.retain(|old| {
                let has_stretch = segment.end_time > segment.start_time;
                let same_start = segment.start_time == old.start_time;
                *old != segment && !(has_stretch && same_start)
            });
            insert(&mut self.finals, segment);
        } else if !self.finals.iter().any(|done| supersedes(done, &segment)) {
            insert(&mut self.interims, segment);
        }
        self.finals.len() + self.interims.len() <= MAX_SEGMENTS
    }

    /// The text so far, unfinished segments included.
    pub(super) fn text(&self) -> String {
        let mut all: Vec<_> = self.finals.iter().chain(&self.interims).collect();
        all.sort_by_key(|segment| segment.start_time);
        join(
            all.into_iter()
                .filter_map(|segment| segment.result.as_ref()),
        )
    }

    /// The final text of a session that carried `len` samples.
    pub(super) fn into_recognition(self, len: Samples) -> Recognition {
        // A service that ends a session without a final segment has said all it will say.
        let segments = match self.finals.is_empty() {
            true => self.interims,
            false => self.finals,
        };
        let results: Vec<_> = segments.into_iter().filter_map(|s| s.result).collect();
        Recognition {
            text: join(results.iter()),
            confidence: mean_score(&results),
            words: words(&results, len),
            ..Recognition::default()
        }
    }
}

/// Whether `new` says again, or finally, what the unfinished `old` said.
fn supersedes(new: &Segment, old: &Segment) -> bool {
    let covers = (new.start_time..new.end_time).contains(&old.start_time);
    new.start_time == old.start_time || (new.is_final && covers)
}

fn insert(segments: &mut Vec<Segment>, segment: Segment) {
    let at = segments.partition_point(|old| old.start_time <= segment.start_time);
    segments.insert(at, segment);
}

/// Mandarin is joined without spaces; between two words in Latin letters or digits there is one.
fn join<'a>(results: impl Iterator<Item = &'a SegmentResult>) -> String {
    results.fold(String::new(), |mut text, result| {
        let next = result.text.trim();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if joins(text.chars().next_back()) && joins(next.chars().next()) {
            text.push(' ');
        }
        text.push_str(next);
        text
    })
}

fn mean_score(results: &[SegmentResult]) -> Option<f64> {
    let scores: Vec<f64> = results.iter().filter_map(|result| result.score).collect();
    let count = u32::try_from(scores.len())
        .ok()
        .filter(|&count| count > 0)?;
    Some(scores.iter().sum::<f64>() / f64::from(count))
}

fn words(results: &[SegmentResult], len: Samples) -> Vec<Word> {
    // The service's clock may run past the audio by rounding; a word never leaves its part.
    let place = |ms: u64| Samples::from_ms(ms.min(len.as_ms()));
    let infos = results.iter().flat_map(|result| &result.word_info);
    let words = infos.map(|info| Word {
        text: info.word.clone(),
        start: place(info.start_time),
        end: place(info.end_time.max(info.start_time)),
    });
    words.take(MAX_WORDS).collect()
}

/// Segments of one session. Short-stream sends one; a minute holds far fewer than this.
const MAX_SEGMENTS: usize = 1_000;

/// Words of one session: ten a second would be fast speech.
const MAX_WORDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::message::WordInfo;

    fn segment(start: u64, end: u64, is_final: bool, text: &str) -> Segment {
        let result = SegmentResult {
            text: text.into(),
            score: Some(0.5),
            word_info: vec![],
        };
        Segment {
            start_time: start,
            end_time: end,
            is_final,
            result: Some(result),
        }
    }

    fn join_all(segments: impl IntoIterator<Item = Segment>) -> String {
        let mut transcript = Transcript::default();
        for segment in segments {
            assert!(transcript.push(segment));
        }
        transcript.into_recognition(Samples::from_ms(60_000)).text
    }

    #[test]
    fn finals_are_joined_by_time_not_by_arrival() {
        let text = join_all([
            segment(2000, 3000, true, "账单"),
            segment(0, 2000, true, "我想查"),
        ]);
        assert_eq!(text, "我想查账单");
    }

    #[test]
    fn interim_is_replaced_by_its_successor_and_its_final() {
        let mut transcript = Transcript::default();
        for text in ["我", "我想"] {
            transcript.push(segment(0, 500, false, text));
            assert_eq!(transcript.text(), text);
        }
        transcript.push(segment(0, 900, true, "我想查"));
        transcript.push(segment(0, 500, false, "我"));
        assert_eq!(transcript.text(), "我想查");
    }

    #[test]
    fn interims_inside_a_final_stretch_are_gone() {
        let text = join_all([
            segment(100, 400, false, "我"),
            segment(500, 900, false, "想"),
            segment(0, 1000, true, "我想"),
        ]);
        assert_eq!(text, "我想");
    }

    #[test]
    fn final_sent_twice_counts_once() {
        let twice = [segment(0, 900, true, "好"), segment(0, 900, true, "好")];
        assert_eq!(join_all(twice), "好");
        let restated = [segment(0, 900, true, "好"), segment(0, 1800, true, "好的")];
        assert_eq!(join_all(restated), "好的");
    }

    #[test]
    fn finals_without_times_are_all_kept() {
        let text = join_all([segment(0, 0, true, "你"), segment(0, 0, true, "好")]);
        assert_eq!(text, "你好");
    }

    #[test]
    fn interims_stand_in_when_no_final_ever_came() {
        assert_eq!(join_all([segment(0, 900, false, "喂")]), "喂");
    }

    #[test]
    fn latin_words_do_not_run_together() {
        let text = join_all([
            segment(0, 1, true, "hello"),
            segment(2, 3, true, "world"),
            segment(4, 5, true, "你好"),
        ]);
        assert_eq!(text, "hello world你好");
    }

    #[test]
    fn failed_segment_is_passed_over() {
        let failed = Segment {
            is_final: true,
            ..Segment::default()
        };
        assert_eq!(join_all([failed, segment(10, 20, true, "好")]), "好");
    }

    #[test]
    fn words_stay_inside_the_part() {
        let mut wide = segment(0, 900, true, "好");
        wide.result.as_mut().unwrap().word_info = vec![WordInfo {
            start_time: 500,
            end_time: u64::MAX,
            word: "好".into(),
        }];
        let mut transcript = Transcript::default();
        transcript.push(wide);
        let words = transcript.into_recognition(Samples::from_ms(600)).words;
        assert_eq!((words[0].start.as_ms(), words[0].end.as_ms()), (500, 600));
    }

    #[test]
    fn endless_segments_are_told() {
        let mut transcript = Transcript::default();
        let taken = (0..5000).take_while(|&n| transcript.push(segment(n, n + 1, true, "a")));
        assert_eq!(taken.count(), MAX_SEGMENTS);
    }
}
