use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

const AGE: Duration = Duration::from_secs(1000);

fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("journal.db"),
        max_age: AGE,
        max_bytes: 1 << 30,
    }
}

fn record(event: &'static str, call: &str, at_ms: i64) -> Record {
    Record {
        at_ms,
        call_id: Some(call.into()),
        event,
        line: format!("{{\"event\":\"{event}\",\"call_id\":\"{call}\",\"at\":{at_ms}}}\n").into(),
    }
}

fn dtmf(lines: i64) -> Vec<Record> {
    (0..lines).map(|at_ms| record("dtmf", "c", at_ms)).collect()
}

fn store(settings: &Settings) -> Store {
    Store::open(settings, None).unwrap()
}

#[test]
fn numbering_and_epoch_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut first = store(&settings);
    assert_eq!((first.next_seq, first.oldest_seq), (0, 0));
    first.append(0, &dtmf(3)).unwrap();
    let epoch = first.epoch.clone();
    drop(first);

    let second = store(&settings);
    assert_eq!((&second.epoch, second.next_seq), (&epoch, 3));
    assert_eq!(second.oldest_seq, 0);
}

#[test]
fn history_gives_stretches_of_lines_and_says_where_one_begins_later() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = store(&settings);
    store.append(0, &dtmf(3)).unwrap();
    store.append(10, &dtmf(2)).unwrap();
    let history = History::open(&settings.path).unwrap();
    let read = |seq, end| history.stretch(seq, end, 1000).unwrap();
    let numbers = |stretch: Option<history::Stretch>| {
        stretch.map(|stretch| (stretch.first_seq, stretch.next_seq))
    };
    assert_eq!(numbers(read(1, 100)), Some((1, 3)));
    assert_eq!(numbers(read(0, 2)), Some((0, 2)));
    assert_eq!(
        numbers(read(3, 100)),
        Some((10, 12)),
        "3 to 9 were never written"
    );
    assert_eq!(numbers(read(12, 100)), None);
    let one = history.stretch(0, 100, 1).unwrap().unwrap();
    assert_eq!(one.text, &*dtmf(1)[0].line);
}

#[test]
fn calls_without_an_end_are_told_and_lines_of_a_call_are_those_since_it_last_began() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = store(&settings);
    let story = [
        record("call_started", "a", 0),
        record("call_started", "b", 1),
        record("transcript", "a", 2),
        record("call_ended", "a", 3),
        record("call_started", "c", 4),
        record("call_ended", "c", 5),
        record("call_started", "c", 6),
    ];
    store.append(0, &story).unwrap();
    let history = History::open(&settings.path).unwrap();
    assert_eq!(history.unfinished_calls().unwrap(), ["b", "c"]);
    let lines = history.lines_of_call("a").unwrap();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains("transcript"), "{lines:?}");
    assert_eq!(history.lines_of_call("c").unwrap().len(), 1);
    assert!(history.lines_of_call("z").unwrap().is_empty());
}

#[test]
fn old_lines_are_forgotten_in_steps_and_their_calls_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = store(&settings);
    let mut lines = vec![
        record("call_started", "old", 0),
        record("call_ended", "old", 1),
    ];
    lines.extend(dtmf(2500));
    lines.push(record("call_started", "new", 9_000_000));
    store.append(0, &lines).unwrap();

    let now_ms = 2_000_000;
    let mut steps = 0;
    while store.trim(&settings, now_ms).unwrap() {
        steps += 1;
    }
    assert_eq!((steps, store.oldest_seq), (3, 2502));
    let history = History::open(&settings.path).unwrap();
    let left = history.stretch(0, 10_000, 1_000_000).unwrap().unwrap();
    assert_eq!((left.first_seq, left.next_seq), (2502, 2503));
    assert_eq!(history.unfinished_calls().unwrap(), ["new"]);
}

#[test]
fn journal_that_is_too_large_loses_its_oldest_lines_and_gives_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.max_bytes = 1 << 20;
    let mut store = store(&settings);
    for batch in 0..100 {
        store.append(batch * 500, &dtmf(500)).unwrap();
        store.trim(&settings, 0).unwrap();
    }
    while store.trim(&settings, 0).unwrap() {}
    drop(store);
    let size = fs::metadata(&settings.path).unwrap().len();
    assert!(size < 2 << 20, "{size} bytes for at most 1 MiB");
    let store = self::store(&settings);
    assert_eq!(store.next_seq, 50_000);
    assert!((1..50_000).contains(&store.oldest_seq));
}

#[test]
fn file_that_is_no_database_is_moved_aside_and_another_epoch_begins() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let epoch = {
        let mut store = store(&settings);
        store.append(0, &dtmf(3)).unwrap();
        store.epoch.clone()
    };
    fs::write(&settings.path, "x".repeat(8192)).unwrap();

    let journal = Journal::open(settings.clone());
    let place = journal.moved_aside.clone().unwrap();
    assert!(fs::read(&place).unwrap().starts_with(b"xxx"));
    let store = journal.store.unwrap();
    assert_ne!(store.epoch, epoch);
    assert_eq!(store.next_seq, 0);
}

#[test]
fn database_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let theirs = rusqlite::Connection::open(&settings.path).unwrap();
    theirs.execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = Store::open(&settings, None).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    let count: i64 = theirs
        .query_row("SELECT count(*) FROM theirs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn numbers_that_readers_saw_without_the_journal_are_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let epoch = {
        let mut store = store(&settings);
        store.append(0, &dtmf(3)).unwrap();
        store.epoch.clone()
    };
    fs::write(settings.outage_mark(), "").unwrap();
    let mut store = store(&settings);
    assert_ne!(store.epoch, epoch);
    assert_eq!((store.next_seq, store.oldest_seq), (3, 3));
    store.append(3, &dtmf(1)).unwrap();
    let now = store.epoch.clone();
    drop(store);
    fs::remove_file(settings.outage_mark()).unwrap();
    assert_eq!(self::store(&settings).epoch, now);
    assert_eq!(
        self::store(&settings).oldest_seq,
        3,
        "older lines are of another epoch"
    );
}
