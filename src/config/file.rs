//! The tables of the configuration file. Units are in the names of the keys; `conf/callscribe.toml` shows each with its
//! default, and `docs/config.md` says what gets worse in either direction.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

use crate::asr::session::AudioFormat;
use crate::config::speech::Speech;
use crate::config::value::{LogFormat, Milliseconds, PortRange, SocketMode};
use crate::event::Role;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct File {
    /// `[rtp]`: what is received, from whom.
    pub rtp: Rtp,
    /// `[speech]`: what is an utterance.
    pub speech: Speech,
    /// `[asr]`: who recognises it.
    pub asr: Asr,
    /// `[events]`: where the lines go.
    pub events: Events,
    /// `[journal]`: what is kept of them.
    pub journal: Journal,
    /// `[control]`: who may announce calls.
    pub control: Control,
    /// `[spool]`: audio that waits for its text.
    pub spool: Spool,
    /// `[resume]`: calls that go on after a restart.
    pub resume: Resume,
    /// `[overload]`: what is shed when there is too much to do.
    pub overload: Overload,
    /// `[log]`: what the daemon says of itself.
    pub log: Log,
    /// `[[line]]`: fixed ports with fixed roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub line: Vec<Line>,
}

/// `[rtp]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rtp {
    /// Address to receive on.
    pub bind_address: IpAddr,
    /// Ports to receive on.
    pub port_range: PortRange,
    /// Networks that may send; a datagram from elsewhere is counted and dropped.
    pub allowed_sources: Vec<IpNet>,
    /// Whether a sender on a port that nobody registered begins a call of its own.
    pub unregistered_calls: bool,
    /// Address that senders are told to send to; worked out if absent.
    pub advertise_address: Option<IpAddr>,
    /// How long a hole in the sequence waits for its packet.
    pub reorder_wait_ms: Milliseconds<0, 1_000>,
    /// Whether lost audio is concealed (after ITU-T G.711 Appendix I) or heard as silence.
    pub conceal_loss: bool,
    /// Whether senders get RTCP receiver reports.
    pub receiver_reports: bool,
    /// Whether RTCP comes to the port of its RTP (RFC 5761), so that only even ports are received on.
    pub rtcp_mux: bool,
    /// A call that nobody registered ends after so long without a packet.
    pub idle_timeout_ms: Milliseconds<1_000, 86_400_000>,
    /// A registered call ends after so long without a packet.
    pub registered_idle_timeout_ms: Milliseconds<1_000, 604_800_000>,
    /// How often the sockets are read.
    pub tick_ms: Milliseconds<1, 100>,
    /// Threads that receive; 0 for one a core.
    pub workers: u16,
    /// Kernel buffer of each socket, in bytes; 0 leaves the system's default.
    pub receive_buffer_bytes: usize,
    /// RTP payload types and what they carry.
    pub payload_types: PayloadTypes,
}

/// `rtp.payload-types`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PayloadTypes {
    /// G.711 µ-law.
    pub pcmu: Vec<u8>,
    /// G.711 A-law.
    pub pcma: Vec<u8>,
    /// Telephone events (RFC 4733).
    pub telephone_event: Vec<u8>,
    /// Comfort noise (RFC 3389).
    pub comfort_noise: Vec<u8>,
}

