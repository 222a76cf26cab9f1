//! What must hold for every answer of a recogniser: the bodies of the fuzz targets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::asr::failure::Failure;
use crate::asr::message::{ClientMessage, ParseError, ServerMessage};
use crate::asr::session::{Output, Session, Settings};

/// Reads a text message of the service and of a client.
///
/// # Panics
///
/// If a message is not the same once it was written and read again.
pub fn messages(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(said) = ServerMessage::parse(&text)
        && !matches!(said, ServerMessage::Unknown { .. })
    {
        assert_eq!(same(ServerMessage::parse(&said.to_json())), said);
    }
    if let Ok(said) = ClientMessage::parse(&text) {
        assert_eq!(same(ClientMessage::parse(&said.to_json())), said);
    }
}

fn same<M>(read: Result<M, ParseError>) -> M {
    read.unwrap_or_else(|error| panic!("what we write can be read: {error}"))
}

/// Runs a session against a peer that says a line at a time. `+N` is more audio, `-N` the last of it,
/// `!` that what was written is taken, `@N` that time passes; N is one octet.
///
/// # Panics
///
/// If the session ends twice or never, or sends a sample twice or never before another.
pub fn session(input: &[u8], epoch: Instant) {
    let (mut now, mut len, mut is_closed) = (epoch, 0, false);
    let mut session = Session::new(Arc::new(Settings::default()), now);
    let (mut ends, mut sent) = (0, 0);
    for line in input.split(|octet| *octet == b'\n') {
        match *line {
            [b'+' | b'-', more] if !is_closed => {
                len += usize::from(more) * 160;
                is_closed = line[0] == b'-';
                session.handle_audio(len, is_closed, now);
            }
            [b'!'] => session.handle_writable(now),
            [b'@', tenths] => {
                now += Duration::from_millis(100) * u32::from(tenths);
                session.handle_timeout(now);
            }
            _ => session.handle_text(&String::from_utf8_lossy(line), now),
        }
        drain(&mut session, &mut ends, &mut sent);
        assert!(sent <= len, "{sent} of {len} samples are sent");
    }
    session.handle_disconnect(Failure::TooLong);
    drain(&mut session, &mut ends, &mut sent);
    assert_eq!(ends, 1, "a session ends once");
}

fn drain(session: &mut Session, ends: &mut u32, sent: &mut usize) {
    while let Some(output) = session.poll_output() {
        match output {
            Output::SendAudio(fragment) => {
                assert_eq!(fragment.samples.start, *sent, "audio is sent in order");
                *sent = fragment.samples.end;
            }
            Output::Finished(_) | Output::Failed(_) => *ends += 1,
            Output::Send(_) | Output::Ping | Output::Interim(_) => {}
        }
    }
}
