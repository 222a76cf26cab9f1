//! `callscribe send`: plays WAV files or captures as RTP.

pub mod crowd;
pub mod dtmf;
pub mod error;
pub mod flow;
pub mod packetizer;
pub mod pump;
mod source;

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::send::crowd::Crowd;
use crate::cli::send::dtmf::Keys;
use crate::cli::send::error::SendError;
use crate::cli::send::packetizer::MAX_PACKET_TIME_MS;
use crate::cli::send::pump::{Outlet, Sent, pump};
use crate::cli::send::source::{Stream, add_file};
use crate::media::{Law, Samples};

/// A datagram and when it is due, from the start of the sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When to send it at normal speed.
    pub due: Duration,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

/// Send a WAV file or the RTP of a capture to a receiver.
///
/// A WAV file must be linear PCM at 8 kHz; one with two channels goes to two receivers. A capture
/// (pcap or pcapng) is sent again packet by packet with its own timing.
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// WAV, pcap or pcapng file
    #[arg(required_unless_present = "leg", requires = "to")]
    pub file: Option<PathBuf>,
    /// Receiver; once for each channel of the WAV file or flow of the capture, in their order
    #[arg(long, value_name = "HOST:PORT", requires = "file")]
    pub to: Vec<Target>,
    /// Another file and its receiver, sent on the same clock; may be repeated
    #[arg(long, value_name = "FILE@HOST:PORT")]
    pub leg: Vec<Leg>,
    /// Law of the audio
    #[arg(long, value_enum, default_value_t = LawName::Pcmu)]
    pub law: LawName,
    /// Audio in one packet, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=MAX_PACKET_TIME_MS))]
    pub ptime: u64,
    /// First sequence number [default: random]
    #[arg(long)]
    pub seq: Option<u16>,
    /// First RTP timestamp [default: random]
    #[arg(long, value_parser = parse_u32)]
    pub timestamp: Option<u32>,
    /// SSRC of the first WAV stream, counted up for the others [default: random]; of a capture, the
    /// stream to send
    #[arg(long, value_parser = parse_u32)]
    pub ssrc: Option<u32>,
    /// Of a capture, send what went to this port
    #[arg(long)]
    pub port: Option<u16>,
    /// RTP payload type of the audio [default: 0 for PCMU, 8 for PCMA]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..128))]
    pub payload_type: Option<u8>,
    /// Press telephone keys on the first stream (RFC 4733), e.g. 12#@3.5 from 3.5 s on
    #[arg(long, value_name = "DIGITS@SECONDS")]
    pub dtmf: Vec<Keys>,
    /// RTP payload type of the telephone keys
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u8).range(..128))]
    pub dtmf_payload_type: u8,
    /// Pace: 1 is real time, 2 twice as fast, 0 without waiting
    #[arg(long, default_value_t = 1.0, value_parser = parse_speed)]
    pub speed: f64,
    /// UDP port to send from, for the first stream; each further one uses the next even port
    #[arg(long)]
    pub source_port: Option<u16>,
    /// Send so many streams in real time: the receiver's port, and each even port after it, gets one.
    /// Each has a port of its own and plays the WAV file in a loop from a place of its own; every
    /// other one is A-law
    #[arg(long, value_name = "N", requires = "file", conflicts_with_all = ["leg", "dtmf", "speed", "port", "source_port", "law", "payload_type"],
          value_parser = clap::value_parser!(u16).range(1..=30_000))]
    pub streams: Option<u16>,
    /// Of many streams, for how long each sends, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "streams"
    )]
    pub seconds: u64,
}

/// Sends, and prints what was sent.
pub fn run(args: &SendArgs) -> ExitCode {
    match send(args) {
        Ok(report) => {
            report.iter().for_each(|line| print_line(line));
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A receiver as the user names it; it is looked up when sending starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
        match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() => Ok(Self(text.to_owned())),
            _ => Err("expected HOST:PORT with a port of 1 to 65535"),
        }
    }
}

