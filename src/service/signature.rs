//! The AK/SK signature of a request, `SDK-HMAC-SHA256`, as the service's gateway checks it.

use aws_lc_rs::{digest, hmac};

/// What is signed of a request: always a GET without a body here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The path as it stands in the request line.
    pub path: &'a str,
    /// The query, without its question mark; empty when there is none.
    pub query: &'a str,
    /// The value of `X-Sdk-Date`.
    pub date: &'a str,
    /// The signed headers in order: lower-case name and value.
    pub headers: Vec<(&'a str, &'a str)>,
}

impl Signed<'_> {
    /// The six lines that both sides agree on.
    pub fn canonical_request(&self) -> String {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let (uri, query, names) = (canonical_uri(self.path), self.query, names.join(";"));
        format!(
            "GET\n{uri}\n{query}\n{headers}\n{names}\n{}",
            sha256_hex(b"")
        )
    }

    /// The signature under a secret key, in lower-case hexadecimal.
    pub fn signature(&self, secret_key: &str) -> String {
        hex(hmac::sign(&key(secret_key), self.string_to_sign().as_bytes()).as_ref())
    }

    /// Whether a signature was made with that secret key; takes as long for a wrong one as for a
    /// right one.
    pub fn is_signed_with(&self, secret_key: &str, signature: &str) -> bool {
        let Some(signature) = from_hex(signature) else {
            return false;
        };
        hmac::verify(
            &key(secret_key),
            self.string_to_sign().as_bytes(),
            &signature,
        )
        .is_ok()
    }

    fn string_to_sign(&self) -> String {
        let request = sha256_hex(self.canonical_request().as_bytes());
        format!("SDK-HMAC-SHA256\n{}\n{request}", self.date)
    }
}

/// The path with its segments escaped, and a slash at the end whatever the request line says.
fn canonical_uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len() + 1);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/%".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    if !uri.ends_with('/') {
        uri.push('/');
    }
    uri
}

fn key(secret_key: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_bytes())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hexadecimal text; `None` when it is none.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "437bc8336f4978688d3da550104ec65dcb8e8ea34aae926e8c4b3993f2d9b1c9";

    fn signed() -> Signed<'static> {
        Signed {
            path: "/v1/0123456789abcdef0123456789abcdef/rasr/short-stream",
            query: "",
            date: "20261122T113114Z",
            headers: vec![
                ("host", "127.0.0.1:18701"),
                ("x-sdk-date", "20261122T113114Z"),
            ],
        }
    }

    #[test]
    fn the_official_sdks_signature_is_reproduced() {
        assert_eq!(signed().signature("SKEXAMPLE"), SIGNATURE);
    }

    #[test]
    fn a_signature_holds_for_its_key_and_its_request_only() {
        assert!(signed().is_signed_with("SKEXAMPLE", SIGNATURE));
        assert!(!signed().is_signed_with("another", SIGNATURE));
        assert!(
            !Signed {
                path: "/v1/p/rasr/short-stream",
                ..signed()
            }
            .is_signed_with("SKEXAMPLE", SIGNATURE)
        );
        assert!(!signed().is_signed_with("SKEXAMPLE", "no hexadecimal"));
    }
}
