//! The two file formats: which bytes are a record, when it was taken, on which kind of link.

use std::time::Duration;

use pcap_parser::nom;
use pcap_parser::nom::IResult;
use pcap_parser::nom::bytes::streaming::take;
use pcap_parser::pcapng::Block;
use pcap_parser::{
    LegacyPcapBlock, Linktype, PcapError, PcapHeader, parse_block_be, parse_block_le,
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
    parse_sectionheaderblock,
};

use crate::capture::CaptureError;
use crate::capture::network::Link;

/// One captured packet as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Since the Unix epoch; `None` where the file has none.
    pub(super) time: Option<Duration>,
    /// How the bytes begin; `None` where that is not known here.
    pub(super) link: Option<Link>,
    /// The bytes that were stored.
    pub(super) bytes: &'a [u8],
    /// How many there were on the wire.
    pub(super) length: u32,
}

/// The records of a file, one after the other.
#[derive(Debug)]
pub(super) struct Records<'a> {
    format: Format,
    rest: &'a [u8],
    length: usize,
}

#[derive(Debug)]
enum Format {
    Pcap { header: PcapHeader, link: Link },
    PcapNg(Section),
}

/// What the blocks of a pcapng section need to be understood.
#[derive(Debug, Default)]
struct Section {
    is_big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<Link>,
    units_per_second: u64,
    offset_seconds: i64,
}

impl<'a> Records<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CaptureError> {
        let length = bytes.len();
        if bytes.starts_with(&SECTION_HEADER) {
            let format = Format::PcapNg(Section::default());
            return Ok(Self {
                format,
                rest: bytes,
                length,
            });
        }
        let (rest, header) = parse_pcap_header(bytes).map_err(|error| match error {
            nom::Err::Incomplete(_) if PCAP_MAGICS.iter().any(|m| bytes.starts_with(m)) => {
                CaptureError::Truncated { offset: 0 }
            }
            nom::Err::Incomplete(_) | nom::Err::Error(_) | nom::Err::Failure(_) => {
                CaptureError::NotACapture
            }
        })?;
        // The upper half of the field tells of a frame check sequence, not of the link.
        let link_type = header.network.0 & 0xffff;
        let link = Link::from_type(Linktype(link_type))
            .ok_or(CaptureError::UnsupportedLinkType { link_type })?;
        Ok(Self {
            format: Format::Pcap { header, link },
            rest,
            length,
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<Record<'a>, CaptureError>> {
        while !self.rest.is_empty() {
            let offset = self.length - self.rest.len();
            let result = match &mut self.format {
                Format::Pcap { header, link } => {
                    pcap_record(header, *link, self.rest).map(|(rest, record)| (rest, Some(record)))
                }
                Format::PcapNg(section) => section.block(self.rest),
            };
            match result {
                Ok((rest, record)) => {
                    self.rest = rest;
                    if let Some(record) = record {
                        return Some(Ok(record));
                    }
                }
                Err(nom::Err::Incomplete(_)) => {
                    return Some(Err(CaptureError::Truncated { offset }));
                }
                Err(nom::Err::Error(_) | nom::Err::Failure(_)) => {
                    return Some(Err(CaptureError::Damaged { offset }));
                }
            }
        }
        None
    }
}

fn pcap_record<'a>(
    header: &PcapHeader,
    link: Link,
    bytes: &'a [u8],
) -> IResult<&'a [u8], Record<'a>, PcapError<&'a [u8]>> {
    let parse = if header.is_modified_format() {
        parse_pcap_frame_modified
    } else if header.is_bigendian() {
        parse_pcap_frame_be
    } else {
        parse_pcap_frame
    };
    let (rest, block) = parse(bytes)?;
    let LegacyPcapBlock {
        ts_sec,
        ts_usec,
        caplen: _,
        origlen,
        data,
    } = block;
    let per_unit = if header.is_nanosecond_precision() {
        1
    } else {
        1_000
    };
    let fraction = Duration::from_nanos(u64::from(ts_usec) * per_unit);
    let record = Record {
        time: Some(Duration::from_secs(u64::from(ts_sec)) + fraction),
        link: Some(link),
        bytes: data,
        length: origlen,
    };
    Ok((rest, record))
}

impl Section {
    /// Reads one block; packets give a record, everything else at most changes what is known.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other blocks carry no packets"
    )]
    fn block<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> IResult<&'a [u8], Option<Record<'a>>, PcapError<&'a [u8]>> {
        if bytes.starts_with(&SECTION_HEADER) {
            let (rest, header) = parse_sectionheaderblock(bytes)?;
            *self = Self {
                is_big_endian: header.big_endian(),
                interfaces: Vec::new(),
            };
            return Ok((rest, None));
        }
        let (_, head) = take(8_usize)(bytes)?;
        let (kind, length) = head.split_at(4);
        if !READ_BLOCKS.contains(&self.number(kind)) {
            let (rest, _) = take(self.number(length).max(LEAST_BLOCK))(bytes)?;
            return Ok((rest, None));
        }
        let parse = if self.is_big_endian {
            parse_block_be
        } else {
            parse_block_le
        };
        let (rest, block) = parse(bytes)?;
        let record = match block {
            Block::InterfaceDescription(description) => {
                self.interfaces.push(Interface {
                    link: Link::from_type(description.linktype),
                    units_per_second: description.ts_resolution().unwrap_or(1_000_000),
                    offset_seconds: description.ts_offset(),
                });
                None
            }
            Block::EnhancedPacket(packet) => {
                let interface = usize::try_from(packet.if_id)
                    .ok()
                    .and_then(|id| self.interfaces.get(id));
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let stored = packet.data.len().min(packet.caplen as usize);
                Some(Record {
                    time: interface.map(|interface| interface.time(ticks)),
                    link: interface.and_then(|interface| interface.link),
                    bytes: &packet.data[..stored],
                    length: packet.origlen,
                })
            }
            Block::SimplePacket(packet) => {
                let interface = self.interfaces.first();
                let stored = packet.data.len().min(packet.origlen as usize);
                Some(Record {
                    time: None,
                    link: interface.and_then(|interface| interface.link),
                    bytes: &packet.data[..stored],
                    length: packet.origlen,
                })
            }
            _ => None,
        };
        Ok((rest, record))
    }

    fn number(&self, octets: &[u8]) -> u32 {
        let octets = octets.first_chunk().copied().unwrap_or_default();
        if self.is_big_endian {
            u32::from_be_bytes(octets)
        } else {
            u32::from_le_bytes(octets)
        }
    }
}

impl Interface {
    /// A time stamp counted in the interface's own units (pcapng §4.2, `if_tsresol`, `if_tsoffset`).
    fn time(&self, ticks: u64) -> Duration {
        let units = self.units_per_second.max(1);
        let nanoseconds = u128::from(ticks % units) * 1_000_000_000 / u128::from(units);
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
        let seconds = (ticks / units).saturating_add_signed(self.offset_seconds);
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds))
    }
}

/// The blocks that carry packets, or tell of their interfaces. Others are passed over: they may hold
/// anything, and pcap-parser 0.17 panics at a process information block that is too short.
const READ_BLOCKS: [u32; 3] = [1, 3, 6];

/// Octets of a block without content: its type, and its length twice (pcapng §3.1).
const LEAST_BLOCK: u32 = 12;

/// Block type of a section header: the same in either byte order (pcapng §4.1).
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Magic numbers of pcap: micro- and nanoseconds in both byte orders, and Kuznetzov's variant.
const PCAP_MAGICS: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x34, 0xcd, 0xb2, 0xa1],
];
