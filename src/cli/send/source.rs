//! From files to streams: the channels of a WAV file, the flows of a capture.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::capture::{self, CaptureError};
use crate::cli::send::crowd::Recording;
use crate::cli::send::error::SendError;
use crate::cli::send::flow::{self, Selection};
use crate::cli::send::packetizer::{Packetizer, Profile, compand_all};
use crate::cli::send::{Packet, SendArgs, Target, print_error};
use crate::media::{Law, Samples, Ssrc};
use crate::wav;

/// A stream before its socket is opened.
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) target: SocketAddr,
    pub(super) packets: Box<dyn Iterator<Item = Packet> + Send>,
}

/// Appends the streams of a file, one for each target.
pub(super) fn add_file(
    args: &SendArgs,
    path: &Path,
    targets: &[Target],
    streams: &mut Vec<Stream>,
) -> Result<(), SendError> {
    let targets = targets
        .iter()
        .map(Target::resolve)
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = fs::read(path).map_err(|source| SendError::File {
        path: path.to_owned(),
        source,
    })?;
    if bytes.starts_with(b"RIFF") {
        add_wav(args, path, &bytes, &targets, streams)
    } else {
        add_capture(args, path, &bytes, &targets, streams)
    }
}

fn add_wav(
    args: &SendArgs,
    path: &Path,
    bytes: &[u8],
    targets: &[SocketAddr],
    streams: &mut Vec<Stream>,
) -> Result<(), SendError> {
    let channels = wav::read(bytes).map_err(|source| SendError::Wav {
        path: path.to_owned(),
        source,
    })?;
    if channels.len() != targets.len() {
        let (channels, receivers) = (channels.len(), targets.len());
        return Err(SendError::Channels {
            path: path.to_owned(),
            channels,
            receivers,
        });
    }
    for (samples, &target) in channels.iter().zip(targets) {
        let profile = profile(args, streams.len());
        let keys: Vec<_> = match streams.len() {
            0 => args
                .dtmf
                .iter()
                .flat_map(|keys| keys.0.iter().copied())
                .collect(),
            _ => Vec::new(),
        };
        let packets = Packetizer::new(profile, compand_all(profile.law, samples), &keys);
        streams.push(Stream {
            name: format!("{}, SSRC {:#010x}", path.display(), profile.ssrc.0),
            target,
            packets: Box::new(packets),
        });
    }
    Ok(())
}

fn add_capture(
    args: &SendArgs,
    path: &Path,
    bytes: &[u8],
    targets: &[SocketAddr],
    streams: &mut Vec<Stream>,
) -> Result<(), SendError> {
    let path = || path.to_owned();
    let mut datagrams = capture::datagrams(bytes).map_err(|source| {
        if source == CaptureError::NotACapture {
            SendError::UnknownKind(path())
        } else {
            SendError::Capture {
                path: path(),
                source,
            }
        }
    })?;
    let whole = datagrams.by_ref().map_while(|datagram| {
        datagram
            .inspect_err(|error| print_error(&format!("{}: {error}", path().display())))
            .ok()
    });
    let selection = Selection {
        ssrc: args.ssrc,
        port: args.port,
    };
    let flows = flow::flows(whole);
    for shortcoming in datagrams.counters().shortcomings() {
        print_error(&format!("{}: {shortcoming}", path().display()));
    }
    let flows =
        flow::select(flows, selection, targets.len()).map_err(|source| SendError::Selection {
            path: path(),
            source,
        })?;
    let names: Vec<_> = flows.iter().map(ToString::to_string).collect();
    for ((name, packets), &target) in names.iter().zip(flow::packets(flows)).zip(targets) {
        let name = format!("{}, {name},", path().display());
        streams.push(Stream {
            name,
            target,
            packets: Box::new(packets.into_iter()),
        });
    }
    Ok(())
}

/// The channels of WAV files one after the other, once in each law.
pub(super) fn in_both_laws<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
) -> Result<Vec<Recording>, SendError> {
    let mut samples = Vec::new();
    for path in files {
        let file = |source| SendError::File {
            path: path.clone(),
            source,
        };
        let bytes = fs::read(path).map_err(file)?;
        let wav = |source| SendError::Wav {
            path: path.clone(),
            source,
        };
        samples.extend(wav::read(&bytes[..]).map_err(wav)?.concat());
    }
    let in_law = |law| Recording {
        law,
        g711: compand_all(law, &samples),
    };
    Ok(vec![in_law(Law::Pcmu), in_law(Law::Pcma)])
}

/// What the stream of this ordinal looks like; what the user left open is random (RFC 3550 §5.1).
#[expect(clippy::cast_possible_truncation, reason = "random bits are to spare")]
pub(super) fn profile(args: &SendArgs, ordinal: usize) -> Profile {
    let law = Law::from(args.law);
    Profile {
        law,
        payload_type: args.payload_type.unwrap_or(match law {
            Law::Pcmu => 0,
            Law::Pcma => 8,
        }),
        event_payload_type: args.dtmf_payload_type,
        packet_time: Samples::from_ms(args.ptime),
        ssrc: Ssrc(
            args.ssrc
                .map_or_else(|| random() as u32, |ssrc| ssrc.wrapping_add(ordinal as u32)),
        ),
        sequence_number: args.seq.unwrap_or_else(|| random() as u16),
        timestamp: args.timestamp.unwrap_or_else(|| random() as u32),
    }
}

/// Sixty-four bits of the seed that the standard library takes from the system.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