/// `[asr]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Asr {
    /// The recogniser's name in the lines.
    pub provider: String,
    /// `ws://` or `wss://`, host and port.
    pub endpoint: String,
    /// The project of the account, part of the URI.
    pub project_id: String,
    /// The language model.
    pub property: String,
    /// How audio is sent.
    pub audio_format: AudioFormat,
    /// Value of `X-Auth-Token`.
    #[serde(serialize_with = "masked")]
    pub token: Option<SecretString>,
    /// File with the value of `X-Auth-Token`, read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Access key, in place of a token: it signs each handshake.
    pub access_key: Option<String>,
    /// File with the secret of the access key.
    pub secret_key_file: Option<PathBuf>,
    /// File with the security token of a temporary access key.
    pub security_token_file: Option<PathBuf>,
    /// PEM file of the authorities that the recogniser's certificate may come from; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// Audio in one message.
    pub fragment_ms: Milliseconds<20, 2_000>,
    /// Punctuation in the text.
    pub add_punctuation: bool,
    /// Spoken numbers as digits.
    pub digit_norm: bool,
    /// Lines with what has been understood so far.
    pub interim_results: bool,
    /// Word timings.
    pub word_info: bool,
    /// Id of a hot-word table of the account.
    pub vocabulary_id: Option<String>,
    /// Time for DNS, TCP, TLS and handshake together.
    pub connect_timeout_ms: Milliseconds<100, 60_000>,
    /// Time for the service to answer END with the final text.
    pub answer_timeout_ms: Milliseconds<1_000, 120_000>,
    /// Sessions that a part may take before it is given up.
    pub attempts: u8,
    /// For how long after its last word a part is tried before it is given up.
    pub give_up_after_ms: Milliseconds<1_000, 3_600_000>,
    /// Sessions at one time, over all workers.
    pub max_sessions: u32,
    /// How long a complete part may wait for a session before it is given up.
    pub queue_wait_ms: Milliseconds<0, 3_600_000>,
    /// How long a connection is kept for the next part; 0 opens a new one for each.
    pub keep_connection_ms: Milliseconds<0, 15_000>,
    /// `http://HOST:PORT` of a proxy that makes tunnels (HTTP CONNECT).
    pub proxy: Option<String>,
    /// File with `user:password` for the proxy.
    pub proxy_credentials_file: Option<PathBuf>,
    /// `[asr.iam]`: a user for whom tokens are fetched, in place of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iam: Option<Iam>,
}

/// `[asr.iam]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Iam {
    /// `https://` and host of the identity service, in the region of the project.
    pub endpoint: String,
    /// Name of the account.
    pub domain: String,
    /// Name of the user.
    pub user: String,
    /// File with the user's password.
    pub password_file: PathBuf,
    /// Name of the project: the region, such as `cn-north-4`.
    pub project: String,
}

/// `[events]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Events {
    /// Unix socket that readers connect to.
    pub socket: PathBuf,
    /// Its permissions.
    pub socket_mode: SocketMode,
    /// Its group, a name or a number; the daemon's if absent.
    pub socket_group: Option<String>,
    /// Newest lines kept in memory.
    pub backlog_lines: usize,
    /// Readers at once.
    pub max_readers: usize,
}

/// `[journal]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Journal {
    /// Whether lines are kept on disk.
    pub enabled: bool,
    /// The database; `journal.db` in the service manager's state directory if absent.
    pub path: Option<PathBuf>,
    /// Lines that are older are forgotten.
    pub max_age_days: u32,
    /// The oldest lines are forgotten when they take more.
    pub max_bytes: u64,
}

/// `[control]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Control {
    /// Unix socket of the control API; `control.sock` beside `events.socket` if absent.
    pub socket: Option<PathBuf>,
    /// Its permissions.
    pub socket_mode: SocketMode,
    /// Its group, a name or a number; the daemon's if absent.
    pub socket_group: Option<String>,
    /// TCP address of the control API and the live page, besides; on loopback, unless there is a password file.
    pub listen: Option<SocketAddr>,
    /// File of `htpasswd -B` with those who may use `listen`.
    pub password_file: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,callscribe::media=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// `[[line]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Line {
    /// Begins the id of each of its calls.
    pub name: String,
    /// Its legs, in the order of their channel numbers.
    pub legs: Vec<LineLeg>,
}

/// `line.legs`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LineLeg {
    /// The port, in `rtp.port-range`.
    pub port: u16,
    /// Whose voice it carries.
    pub role: Option<Role>,
}

