//! WAV files at the telephone's rate: 8 kHz, one channel or more, 16-bit once read.

use std::io::{Read, Seek, Write};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::media::SAMPLE_RATE;

/// Reads the channels of a WAV file, each as 16-bit samples at [`SAMPLE_RATE`].
///
/// # Errors
/// When it is no linear PCM WAV file, is damaged, or has another sample rate.
pub fn read(from: impl Read) -> Result<Vec<Vec<i16>>, WavError> {
    let reader = WavReader::new(from)?;
    let spec = reader.spec();
    if spec.sample_rate != SAMPLE_RATE {
        return Err(WavError::Rate(spec.sample_rate));
    }
    let count = usize::from(spec.channels);
    let mut channels = vec![Vec::new(); count];
    let mut place = (0..count).cycle();
    let mut append = |sample| {
        if let Some(channel) = place.next() {
            channels[channel].push(sample);
        }
    };
    match spec.sample_format {
        SampleFormat::Int => {
            for sample in reader.into_samples::<i32>() {
                append(to_16_bit(sample?, spec.bits_per_sample));
            }
        }
        SampleFormat::Float => {
            for sample in reader.into_samples::<f32>() {
                append(from_float(sample?));
            }
        }
    }
    Ok(channels)
}

/// Writes one channel of 16-bit samples at [`SAMPLE_RATE`].
///
/// # Errors
/// When the destination cannot be written, or would exceed 4 GiB.
pub fn write(
    to: impl Write + Seek,
    samples: impl IntoIterator<Item = i16>,
) -> Result<(), WavError> {
    let mut writer = WavWriter::new(to, MONO)?;
    for sample in samples {
        writer.write_sample(sample)?;
    }
    Ok(writer.finalize()?)
}

/// One channel, 16-bit, [`SAMPLE_RATE`]: for those who write a file bit by bit.
pub const MONO: WavSpec = WavSpec {
    channels: 1,
    sample_rate: SAMPLE_RATE,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

/// Why a WAV file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// Another rate than the telephone's.
    #[error(
        "sample rate is {0} Hz, needed is 8000 Hz; convert it with `sox IN.wav -r 8000 -b 16 OUT.wav`"
    )]
    Rate(u32),
    /// Companded or compressed, or of a width that nobody uses.
    #[error(
        "not linear PCM of 8 to 32 bits; convert it with `sox IN.wav -e signed -b 16 -r 8000 OUT.wav`"
    )]
    Encoding,
    /// Not a WAV file, damaged, or not to be read or written.
    #[error(transparent)]
    File(hound::Error),
}

impl From<hound::Error> for WavError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "hound's other errors say it well"
    )]
    fn from(error: hound::Error) -> Self {
        match error {
            hound::Error::Unsupported
            | hound::Error::InvalidSampleFormat
            | hound::Error::TooWide => Self::Encoding,
            other => Self::File(other),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of i16"
)]
fn to_16_bit(sample: i32, bits: u16) -> i16 {
    let sample = i64::from(sample);
    let sample = match bits {
        ..16 => sample << (16 - bits),
        16.. => sample >> (bits - 16).min(32),
    };
    sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from float saturates; NaN is silence"
)]
fn from_float(sample: f32) -> i16 {
    (sample * f32::from(i16::MAX)).round() as i16
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        let mut file = Cursor::new(Vec::new());
        write(&mut file, samples).unwrap();
        assert_eq!(
            read(file.into_inner().as_slice()).unwrap(),
            [samples.to_vec()]
        );
    }

    #[test]
    fn channels_are_taken_apart() {
        let spec = WavSpec {
            channels: 2,
            ..MONO
        };
        let file = file(spec, [1_i16, -1, 2, -2]);
        assert_eq!(read(file.as_slice()).unwrap(), [vec![1, 2], vec![-1, -2]]);
    }

    #[test]
    fn other_widths_are_scaled_to_sixteen_bits() {
        let wide = |bits_per_sample| WavSpec {
            bits_per_sample,
            ..MONO
        };
        let eight = file(wide(8), [-128_i8, 127]);
        assert_eq!(read(eight.as_slice()).unwrap(), [vec![-32768, 127 << 8]]);
        let twenty_four = file(wide(24), [1_i32 << 22, -1 << 23]);
        assert_eq!(
            read(twenty_four.as_slice()).unwrap(),
            [vec![1 << 14, i16::MIN]]
        );
        let spec = WavSpec {
            sample_format: SampleFormat::Float,
            ..wide(32)
        };
        let float = file(spec, [1.0_f32, -2.0, f32::NAN]);
        assert_eq!(
            read(float.as_slice()).unwrap(),
            [vec![i16::MAX, i16::MIN, 0]]
        );
    }

    #[test]
    fn other_rate_is_refused_with_the_command_that_helps() {
        let file = file(
            WavSpec {
                sample_rate: 16_000,
                ..MONO
            },
            [0_i16],
        );
        let error = read(file.as_slice()).unwrap_err().to_string();
        assert!(
            error.contains("16000 Hz") && error.contains("sox"),
            "{error}"
        );
    }

    #[test]
    fn companded_file_is_refused_as_such() {
        let mut file = file(MONO, [0_i16]);
        file[20] = 7; // WAVE_FORMAT_MULAW
        assert!(matches!(read(file.as_slice()), Err(WavError::Encoding)));
    }

    fn file<S: hound::Sample>(spec: WavSpec, samples: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        samples
            .into_iter()
            .for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }
}
