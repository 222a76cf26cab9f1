use std::fs;

use super::*;
use crate::event::RoleSource;
use crate::media::Law;

/// A label of that utterance, a second after the one before.
pub(in crate::io) fn label(call_id: &str, utterance: u64) -> PartLabel {
    PartLabel {
        call_id: call_id.into(),
        channel: 0,
        port: 20_000,
        role: None,
        role_source: RoleSource::Unknown,
        utterance,
        part: 0,
        law: Law::Pcmu,
        start: Samples(utterance * 8_000),
        lead_in: Samples::ZERO,
        opened_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// The key of that utterance in the first call of a worker.
pub(super) fn key(utterance: u64) -> PartKey {
    PartKey {
        call: crate::call::CallKey::new(0, 0),
        channel: 0,
        utterance,
        part: 0,
    }
}

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        directory: folder.path().join("spool"),
        max_bytes: 1_000_000,
        // The labels are of 1970.
        max_age: Duration::from_secs(4_000_000_000),
    }
}

/// A publisher that nobody reads, and the folder of its socket.
fn publisher() -> (Publisher, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let events = crate::config::file::Events {
        socket: folder.path().join("events.sock"),
        ..Default::default()
    };
    (
        crate::io::publisher::start(&events, None, None).unwrap().0,
        folder,
    )
}

/// Opens the spool, lets `act` order, and waits until it is obeyed.
fn with_spool(folder: &tempfile::TempDir, act: impl FnOnce(&Spool)) -> Vec<SpooledPart> {
    let (publisher, _socket) = publisher();
    let opened = Spool::open(settings(folder), publisher);
    let (spool, recovered, thread) = opened.unwrap();
    act(&spool);
    drop(spool);
    thread.join();
    recovered
}

fn kept(ordinal: u64, len: u64) -> Kept {
    let label = label("c", ordinal);
    Kept {
        ordinal,
        closed: Closed {
            end: label.start + Samples(len),
            speech: Samples(len),
            last: true,
        },
        label,
        reason: GapReason::AsrUnavailable,
        owner: Owner {
            worker: 0,
            part: key(ordinal),
        },
        g711: vec![0x55; usize::try_from(len).unwrap()],
    }
}

fn begun(ordinal: u64, len: usize) -> Order {
    let opened = Change::Opened(ordinal, Box::new(label("c", ordinal)));
    Order::Log(vec![opened, Change::Audio(ordinal, vec![0x55; len])])
}

#[test]
fn part_in_progress_outlives_the_daemon_as_far_as_it_got() {
    let folder = tempfile::tempdir().unwrap();
    with_spool(&folder, |spool| {
        let ordinal = spool.next_ordinal();
        spool.order(begun(ordinal, 4_000)).unwrap();
        spool.order(begun(ordinal + 1, 800)).unwrap();
        spool.release(ordinal + 1);
    });
    let recovered = with_spool(&folder, |spool| {
        assert_eq!(spool.next_ordinal(), 1, "no two parts have one ordinal");
    });
    let [part] = &recovered[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(part.label, label("c", 0));
    let (end, last) = (Samples(4_000), true);
    let expected = Closed {
        end,
        speech: end,
        last,
    };
    assert_eq!(part.closed, expected);
    assert_eq!(part.in_progress, Some(vec![0x55; 4_000]));
    // Nobody said what is to become of it: it stays.
    assert_eq!(with_spool(&folder, |_| {}).len(), 1);
}

#[test]
fn part_that_waits_is_there_once_whatever_the_log_says() {
    let folder = tempfile::tempdir().unwrap();
    with_spool(&folder, |spool| {
        spool.order(begun(0, 4_000)).unwrap();
        spool.order(Order::Keep(Box::new(kept(0, 8_000)))).unwrap();
        spool.order(begun(1, 4_000)).unwrap();
    });
    let recovered = with_spool(&folder, |spool| spool.release(0));
    let ends: Vec<_> = recovered.iter().map(|part| part.closed.end).collect();
    assert_eq!(ends, [Samples(8_000), Samples(12_000)]);
    assert_eq!(
        with_spool(&folder, |_| {}).len(),
        1,
        "the first was released"
    );
}

#[test]
fn full_spool_gives_up_the_oldest_and_tells_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, mut told) = mpsc::channel(10);
    with_spool(&folder, |spool| {
        spool.order(Order::Connect(0, mailbox)).unwrap();
        for ordinal in 0..3 {
            let kept = Box::new(kept(ordinal, 400_000));
            spool.order(Order::Keep(kept)).unwrap();
        }
    });
    let (part, outcome) = told.try_recv().unwrap();
    assert_eq!(part, key(0));
    let Outcome::Unrecognised { reason, detail } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(reason, GapReason::BufferFull);
    assert!(detail.contains("spool.max-bytes"), "{detail}");
    assert!(told.try_recv().is_err());
    assert_eq!(with_spool(&folder, |_| {}).len(), 2);
}

#[test]
fn part_that_the_disk_does_not_take_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, mut told) = mpsc::channel(10);
    with_spool(&folder, |spool| {
        spool.order(Order::Connect(0, mailbox)).unwrap();
        // A folder in the place of the file.
        fs::create_dir(settings(&folder).directory.join(format!("{:020}.part", 0))).unwrap();
        spool.order(Order::Keep(Box::new(kept(0, 80)))).unwrap();
    });
    let (part, outcome) = told.try_recv().unwrap();
    assert_eq!(part, key(0));
    assert!(
        matches!(outcome, Outcome::Unrecognised { reason: GapReason::AsrUnavailable, detail }
        if detail.contains("could not be kept on disk"))
    );
}

#[test]
fn spool_of_another_daemon_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    with_spool(&folder, |_| {
        let second = Spool::open(settings(&folder), publisher().0);
        assert!(matches!(second, Err(OpenError::InUse { .. })));
    });
}