impl Default for Rtp {
    fn default() -> Self {
        Self {
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port_range: PortRange::new(20_000, 20_999),
            allowed_sources: private_networks(),
            unregistered_calls: false,
            advertise_address: None,
            reorder_wait_ms: Milliseconds::new(100),
            conceal_loss: true,
            receiver_reports: false,
            rtcp_mux: false,
            idle_timeout_ms: Milliseconds::new(60_000),
            registered_idle_timeout_ms: Milliseconds::new(14_400_000),
            tick_ms: Milliseconds::new(20),
            workers: 0,
            receive_buffer_bytes: 0,
            payload_types: PayloadTypes::default(),
        }
    }
}

impl Default for PayloadTypes {
    fn default() -> Self {
        Self {
            pcmu: vec![0],
            pcma: vec![8],
            telephone_event: vec![101],
            comfort_noise: vec![13, 19],
        }
    }
}

impl Default for Asr {
    fn default() -> Self {
        Self {
            provider: "huawei-sis".to_owned(),
            endpoint: "ws://127.0.0.1:9020".to_owned(),
            project_id: "local".to_owned(),
            property: "chinese_8k_common".to_owned(),
            audio_format: AudioFormat::Pcm8k16bit,
            token: None,
            token_file: None,
            access_key: None,
            secret_key_file: None,
            security_token_file: None,
            ca_file: None,
            fragment_ms: Milliseconds::new(500),
            add_punctuation: true,
            digit_norm: true,
            interim_results: false,
            word_info: false,
            vocabulary_id: None,
            connect_timeout_ms: Milliseconds::new(5_000),
            answer_timeout_ms: Milliseconds::new(30_000),
            attempts: 8,
            give_up_after_ms: Milliseconds::new(60_000),
            max_sessions: 1_000,
            queue_wait_ms: Milliseconds::new(20_000),
            keep_connection_ms: Milliseconds::new(5_000),
            proxy: None,
            proxy_credentials_file: None,
            iam: None,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/callscribe/events.sock"),
            socket_mode: SocketMode(0o660),
            socket_group: None,
            backlog_lines: 10_000,
            max_readers: 100,
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
            max_age_days: 30,
            max_bytes: 2 << 30,
        }
    }
}

/// `[spool]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Spool {
    /// Whether audio is kept on disk until its text is out.
    pub enabled: bool,
    /// Its folder; `spool` in `$STATE_DIRECTORY` if absent, and without that beside the journal.
    pub directory: Option<PathBuf>,
    /// Bytes on disk; the oldest part is given up for a new one.
    pub max_bytes: u64,
    /// How long a part waits for the recogniser.
    pub max_age_hours: u32,
    /// Sessions at one time for what waited.
    pub max_sessions: u32,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: None,
            max_bytes: 4 << 30,
            max_age_hours: 24,
            max_sessions: 20,
        }
    }
}

/// `[resume]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Resume {
    /// Whether calls go on after a restart.
    pub enabled: bool,
    /// Where the state of the live calls is kept; `calls` in `$STATE_DIRECTORY` if absent, and without that in
    /// `spool.directory`, or beside the journal.
    pub directory: Option<PathBuf>,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: None,
        }
    }
}

/// `[overload]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Overload {
    /// From this load of a media worker on it takes no new call.
    pub refuse_calls_percent: u32,
    /// From this load on what is said is kept in the spool and recognised later.
    pub defer_speech_percent: u32,
    /// Ticks that begin so late on average are a load of 100 %.
    pub tick_lag_ms: Milliseconds<10, 2_000>,
    /// Legs at one time; 0 for any number.
    pub max_legs: u32,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            refuse_calls_percent: 85,
            defer_speech_percent: 95,
            tick_lag_ms: Milliseconds::new(500),
            max_legs: 0,
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: None,
            socket_mode: SocketMode(0o660),
            socket_group: None,
            listen: None,
            password_file: None,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Loopback and the networks of RFC 1918 and RFC 4193: a port open to the world hears anybody.
fn private_networks() -> Vec<IpNet> {
    [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    ]
    .map(|network| network.parse().expect("each is a network"))
    .to_vec()
}

/// Shows that there is a secret, and nothing of it.
fn masked<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "********").serialize(to)
}
