//! What the log says of parts, and how it is written.
//!
//! ```text
//!  0        1                 9             13
//! +--------+-----------------+-------------+---------
//! | kind   | ordinal, u64 LE | length, u32 | payload
//! +--------+-----------------+-------------+---------
//! ```

use crate::call::label::PartLabel;
use crate::call::part::Closed;

/// Something that happened to a part, which is named by its ordinal in the spool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It began.
    Opened(u64, Box<PartLabel>),
    /// It grew, in G.711.
    Audio(u64, Vec<u8>),
    /// It is complete.
    Closed(u64, Closed),
    /// It need not be kept any more.
    Released(u64),
}

const HEADER_BYTES: usize = 13;

impl Change {
    pub(crate) const fn ordinal(&self) -> u64 {
        match self {
            Self::Opened(ordinal, _)
            | Self::Audio(ordinal, _)
            | Self::Closed(ordinal, _)
            | Self::Released(ordinal) => *ordinal,
        }
    }

    /// Adds the record to what is to be written.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Opened(ordinal, label) => encode(to, b'O', *ordinal, &json(label)),
            Self::Audio(ordinal, g711) => encode(to, b'A', *ordinal, g711),
            Self::Closed(ordinal, closed) => encode(to, b'C', *ordinal, &json(closed)),
            Self::Released(ordinal) => encode(to, b'R', *ordinal, &[]),
        }
    }

    /// The first record, and how long it is. `None` at the end, and at what a crash cut short.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (kind, header) = header.split_first()?;
        let (ordinal, len) = header.split_first_chunk()?;
        let ordinal = u64::from_le_bytes(*ordinal);
        let len = u32::from_le_bytes(*len.first_chunk()?) as usize;
        let payload = rest.get(..len)?;
        let change = match kind {
            b'O' => Self::Opened(ordinal, serde_json::from_slice(payload).ok()?),
            b'A' => Self::Audio(ordinal, payload.to_vec()),
            b'C' => Self::Closed(ordinal, serde_json::from_slice(payload).ok()?),
            b'R' => Self::Released(ordinal),
            _ => return None,
        };
        Some((change, HEADER_BYTES + len))
    }
}

fn encode(to: &mut Vec<u8>, kind: u8, ordinal: u64, payload: &[u8]) {
    to.push(kind);
    to.extend(ordinal.to_le_bytes());
    to.extend(
        u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    to.extend(payload);
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("string keys and finite trees only")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::spool::tests::label;
    use crate::media::Samples;

    fn story() -> Vec<Change> {
        let closed = Closed {
            end: Samples(1_600),
            speech: Samples(1_440),
            last: true,
        };
        vec![
            Change::Opened(7, Box::new(label("c", 0))),
            Change::Audio(7, vec![0x55; 4_000]),
            Change::Closed(7, closed),
            Change::Released(7),
        ]
    }

    fn read(bytes: &[u8]) -> Vec<Change> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let (change, len) = Change::decode(bytes.get(at..)?)?;
            at += len;
            Some(change)
        })
        .collect()
    }

    #[test]
    fn record_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        story().iter().for_each(|change| change.encode(&mut bytes));
        assert_eq!(read(&bytes), story());
    }

    #[test]
    fn record_that_a_crash_cut_short_ends_the_log_there() {
        let mut bytes = Vec::new();
        story()[..2]
            .iter()
            .for_each(|change| change.encode(&mut bytes));
        bytes.pop();
        assert_eq!(read(&bytes), story()[..1]);
    }

    proptest! {
        #[test]
        fn whatever_is_on_the_disk_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }
    }
}
