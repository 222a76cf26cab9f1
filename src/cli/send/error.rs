//! Why sending failed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::capture::CaptureError;
use crate::cli::exit;
use crate::cli::send::crowd::CrowdError;
use crate::cli::send::flow::SelectionError;
use crate::wav::WavError;

/// Why nothing, or not everything, was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is neither a WAV file nor a capture.
    #[error("{}: neither a WAV file nor a pcap or pcapng capture", .0.display())]
    UnknownKind(PathBuf),
    /// The WAV file cannot be used.
    #[error("{}: {source}", path.display())]
    Wav {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: WavError,
    },
    /// The WAV file has more or fewer channels than there are receivers.
    #[error("{}: {channels} channels but {receivers} receivers; give one --to for each channel", path.display())]
    Channels {
        /// Its path.
        path: PathBuf,
        /// How many it has.
        channels: usize,
        /// How many receivers were named.
        receivers: usize,
    },
    /// The capture cannot be read.
    #[error("{}: {source}", path.display())]
    Capture {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: CaptureError,
    },
    /// It is not clear what of the capture to send.
    #[error("{}: {source}", path.display())]
    Selection {
        /// Its path.
        path: PathBuf,
        /// What there is to choose from.
        source: SelectionError,
    },
    /// The receiver's name has no address.
    #[error("{target}: {source}")]
    UnknownHost {
        /// As the user named it.
        target: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket cannot be opened.
    #[error("cannot send to {target} from port {source_port}: {source}")]
    Socket {
        /// The receiver.
        target: SocketAddr,
        /// 0 if the system was to choose.
        source_port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// Many streams have one first port.
    #[error("--streams needs one --to, for the first stream, not {0}")]
    CrowdTarget(usize),
    /// Many streams cannot be sent.
    #[error(transparent)]
    Crowd(#[from] CrowdError),
    /// A socket failed midway.
    #[error("sending stopped: {0}")]
    Interrupted(io::Error),
}

impl SendError {
    /// The exit code that tells it (`sysexits.h`).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::File { .. } => exit::NO_INPUT,
            Self::UnknownKind(_) | Self::Wav { .. } | Self::Capture { .. } => exit::DATA_ERROR,
            Self::Channels { .. }
            | Self::Selection { .. }
            | Self::CrowdTarget(_)
            | Self::Crowd(CrowdError::Ports { .. }) => exit::USAGE,
            Self::Crowd(CrowdError::Empty) => exit::DATA_ERROR,
            Self::Crowd(CrowdError::Interrupted(_)) => exit::IO_ERROR,
            Self::Crowd(CrowdError::Socket { .. }) => exit::OS_ERROR,
            Self::UnknownHost { .. } => exit::NO_HOST,
            Self::Socket { .. } => exit::OS_ERROR,
            Self::Interrupted(_) => exit::IO_ERROR,
        }
    }
}