impl Target {
    /// The address; of a name with both kinds the IPv4 one, which is where PBXs listen.
    fn resolve(&self) -> Result<SocketAddr, SendError> {
        let unknown = |source| SendError::UnknownHost {
            target: self.0.clone(),
            source,
        };
        let addresses: Vec<_> = self.0.to_socket_addrs().map_err(unknown)?.collect();
        let ipv4 = addresses.iter().find(|address| address.is_ipv4());
        ipv4.or(addresses.first())
            .copied()
            .ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))
    }
}

/// A file and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    file: PathBuf,
    target: Target,
}

impl FromStr for Leg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (file, target) = text.rsplit_once('@').ok_or("expected FILE@HOST:PORT")?;
        Ok(Self {
            file: file.into(),
            target: target.parse()?,
        })
    }
}

/// The law by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LawName {
    /// µ-law
    Pcmu,
    /// A-law
    Pcma,
}

impl From<LawName> for Law {
    fn from(name: LawName) -> Self {
        match name {
            LawName::Pcmu => Self::Pcmu,
            LawName::Pcma => Self::Pcma,
        }
    }
}

fn send(args: &SendArgs) -> Result<Vec<String>, SendError> {
    if let Some(streams) = args.streams {
        return send_crowd(args, streams);
    }
    let mut streams = Vec::new();
    if let Some(file) = &args.file {
        add_file(args, file, &args.to, &mut streams)?;
    }
    for leg in &args.leg {
        add_file(
            args,
            &leg.file,
            std::slice::from_ref(&leg.target),
            &mut streams,
        )?;
    }
    let mut outlets = Vec::new();
    let mut names = Vec::new();
    for (
        i,
        Stream {
            name,
            target,
            packets,
        },
    ) in (0..).zip(streams)
    {
        let source_port = args
            .source_port
            .map_or(0, |first: u16| first.saturating_add(2 * i));
        let socket_error = |source| SendError::Socket {
            target,
            source_port,
            source,
        };
        outlets.push(Outlet::open(target, source_port, packets).map_err(socket_error)?);
        names.push(format!("{name} to {target}"));
    }
    let sent = pump(outlets, args.speed).map_err(SendError::Interrupted)?;
    Ok(names
        .iter()
        .zip(&sent)
        .map(|(name, sent)| report(name, sent))
        .collect())
}

fn send_crowd(args: &SendArgs, streams: u16) -> Result<Vec<String>, SendError> {
    let [to] = &args.to[..] else {
        return Err(SendError::CrowdTarget(args.to.len()));
    };
    let crowd = Crowd {
        recordings: source::in_both_laws(args.file.iter())?,
        first: to.resolve()?,
        streams,
        packet_time: Samples::from_ms(args.ptime),
        length: Duration::from_secs(args.seconds),
        seed: source::random(),
    };
    let sent = crowd::send(&crowd)?;
    Ok(vec![report(
        &format!("{streams} streams from {} on", crowd.first),
        &sent,
    )])
}

fn report(name: &str, sent: &Sent) -> String {
    let Sent {
        packets,
        bytes,
        refused,
        worst_delay,
    } = sent;
    let mut line = format!("{name}: {packets} packets, {bytes} bytes");
    if !worst_delay.is_zero() {
        let delay = worst_delay.as_secs_f64() * 1000.0;
        line += &format!(", at worst {delay:.1} ms behind time");
    }
    if *refused > 0 {
        line += &format!("; {refused} were refused: nobody listens on that port");
    }
    line
}

fn parse_u32(text: &str) -> Result<u32, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn parse_speed(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(speed) if (0.0..=10_000.0).contains(&speed) => Ok(speed),
        _ => Err("expected a number from 0 to 10000"),
    }
}

/// Shows a line; that nobody reads it any more is no failure of the sending.
fn print_line(line: &str) {
    writeln!(io::stdout(), "{line}").unwrap_or_default();
}

#[expect(
    clippy::print_stderr,
    reason = "a command's errors go to standard error"
)]
fn print_error(error: &dyn std::fmt::Display) {
    eprintln!("callscribe send: {error}");
}

#[cfg(test)]
mod tests;
