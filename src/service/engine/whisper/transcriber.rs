//! One thread's Whisper: audio in, text out.

use std::ops::Range;

use whisper_rs::{FullParams, SamplingStrategy, WhisperError, WhisperState};

use super::piece::pieces;
use super::text::{repeats_itself, tidy};
use super::upsample::double_rate;
use crate::service::engine::{Failure, Job, Outcome, whole};

/// Whisper's working memory, and the settings that were measured to suit it.
pub(super) struct Transcriber {
    state: WhisperState,
    threads: usize,
}

/// What was heard in one piece.
struct Heard {
    text: String,
    /// Sum of the natural logarithms of the tokens' probabilities.
    log_probability: f32,
    tokens: usize,
}

impl Transcriber {
    pub(super) const fn new(state: WhisperState, threads: usize) -> Self {
        Self { state, threads }
    }

    /// The text of a session, as one segment. Whisper is run without timestamps, so there are no word timings.
    pub(super) fn transcribe(&mut self, job: &Job) -> Outcome {
        let samples = to_16_khz(job);
        let mut heard = Vec::new();
        for piece in pieces(&samples) {
            heard.push(self.hear(&samples[piece]).map_err(|error| {
                Failure::new("SIS.0305", &format!("recognition failed: {error}"))
            })?);
        }
        let text: Vec<&str> = heard.iter().map(|heard| heard.text.as_str()).collect();
        let text = tidy(&text.join(" "), job.settings.add_punc);
        let score = if text.is_empty() { 0.0 } else { score(&heard) };
        Ok(vec![whole(&job.audio, text, score, Vec::new())])
    }

    /// Hears a piece with a short window, and again with the full one when the first text cannot be right.
    fn hear(&mut self, piece: &[f32]) -> Result<Heard, WhisperError> {
        if piece.is_empty() {
            return Ok(Heard {
                text: String::new(),
                log_probability: 0.0,
                tokens: 0,
            });
        }
        let mut samples = piece.to_vec();
        samples.resize(piece.len().max(SHORTEST), 0.0);
        let heard = self.run(&samples, window_for(samples.len()))?;
        if !is_doubtful(&heard.text, samples.len()) {
            return Ok(heard);
        }
        let again = self.run(&samples, FULL_WINDOW)?;
        let is_better = again.text.chars().count() < heard.text.chars().count();
        Ok(if is_better || !is_doubtful(&again.text, samples.len()) {
            again
        } else {
            heard
        })
    }

    fn run(&mut self, samples: &[f32], window: usize) -> Result<Heard, WhisperError> {
        self.state
            .full(self.parameters(samples.len(), window), samples)?;
        let mut heard = Heard {
            text: String::new(),
            log_probability: 0.0,
            tokens: 0,
        };
        for segment in self.state.as_iter() {
            heard.text.push_str(&segment.to_str_lossy()?);
            for token in 0..segment.n_tokens() {
                if let Some(token) = segment.get_token(token) {
                    heard.log_probability += token.token_probability().max(f32::MIN_POSITIVE).ln();
                    heard.tokens += 1;
                }
            }
        }
        Ok(heard)
    }

    fn parameters(&self, samples: usize, window: usize) -> FullParams<'static, 'static> {
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        parameters.set_n_threads(c_int(self.threads));
        parameters.set_language(Some("zh"));
        parameters.set_no_context(true);
        parameters.set_no_timestamps(true);
        parameters.set_single_segment(true);
        parameters.set_audio_ctx(c_int(window));
        // With a short window, greedy decoding loops now and then unless it may fall back to sampling.
        parameters.set_temperature_inc(0.2);
        parameters.set_max_tokens(c_int(10 + 12 * samples / RATE));
        // Whisper's own rule for "nobody speaks": both must hold. It tells noise and half a word well apart.
        parameters.set_no_speech_thold(0.6);
        parameters.set_logprob_thold(-1.0);
        parameters.set_print_special(false);
        parameters.set_print_progress(false);
        parameters.set_print_realtime(false);
        parameters.set_print_timestamps(false);
        parameters
    }
}

fn to_16_khz(job: &Job) -> Vec<f32> {
    let samples: Vec<f32> = job
        .audio
        .to_samples()
        .into_iter()
        .map(|sample| f32::from(sample) / 32_768.0)
        .collect();
    if job.audio.format.sample_rate() == 8_000 {
        double_rate(&samples)
    } else {
        samples
    }
}

/// Frames of 20 ms that the encoder looks at: the audio's and some more. A full window costs 30 s of work for a word.
fn window_for(samples: usize) -> usize {
    let Range { start, end } = 400..FULL_WINDOW;
    (samples.div_ceil(RATE / 50) + 64).clamp(start, end)
}

/// Whether Whisper went round in circles, or said more than a mouth can.
fn is_doubtful(text: &str, samples: usize) -> bool {
    let spoken = text
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .count();
    repeats_itself(text) || spoken * RATE > (8 * samples).max(16 * RATE)
}

/// The geometric mean of the tokens' probabilities.
fn score(heard: &[Heard]) -> f64 {
    let log_probability: f32 = heard.iter().map(|heard| heard.log_probability).sum();
    let tokens: usize = heard.iter().map(|heard| heard.tokens).sum();
    f64::from((log_probability / tokens.max(1) as f32).exp())
}

fn c_int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

const RATE: usize = 16_000;
/// 1.1 s: Whisper hears nothing in less than a second.
const SHORTEST: usize = RATE * 11 / 10;
const FULL_WINDOW: usize = 1_500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_audio_between_its_bounds() {
        assert_eq!(window_for(RATE), 400);
        assert_eq!(window_for(10 * RATE), 564);
        assert_eq!(window_for(28 * RATE), 1_464);
        assert_eq!(window_for(60 * RATE), FULL_WINDOW);
    }

    #[test]
    fn more_than_eight_characters_a_second_is_doubtful() {
        let sentence = "请您把地址和收件人姓名以及电话发给我们好吗";
        assert!(!is_doubtful(sentence, 3 * RATE));
        assert!(is_doubtful(sentence, 2 * RATE));
        assert!(!is_doubtful("您好请问有什么可以", RATE));
    }
}
