//! What the streams say.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::{Outcome, ROOT, scratch};

/// Seconds of silence behind the two sides of the recorded call, of which 41.9 s of 93.5 s are speech: that makes it 40 %.
const REST_S: usize = 11;

/// Loudest sample of the noise of the line: -58 dBFS, if it is spread evenly.
const NOISE: i32 = 71;

/// A customer and an agent one after the other, each talking and listening, over the noise of a line.
pub(crate) fn talk() -> Outcome<PathBuf> {
    let mut samples = Vec::new();
    for side in ["call_agent.wav", "call_caller.wav"] {
        let file = File::open(format!("{ROOT}/fixtures/{side}"))?;
        let reader = WavReader::new(BufReader::new(file))?;
        for sample in reader.into_samples::<i16>() {
            samples.push(sample?);
        }
    }
    samples.resize(samples.len() + RATE as usize * REST_S, 0);
    write("talk.wav", samples)
}

/// Half a minute of a line on which nobody speaks.
pub(crate) fn silence() -> Outcome<PathBuf> {
    write("silence.wav", vec![0; RATE as usize * 30])
}

fn write(name: &str, samples: Vec<i16>) -> Outcome<PathBuf> {
    let path = scratch()?.join(name);
    if path.exists() {
        return Ok(path);
    }
    let spec = WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(&path, spec)?;
    let mut state = 1_u32;
    for sample in samples {
        // A linear congruential generator (Numerical Recipes); its high bits are random enough.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = i32::try_from(state >> 16)? % (2 * NOISE + 1) - NOISE;
        let noisy = (i32::from(sample) + noise).clamp(i16::MIN.into(), i16::MAX.into());
        writer.write_sample(i16::try_from(noisy)?)?;
    }
    writer.finalize()?;
    Ok(path)
}

const RATE: u32 = 8000;
