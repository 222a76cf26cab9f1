//! What must hold for every capture file: the body of the fuzz target.

use crate::capture::{Counters, datagrams};

/// Reads a capture to its end.
///
/// # Panics
///
/// If something follows an error, or a record is not accounted for.
pub fn capture(input: &[u8]) {
    let Ok(mut items) = datagrams(input) else {
        return;
    };
    let mut given = 0;
    let mut is_over = false;
    for item in items.by_ref() {
        assert!(!is_over, "an error is the last item");
        match item {
            Ok(datagram) => {
                given += 1;
                assert!(datagram.payload.len() <= usize::from(u16::MAX));
            }
            Err(_) => is_over = true,
        }
    }
    let Counters {
        records,
        datagrams,
        not_udp,
        malformed,
        cut_short,
        unsupported_link,
        untimed,
        fragments,
        reassembled,
    } = *items.counters();
    assert_eq!(datagrams, given);
    assert!(reassembled <= fragments);
    let told = datagrams + not_udp + malformed + cut_short + unsupported_link + untimed + fragments;
    assert!(records <= told, "{:?}", items.counters());
}
