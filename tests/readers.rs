//! Readers of the events socket: greeting, resuming, falling behind, and what stands in the socket's place.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use callscribe::config::SocketMode;
use callscribe::config::file::Events;
use callscribe::event::{Body, Event};
use callscribe::io::publisher::{self, Publisher, PublisherThread};
use callscribe::io::unix_socket::SocketError;
use serde_json::Value;

struct Fixture {
    publisher: Publisher,
    thread: PublisherThread,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn start(backlog_lines: usize) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.sock");
    let (publisher, thread) = publisher::start(&config(&path, backlog_lines), None, None).unwrap();
    Fixture {
        publisher,
        thread,
        path,
        _folder: folder,
    }
}

fn config(socket: &Path, backlog_lines: usize) -> Events {
    let socket_mode = SocketMode(0o640);
    Events {
        socket: socket.to_owned(),
        socket_mode,
        backlog_lines,
        ..Events::default()
    }
}

fn dtmf(number: u64) -> Event {
    let body = Body::Dtmf {
        channel: 0,
        digit: '5',
        start_ms: number,
        duration_ms: 100,
    };
    Event {
        at: jiff::Timestamp::UNIX_EPOCH,
        call_id: Some("c".into()),
        body,
    }
}

fn connect(path: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    BufReader::new(stream)
}

/// A reader that gets every line from now on.
fn greeted(path: &Path) -> BufReader<UnixStream> {
    let mut reader = connect(path);
    assert_eq!(read(&mut reader)["event"], "hello");
    reader
}

fn read(reader: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Reads numbered lines until `count` of them have come, and gives their numbers.
fn read_numbers(reader: &mut BufReader<UnixStream>, count: usize) -> Vec<u64> {
    let lines = std::iter::repeat_with(|| read(reader)).filter(|line| line["event"] != "heartbeat");
    lines
        .filter_map(|line| line["seq"].as_u64())
        .take(count)
        .collect()
}

#[test]
fn reader_is_greeted_and_follows_without_a_hole() {
    let fixture = start(1000);
    let mut reader = connect(&fixture.path);
    let hello = read(&mut reader);
    assert_eq!(
        (&hello["event"], &hello["daemon"]),
        (&"hello".into(), &"callscribe".into())
    );
    assert_eq!((&hello["next_seq"], hello.get("seq")), (&0.into(), None));

    (0..500).for_each(|number| fixture.publisher.publish(dtmf(number)));
    let numbers = read_numbers(&mut reader, 500);
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
}

#[test]
fn reader_resumes_where_it_was_without_hole_or_repeat() {
    let fixture = start(1000);
    let mut first = greeted(&fixture.path);
    (0..50).for_each(|number| fixture.publisher.publish(dtmf(number)));
    assert_eq!(read_numbers(&mut first, 50).last(), Some(&49));

    for (request, oldest) in [
        ("{\"resume_from\": 20}\n", 20),
        ("{\"resume_from\": \"oldest\"}\n", 0),
    ] {
        let mut reader = connect(&fixture.path);
        reader.get_mut().write_all(request.as_bytes()).unwrap();
        let expected: Vec<u64> = (oldest..50).collect();
        assert_eq!(read_numbers(&mut reader, expected.len()), expected);
    }
}

#[test]
fn resuming_from_a_line_that_is_gone_is_told_and_goes_on_with_the_oldest() {
    let fixture = start(100);
    (0..250).for_each(|number| fixture.publisher.publish(dtmf(number)));
    let is_all_published = || read(&mut connect(&fixture.path))["next_seq"] == 250;
    while !is_all_published() {}

    let mut reader = connect(&fixture.path);
    reader
        .get_mut()
        .write_all(b"{\"resume_from\": 5}\n")
        .unwrap();
    let hello = read(&mut reader);
    let error = read(&mut reader);
    assert_eq!(error["code"], "truncated", "{hello} {error}");
    let oldest = error["resume_from"].as_u64().unwrap();
    assert_eq!(read_numbers(&mut reader, 1), [oldest]);
}

#[test]
fn bad_request_is_answered_and_the_live_lines_follow() {
    let fixture = start(100);
    let mut reader = connect(&fixture.path);
    reader.get_mut().write_all(b"{\"resume\": 5}\n").unwrap();
    assert_eq!(read(&mut reader)["event"], "hello");
    assert_eq!(read(&mut reader)["code"], "bad_request");
    fixture.publisher.publish(dtmf(0));
    assert_eq!(read_numbers(&mut reader, 1), [0]);
}

#[test]
fn reader_that_stops_is_closed_with_its_place_and_others_get_everything() {
    const LINES: u64 = 60_000;
    let fixture = start(1000);
    let mut slow = greeted(&fixture.path);
    let mut brisk = greeted(&fixture.path);
    // The brisk one is never behind by more than it can catch up with, the slow one reads nothing.
    for batch in 0..LINES / 500 {
        let numbers: Vec<u64> = (batch * 500..(batch + 1) * 500).collect();
        numbers
            .iter()
            .for_each(|&number| fixture.publisher.publish(dtmf(number)));
        assert_eq!(read_numbers(&mut brisk, numbers.len()), numbers);
    }

    let mut rest = String::new();
    // The daemon closes a reader that does not take its farewell either; what was sent is whole lines.
    if let Err(error) = slow.read_to_string(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let lines: Vec<Value> = rest
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["seq"].as_u64())
        .collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert!(
        (numbers.len() as u64) < LINES,
        "the slow reader got everything"
    );
}

#[test]
fn readers_get_the_last_lines_when_the_daemon_stops() {
    let fixture = start(1000);
    let mut reader = greeted(&fixture.path);
    (0..100).for_each(|number| fixture.publisher.publish(dtmf(number)));
    drop(fixture.publisher);
    fixture.thread.join();
    assert_eq!(read_numbers(&mut reader, 100).last(), Some(&99));
    assert!(!fixture.path.exists());
}

#[test]
fn socket_has_the_configured_permissions() {
    let fixture = start(100);
    let mode = std::fs::metadata(&fixture.path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn socket_in_use_is_refused_by_name_and_a_dead_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.sock");
    let living = UnixListener::bind(&path).unwrap();
    let error = publisher::start(&config(&path, 100), None, None).unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );

    drop(living);
    let (publisher, thread) = publisher::start(&config(&path, 100), None, None).unwrap();
    drop(publisher);
    thread.join();
}

#[test]
fn file_in_the_sockets_place_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = publisher::start(&config(&path, 100), None, None).unwrap_err();
    assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
