//! One thread's Whisper: audio in, text out.

use std::ops::Range;

use whisper_rs::{FullParams, SamplingStrategy, WhisperError, WhisperState, WhisperTokenId};

use super::piece::pieces;
use super::text::{repeats_itself, tidy};
use super::upsample::double_rate;
use crate::service::engine::{Failure, Job, Outcome, whole};

/// Whisper's working memory, and the settings that were measured to suit it.
pub(super) struct Transcriber {
    state: WhisperState,
    tokens: Tokens,
    threads: usize,
}

/// Two tokens of the model's vocabulary.
pub(super) struct Tokens {
    /// `<|startoftranscript|>`
    pub(super) start: WhisperTokenId,
    /// `<|nospeech|>`
    pub(super) no_speech: WhisperTokenId,
}

/// What was heard in one piece.
#[derive(Default)]
struct Heard {
    text: String,
    /// Sum of the natural logarithms of the tokens' probabilities.
    log_probability: f32,
    tokens: usize,
}

impl Heard {
    fn mean_log_probability(&self) -> f32 {
        self.log_probability / self.tokens.max(1) as f32
    }

    fn spoken(&self) -> usize {
        self.text
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .count()
    }

    /// Whether Whisper was unsure, went round in circles, or said more than a mouth can.
    fn is_doubtful(&self, samples: usize) -> bool {
        self.mean_log_probability() < LEAST_MEAN_LOG_PROBABILITY
            || repeats_itself(&self.text)
            || self.spoken() * RATE > (8 * samples).max(16 * RATE)
    }
}

impl Transcriber {
    pub(super) const fn new(state: WhisperState, tokens: Tokens, threads: usize) -> Self {
        Self {
            state,
            tokens,
            threads,
        }
    }

    /// The text of a session, as one segment. Whisper is run without timestamps, so there are no
    /// word timings.
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

    /// Hears a piece as cheaply as it can be heard well: greedily in a window of its length; then,
    /// if the text cannot be right, with sampling; then in the full window.
    fn hear(&mut self, piece: &[f32]) -> Result<Heard, WhisperError> {
        if piece.is_empty() {
            return Ok(Heard::default());
        }
        let mut samples = piece.to_vec();
        samples.resize(piece.len().max(SHORTEST), 0.0);
        let window = window_for(samples.len());
        let greedy = self.run(&samples, window, GREEDY)?;
        if greedy.mean_log_probability() < MOST_OF_SILENCE && self.is_silence()? {
            return Ok(Heard::default());
        }
        if !greedy.is_doubtful(samples.len()) {
            return Ok(greedy);
        }
        let sampled = self.run(&samples, window, SAMPLING)?;
        if !sampled.is_doubtful(samples.len()) {
            return Ok(sampled);
        }
        let full = self.run(&samples, FULL_WINDOW, SAMPLING)?;
        let is_better = !full.is_doubtful(samples.len()) || full.spoken() < sampled.spoken();
        Ok(if is_better { full } else { sampled })
    }

    fn run(
        &mut self,
        samples: &[f32],
        window: usize,
        temperature_step: f32,
    ) -> Result<Heard, WhisperError> {
        let parameters = self.parameters(samples.len(), window, temperature_step);
        self.state.full(parameters, samples)?;
        let mut heard = Heard::default();
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

    /// Whether Whisper itself holds that nobody spoke in the piece it ran last.
    ///
    /// Its answer is the probability of one token at the very start of a transcript. whisper.cpp's
    /// own figure cannot be used: with a prompt of several tokens it is read from the decoding
    /// before.
    fn is_silence(&mut self) -> Result<bool, WhisperError> {
        self.state.decode(&[self.tokens.start], 0, self.threads)?;
        let logits = self.state.get_logits()?;
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        let no_speech = usize::try_from(self.tokens.no_speech)
            .ok()
            .and_then(|at| logits.get(at));
        let probability = no_speech.map_or(0.0, |logit| (logit - highest).exp() / sum);
        Ok(probability > MOST_NO_SPEECH)
    }

    fn parameters(
        &self,
        samples: usize,
        window: usize,
        temperature_step: f32,
    ) -> FullParams<'static, 'static> {
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        parameters.set_n_threads(c_int(self.threads));
        parameters.set_language(Some("zh"));
        parameters.set_no_context(true);
        parameters.set_no_timestamps(true);
        parameters.set_single_segment(true);
        parameters.set_audio_ctx(c_int(window));
        parameters.set_temperature_inc(temperature_step);
        parameters.set_max_tokens(c_int(10 + 12 * samples / RATE));
        parameters.set_suppress_nst(true);
        parameters.set_logprob_thold(LEAST_MEAN_LOG_PROBABILITY);
        // Out of reach: see `is_silence`.
        parameters.set_no_speech_thold(2.0);
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

/// Frames of 20 ms that the encoder looks at: the audio's and some more. A full window costs 30 s
/// of work for a word.
fn window_for(samples: usize) -> usize {
    let Range { start, end } = 400..FULL_WINDOW;
    (samples.div_ceil(RATE / 50) + 64).clamp(start, end)
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
/// Steps of the sampling temperature. Zero never samples; OpenAI's step is the other one.
const GREEDY: f32 = 0.0;
const SAMPLING: f32 = 0.2;
/// A text less likely than this is tried again, as in OpenAI's decoding.
const LEAST_MEAN_LOG_PROBABILITY: f32 = -1.0;
/// Nobody spoke where both hold, as in OpenAI's decoding: no-speech above 0.6, and an unlikely
/// text. Over there the limit is -1. Measured here, noise, tones and silence lie at -2 and below,
/// half words at -1 and above.
const MOST_NO_SPEECH: f32 = 0.6;
const MOST_OF_SILENCE: f32 = -1.5;

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
        let heard = |text: &str| Heard {
            text: text.into(),
            log_probability: -2.0,
            tokens: 10,
        };
        let sentence = heard("请您把地址和收件人姓名以及电话发给我们好吗");
        assert!(!sentence.is_doubtful(3 * RATE));
        assert!(sentence.is_doubtful(2 * RATE));
        assert!(!heard("您好请问有什么可以").is_doubtful(RATE));
    }

    #[test]
    fn an_unsure_text_is_doubtful() {
        let heard = Heard {
            text: "水".into(),
            log_probability: -5.0,
            tokens: 2,
        };
        assert!(heard.is_doubtful(RATE));
    }
}
