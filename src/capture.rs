//! The UDP datagrams of a capture file, pcap or pcapng, and a writer of small pcap files.
//!
//! Bytes in, datagrams out: nothing here opens a file.
//!
//! ```text
//!  bytes ─► file::Records ─► network::Decoder ─► Datagram
//!           pcap, pcapng     Ethernet, VLAN, cooked, loopback, raw; IPv4, IPv6, fragments; UDP
//! ```

mod file;
#[doc(hidden)]
pub mod fuzz;
mod network;
mod writer;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use crate::capture::file::Records;
use crate::capture::network::Decoder;

pub use crate::capture::writer::Writer;

/// A UDP datagram and when it passed the capturing interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Since the Unix epoch, to the nanosecond if the file has it. Several interfaces in one pcapng
    /// file, or a corrected clock, may let it run backwards from one datagram to the next.
    pub time: Duration,
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it was sent to.
    pub destination: SocketAddr,
    /// What the UDP header announces, without link-layer padding. Where the capture stored less (its
    /// snap length), the rest is the silence of G.711.
    pub payload: Cow<'a, [u8]>,
}

/// Reads the datagrams of a capture file in the order of the file.
///
/// # Errors
/// When the bytes are no capture file, or one of a link type that carries no IP known here.
pub fn datagrams(bytes: &[u8]) -> Result<Datagrams<'_>, CaptureError> {
    Ok(Datagrams {
        records: Some(Records::parse(bytes)?),
        decoder: Decoder::default(),
        counters: Counters::default(),
    })
}

/// The datagrams of a capture file.
///
/// An `Err` is the last item: what stands before it is whole, what would follow it is lost.
#[derive(Debug)]
pub struct Datagrams<'a> {
    records: Option<Records<'a>>,
    decoder: Decoder,
    counters: Counters,
}

impl Datagrams<'_> {
    /// What was met so far; complete once the iterator has ended.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Result<Datagram<'a>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.as_mut()?.next() {
                Some(Ok(record)) => {
                    self.counters.records += 1;
                    match self.decoder.decode(&record, &mut self.counters) {
                        Some(datagram) => return Some(Ok(datagram)),
                        None => continue,
                    }
                }
                Some(Err(error)) => {
                    self.records = None;
                    return Some(Err(error));
                }
                None => {
                    self.records = None;
                    return None;
                }
            }
        }
    }
}

/// How many records of a capture were what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records read, of every kind.
    pub records: u64,
    /// UDP datagrams given, reassembled ones included.
    pub datagrams: u64,
    /// Not UDP over IP: ARP, TCP, ICMP and the like.
    pub not_udp: u64,
    /// Headers that contradict themselves.
    pub malformed: u64,
    /// Stored shorter than they were on the wire (the capture's snap length): given if their headers,
    /// that of RTP included, were stored.
    pub cut_short: u64,
    /// Recorded on an interface of a link type that is not read here.
    pub unsupported_link: u64,
    /// Without a time stamp (pcapng simple packet blocks): not given.
    pub untimed: u64,
    /// IP fragments met.
    pub fragments: u64,
    /// Datagrams made whole from fragments.
    pub reassembled: u64,
}

impl Counters {
    /// What should have been datagrams but could not be given, as sentences for the user.
    pub fn shortcomings(&self) -> Vec<String> {
        let sentence = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let fragments = if self.reassembled == 0 {
            self.fragments
        } else {
            0
        };
        [
            sentence(
                self.cut_short,
                "packets were stored only in part, and the rest of them is heard as silence; \
                 capture again without a snap length",
            ),
            sentence(self.malformed, "packets contradict themselves"),
            sentence(
                self.unsupported_link,
                "packets are of a link type that is not read here",
            ),
            sentence(self.untimed, "packets have no time"),
            sentence(fragments, "IP fragments never made a whole datagram"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Why a capture cannot be read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// No magic number of either format.
    #[error("not a capture file: it begins with neither the pcap nor the pcapng magic number")]
    NotACapture,
    /// The file ends inside a record: the capture was interrupted or the copy is incomplete.
    #[error("capture is truncated at byte {offset}: its last record is incomplete")]
    Truncated {
        /// Where the incomplete record begins.
        offset: usize,
    },
    /// A record that contradicts itself.
    #[error("capture is damaged at byte {offset}: the record there contradicts itself")]
    Damaged {
        /// Where the damaged record begins.
        offset: usize,
    },
    /// The link layer is none that is read here.
    #[error(
        "capture has link type {link_type}; readable are Ethernet (1), raw IP (101, 228, 229), \
         loopback (0, 108) and Linux cooked (113, 276)"
    )]
    UnsupportedLinkType {
        /// Its number in the registry of link types.
        link_type: i32,
    },
}

#[cfg(test)]
mod tests;
