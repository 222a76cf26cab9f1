//! The bodies of the fuzz targets in `tests/fuzz`, which a stable test runs over their corpora.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::receiver::{ExpectedSource, Output, Receiver, Settings};
use crate::media::rtcp;
use crate::media::{CallClock, Samples};

/// Feeds a leg with datagrams: each is preceded by its delay in units of 5 ms, its sender and its
/// length.
///
/// # Panics
///
/// If the outputs do not tile the call clock, or a datagram is not counted exactly once.
pub fn datagrams(mut input: &[u8], epoch: Instant) {
    let mut receiver = Receiver::new(Arc::new(Settings::default()), ExpectedSource::Any);
    let mut clock = CallClock::default();
    let mut now = epoch;
    let mut end = None;
    let mut count = 0;
    while let [delay, sender, len, rest @ ..] = input {
        let (datagram, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        input = rest;
        now += Duration::from_millis(u64::from(*delay) * 5);
        let source = SocketAddr::from(([127, 0, 0, 1], u16::from(sender % 4)));
        if receiver.poll_timeout().is_some_and(|due| due <= now) {
            receiver.handle_timeout(now);
        }
        if sender & 0x80 == 0 {
            receiver.handle_datagram(source, datagram, &mut clock, now);
        } else {
            receiver.handle_rtcp(source, datagram, now);
        }
        count += 1;
        check_tiles(&mut receiver, &mut end);
    }
    receiver.handle_end(now);
    check_tiles(&mut receiver, &mut end);
    let statistics = receiver.statistics();
    assert_eq!(statistics.counters.total(), count, "{statistics:?}");
}

/// Reads a compound RTCP packet.
///
/// # Panics
///
/// If more reports are found than there is room for.
pub fn compound(input: &[u8]) {
    assert!(rtcp::reports(input).count() <= input.len() / 4);
}

fn check_tiles(receiver: &mut Receiver, end: &mut Option<Samples>) {
    while let Some(output) = receiver.poll_output() {
        let (start, after) = match output {
            Output::Started { start, .. } => (start, start),
            Output::Frame(frame) => {
                assert!(frame.lost <= frame.len && frame.len > 0, "{frame:?}");
                (frame.start, frame.end())
            }
            Output::Silence { start, len } => (start, start + len),
            Output::Dtmf { .. } | Output::Health { .. } | Output::Bye => continue,
        };
        assert!(end.is_none_or(|end| end == start), "{end:?} {start:?}");
        *end = Some(after);
    }
}
