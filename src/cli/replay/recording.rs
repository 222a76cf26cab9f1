//! What each leg heard, as a WAV file on the call clock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use hound::WavWriter;

use crate::cli::replay::ReplayError;
use crate::media::{FRAME_SAMPLES, Frame, Samples, g711};
use crate::wav::{MONO, WavError};

/// One file a leg, in one folder.
pub(super) struct Recording {
    folder: PathBuf,
    files: BTreeMap<String, Track>,
}

struct Track {
    writer: WavWriter<BufWriter<File>>,
    end: Samples,
}

impl Recording {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            files: BTreeMap::new(),
        }
    }

    /// Adds a frame in its place; what lies between it and the one before is silence.
    pub(super) fn write(
        &mut self,
        call_id: &str,
        channel: u8,
        frame: &Frame,
    ) -> Result<(), ReplayError> {
        let name = format!("{}-{channel}.wav", call_id.replace('/', "_"));
        let path = self.folder.join(&name);
        let wav_error = |source| ReplayError::Wav {
            path: path.clone(),
            source,
        };
        if !self.files.contains_key(&name) {
            std::fs::create_dir_all(&self.folder)
                .map_err(|error| wav_error(WavError::from(hound::Error::IoError(error))))?;
            let writer = WavWriter::create(&path, MONO).map_err(|e| wav_error(e.into()))?;
            self.files.insert(
                name.clone(),
                Track {
                    writer,
                    end: Samples::ZERO,
                },
            );
        }
        let Some(track) = self.files.get_mut(&name) else {
            return Ok(());
        };
        track.append(frame).map_err(|error| wav_error(error.into()))
    }

    /// Completes the headers.
    pub(super) fn finish(self) -> Result<(), ReplayError> {
        for (name, track) in self.files {
            let path = self.folder.join(name);
            track.writer.finalize().map_err(|e| ReplayError::Wav {
                path,
                source: e.into(),
            })?;
        }
        Ok(())
    }
}

impl Track {
    fn append(&mut self, frame: &Frame) -> Result<(), hound::Error> {
        for _ in self.end.0..frame.start.0 {
            self.writer.write_sample(0_i16)?;
        }
        let mut pcm = [0; FRAME_SAMPLES];
        g711::decode(frame.law, frame.bytes(), &mut pcm);
        for &sample in &pcm[..frame.bytes().len()] {
            self.writer.write_sample(sample)?;
        }
        self.end = frame.end();
        Ok(())
    }
}
