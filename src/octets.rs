//! Bytes in a saved state, written in one go: as a sequence, which is what serde makes of them, each
//! would be a call. The form is the same.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    from.deserialize_byte_buf(Octets)
}

struct Octets;

impl<'de> Visitor<'de> for Octets {
    type Value = Vec<u8>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Vec<u8>, A::Error> {
        let mut all = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            all.push(byte);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct InOneGo(#[serde(with = "crate::octets")] Vec<u8>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OneByOne(Vec<u8>);

    #[test]
    fn form_is_that_of_a_sequence() {
        let bytes: Vec<u8> = (0..=255).collect();
        let written = postcard::to_stdvec(&InOneGo(bytes.clone())).unwrap();
        assert_eq!(
            written,
            postcard::to_stdvec(&OneByOne(bytes.clone())).unwrap()
        );
        assert_eq!(postcard::from_bytes(&written), Ok(InOneGo(bytes)));
        assert!(postcard::from_bytes::<InOneGo>(&written[..100]).is_err());
    }
}
