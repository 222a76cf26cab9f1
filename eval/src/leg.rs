//! A leg of a call in memory, with what is speech in it.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use callscribe::media::{Frame, Law, Samples};

use crate::network::Loss;
use crate::sounds::Random;
use crate::{FRAME, FULL_SCALE, companded, network, samples};

/// Audio from -1 to 1, and whether each 20 ms is speech.
pub(crate) struct Leg {
    pub(crate) audio: Vec<f32>,
    pub(crate) labels: Vec<bool>,
    /// What is said, if the manifest tells.
    pub(crate) said: String,
}

impl Leg {
    /// Strings the recordings of a manifest together, with pauses of 0.4 to 3 s, until there are so
    /// many seconds.
    pub(crate) fn read(folder: &Path, seconds: f32, seed: u64) -> Result<Self, ReadError> {
        let mut random = Random::new(seed);
        let mut leg = Self::silent();
        for (file, said) in manifest(folder)? {
            if leg.seconds() >= seconds {
                break;
            }
            leg.pause(random.between(0.4, 3.0));
            leg.append(&recording(folder.join(file))?);
            leg.said.push_str(&said);
        }
        leg.pause(1.0);
        Ok(leg)
    }

    /// So many seconds of the recordings in any order, again and again, with all pauses taken out.
    pub(crate) fn read_dense(folder: &Path, seconds: u16, seed: u64) -> Result<Self, ReadError> {
        let mut random = Random::new(seed);
        let recordings = manifest(folder)?;
        let mut leg = Self::silent();
        while leg.seconds() < f32::from(seconds) {
            let (file, said) = &recordings[random.index(recordings.len())];
            let audio = recording(folder.join(file))?;
            for (frame, is_speech) in audio.chunks_exact(FRAME).zip(labels(&audio)) {
                if is_speech {
                    leg.audio.extend(frame);
                    leg.labels.push(true);
                }
            }
            leg.said.push_str(said);
        }
        Ok(leg)
    }

    /// The short recordings, each with a pause for thought at its quietest place, and where those
    /// pauses are.
    pub(crate) fn read_thoughtful(
        folder: &Path,
        seed: u64,
    ) -> Result<(Self, Vec<Range<Samples>>), ReadError> {
        let mut random = Random::new(seed);
        let (mut leg, mut pauses) = (Self::silent(), Vec::new());
        for (file, said) in manifest(folder)? {
            let audio = recording(folder.join(file))?;
            if audio.len() > Self::SENTENCE {
                continue;
            }
            let (before, after) = audio.split_at(quietest(&audio) * FRAME);
            leg.pause(random.between(1.5, 3.0));
            leg.append(before);
            let start = samples(leg.labels.len());
            let (least, most) = Self::THOUGHT_MS.into_inner();
            leg.pause(random.between(f32::from(least), f32::from(most)) / 1_000.0);
            pauses.push(start..samples(leg.labels.len()));
            leg.append(after);
            leg.said.push_str(&said);
        }
        leg.pause(3.0);
        Ok((leg, pauses))
    }

    pub(crate) const THOUGHT_MS: RangeInclusive<u16> = 300..=1_200;
    /// At most 6 s.
    const SENTENCE: usize = 6 * 8_000;

    const fn silent() -> Self {
        Self {
            audio: Vec::new(),
            labels: Vec::new(),
            said: String::new(),
        }
    }

    pub(crate) fn seconds(&self) -> f32 {
        samples(self.labels.len()).as_duration().as_secs_f32()
    }

    pub(crate) fn speech_seconds(&self) -> f32 {
        let speech = self.labels.iter().filter(|label| **label).count();
        samples(speech).as_duration().as_secs_f32()
    }

    /// RMS of the speech.
    pub(crate) fn active_level(&self) -> f32 {
        let speech = self
            .audio
            .chunks(FRAME)
            .zip(&self.labels)
            .filter(|(_, label)| **label);
        let energy = speech.map(|(frame, _)| mean_square(frame));
        let (sum, count) = energy.fold((0.0, 1e-9), |(sum, count), e| (sum + e, count + 1.0));
        (sum / count).sqrt()
    }

    /// The leg as a network delivers it that loses packets like this.
    pub(crate) fn frames(&self, law: Law, loss: Loss, seed: u64) -> Vec<Frame> {
        let companded = |audio: &[f32]| {
            let mut g711 = [companded(law, 0); FRAME];
            for (byte, sample) in g711.iter_mut().zip(audio) {
                *byte = companded(law, to_pcm(*sample));
            }
            g711
        };
        let packets: Vec<_> = self.audio.chunks_exact(FRAME).map(companded).collect();
        network::receive(law, &packets, loss, seed)
    }

    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<(), ReadError> {
        let path = folder.join(format!("{name}.wav"));
        let refused = |source| ReadError::Recording {
            path: path.clone(),
            source,
        };
        let mut file = hound::WavWriter::create(&path, FORMAT).map_err(refused)?;
        for sample in &self.audio {
            file.write_sample(to_pcm(*sample)).map_err(refused)?;
        }
        file.finalize().map_err(refused)?;
        let digits: String = self
            .labels
            .iter()
            .map(|label| if *label { '1' } else { '0' })
            .collect();
        let path = folder.join(format!("{name}.txt"));
        std::fs::write(&path, digits).map_err(|source| ReadError::Manifest { path, source })
    }

