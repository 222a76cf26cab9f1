use std::fs;
use std::os::unix::fs::PermissionsExt;
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
fn transcripts_are_readable_to_the_daemon_and_its_group_only() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = store(&settings);
    store.append(0, &dtmf(3)).unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{:?}", file.path());
    }
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

    let journal = Journal::open(settings.clone()).unwrap();
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

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A journal that keeps lines for 30 days, with a line of each of the last 20.
fn twenty_days(folder: &Path) -> (Settings, Store, i64) {
    let settings = Settings {
        max_age: Duration::from_hours(30 * 24),
        ..settings(folder)
    };
    let mut store = store(&settings);
    let now_ms = 1000 * DAY_MS;
    let days = (1..=20).rev();
    let lines: Vec<Record> = days
        .map(|day| record("dtmf", "c", now_ms - day * DAY_MS / 2))
        .collect();
    store.append(0, &lines).unwrap();
    assert!(!store.trim(&settings, now_ms).unwrap());
    (settings, store, now_ms)
}

#[test]
fn clock_that_jumps_years_ahead_deletes_nothing_over_restarts_either() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, mut store, now_ms) = twenty_days(folder.path());
    let ahead_ms = now_ms + 3650 * DAY_MS;
    assert!(!store.trim(&settings, ahead_ms).unwrap());
    store
        .append(20, &[record("dtmf", "c", ahead_ms + 1)])
        .unwrap();
    drop(store);
    let mut store = self::store(&settings);
    assert!(!store.trim(&settings, ahead_ms + 60_000).unwrap());
    assert_eq!(store.doubt().unwrap().before_ms, now_ms);

    // It is put right: nothing is lost, and what is too old goes when its time has come.
    assert!(!store.trim(&settings, now_ms + 120_000).unwrap());
    assert_eq!((store.doubt(), store.oldest_seq), (None, 0));
    for day in 1..=40 {
        while store.trim(&settings, now_ms + day * DAY_MS).unwrap() {}
    }
    assert_eq!(
        store.oldest_seq, 20,
        "the line that was made meanwhile is left"
    );
    for day in 41..=75 {
        while store.trim(&settings, now_ms + day * DAY_MS).unwrap() {}
    }
    assert_eq!(store.oldest_seq, 21, "and is not kept for ten years");
}

#[test]
fn clock_that_is_ahead_for_good_is_believed_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, mut store, now_ms) = twenty_days(folder.path());
    let ahead_ms = now_ms + 3650 * DAY_MS;
    for hour in 0..24 {
        assert!(
            !store
                .trim(&settings, ahead_ms + hour * DAY_MS / 24)
                .unwrap()
        );
        drop(store);
        store = self::store(&settings);
    }
    assert!(store.trim(&settings, ahead_ms + DAY_MS).unwrap());
    assert_eq!(store.oldest_seq, 20);
}

#[test]
fn journal_of_before_the_clock_was_watched_goes_by_its_newest_line() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, store, now_ms) = twenty_days(folder.path());
    drop(store);
    let database = rusqlite::Connection::open(&settings.path).unwrap();
    database.execute_batch("DROP TABLE clock").unwrap();
    drop(database);
    let mut store = self::store(&settings);
    assert!(!store.trim(&settings, now_ms + 3650 * DAY_MS).unwrap());
    assert!(store.doubt().is_some());
}

#[test]
fn line_that_was_dated_by_a_clock_without_battery_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, mut store, now_ms) = twenty_days(folder.path());
    let at_ms = [now_ms - 29 * DAY_MS, 0, now_ms];
    let lines = at_ms.map(|at_ms| record("dtmf", "c", at_ms));
    store.append(20, &lines).unwrap();
    for hours in 0..(21 * 24) {
        while store.trim(&settings, now_ms + hours * DAY_MS / 24).unwrap() {}
    }
    assert!(store.oldest_seq < 20, "{}", store.oldest_seq);
}

#[test]
fn second_daemon_is_told_whose_the_journal_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = Journal::open(settings(folder.path())).unwrap();
    let refusal = Journal::open(settings(folder.path()))
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("is used by another daemon"), "{refusal}");
    assert!(refusal.contains("journal.path"), "{refusal}");
    drop(first);
    assert!(Journal::open(settings(folder.path())).is_ok());
}