    fn pause(&mut self, seconds: f32) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few seconds"
        )]
        let frames = (seconds * 50.0) as usize;
        self.audio.resize(self.audio.len() + frames * FRAME, 0.0);
        self.labels.resize(self.labels.len() + frames, false);
    }

    /// One frame more.
    pub(crate) fn push(&mut self, frame: &[f32], is_speech: bool) {
        self.audio.extend(frame);
        self.labels.push(is_speech);
    }

    fn append(&mut self, recording: &[f32]) {
        self.labels.extend(labels(recording));
        self.audio.extend(recording);
        self.audio.resize(self.labels.len() * FRAME, 0.0);
    }
}

/// The frame at which the middle half of a recording is quietest, within 120 ms.
fn quietest(audio: &[f32]) -> usize {
    let levels: Vec<f32> = audio.chunks_exact(FRAME).map(mean_square).collect();
    let around = |at: usize| levels[at - 3..at + 3].iter().sum::<f32>();
    let middle = (levels.len() / 4).max(3)..levels.len() * 3 / 4;
    middle
        .min_by(|a, b| around(*a).total_cmp(&around(*b)))
        .unwrap_or_default()
}

/// Each recording and what is said in it.
fn manifest(folder: &Path) -> Result<Vec<(String, String)>, ReadError> {
    let path = folder.join("manifest.tsv");
    let lines =
        std::fs::read_to_string(&path).map_err(|source| ReadError::Manifest { path, source })?;
    let mut lines = lines
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let heading = lines.next().unwrap_or_default();
    let reference = heading.iter().position(|column| *column == "reference");
    let row = |line: Vec<&str>| {
        let said = reference.and_then(|column| line.get(column));
        let file = line.first().copied().unwrap_or_default();
        (
            file.to_owned(),
            said.map_or_else(String::new, |said| said.replace('|', "")),
        )
    };
    Ok(lines.map(row).collect())
}

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{path}: {source}")]
    Manifest { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Recording { path: PathBuf, source: hound::Error },
    #[error("{path}: 16-bit mono at 8000 Hz is wanted, this is {found:?}")]
    Format {
        path: PathBuf,
        found: hound::WavSpec,
    },
}

fn recording(path: PathBuf) -> Result<Vec<f32>, ReadError> {
    let read = |path: &Path| {
        let reader = hound::WavReader::open(path)?;
        let found = reader.spec();
        let audio: Result<Vec<i16>, _> = reader.into_samples::<i16>().collect();
        Ok((found, audio?))
    };
    match read(&path) {
        Err(source) => Err(ReadError::Recording { path, source }),
        Ok((found, _)) if found != FORMAT => Err(ReadError::Format { path, found }),
        Ok((_, pcm)) => Ok(pcm.into_iter().map(|s| f32::from(s) / FULL_SCALE).collect()),
    }
}

/// Speech is what is within 35 dB of the loud frames, in steps of 10 ms; gaps of up to 100 ms
/// belong to it.
fn labels(recording: &[f32]) -> Vec<bool> {
    let energies: Vec<f32> = recording.chunks(FRAME / 2).map(mean_square).collect();
    let loudest = energies.iter().copied().fold(0.0, f32::max);
    let mut sorted: Vec<f32> = energies
        .iter()
        .copied()
        .filter(|e| *e > loudest * 1e-4)
        .collect();
    sorted.sort_by(f32::total_cmp);
    let loud = sorted.get(sorted.len() * 19 / 20).copied().unwrap_or(1.0);
    let mut speech: Vec<bool> = energies
        .iter()
        .map(|e| *e > loud * 10.0_f32.powf(-3.5))
        .collect();
    let mut last = None;
    for at in 0..speech.len() {
        if speech[at] {
            if let Some(last) = last.filter(|last| at - last <= 10) {
                speech[last..at].fill(true);
            }
            last = Some(at);
        }
    }
    speech
        .chunks(2)
        .map(|halves| halves.contains(&true))
        .collect()
}

fn mean_square(audio: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a frame")]
    let count = audio.len() as f32;
    audio.iter().map(|s| s * s).sum::<f32>() / count
}

fn to_pcm(sample: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let pcm = (sample * FULL_SCALE).round() as i16;
    pcm
}

const FORMAT: hound::WavSpec = hound::WavSpec {
    channels: 1,
    sample_rate: 8_000,
    bits_per_sample: 16,
    sample_format: hound::SampleFormat::Int,
};
