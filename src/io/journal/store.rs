//! The database, for its one writer.

#![expect(
    clippy::disallowed_methods,
    reason = "an epoch is named after the time it begins"
)]

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::clock::{Clock, Doubt};
use super::{JournalError, Record, Settings};

/// Lines forgotten in one step: about a millisecond of the writer's time.
const TRIM_LINES: i64 = 1000;

/// Free pages given back to the file system in one step.
const VACUUM_PAGES: i64 = 256;

/// Marks the file as ours (`PRAGMA application_id`): "cscb".
const APPLICATION_ID: i64 = 0x6373_6362;

/// Version of the tables (`PRAGMA user_version`).
const SCHEMA_VERSION: i64 = 1;

/// The tables. A call that is named again begins anew: its row is that of its last beginning.
const SCHEMA: &str = "
    CREATE TABLE line (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        call_id TEXT,
        event TEXT NOT NULL,
        json TEXT NOT NULL
    ) STRICT;
    CREATE INDEX line_of_call ON line (call_id, seq) WHERE call_id IS NOT NULL;
    CREATE TABLE call (
        id TEXT PRIMARY KEY,
        started_seq INTEGER NOT NULL,
        started_ms INTEGER NOT NULL,
        ended_seq INTEGER
    ) STRICT;
    CREATE INDEX call_by_start ON call (started_seq);
    CREATE TABLE numbering (epoch TEXT NOT NULL, first_seq INTEGER NOT NULL) STRICT;
";

/// A table that came later: journals of version 1 need not have it, and who does not know it need not care.
const CLOCK_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS clock (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        seen_ms INTEGER NOT NULL,
        before_ms INTEGER,
        since_ms INTEGER
    ) STRICT;
";

/// A line is not of the future for a clock that was set back a little.
const SLACK_MS: i64 = 24 * 60 * 60 * 1000;

/// How much of the clock's going on may be forgotten by a restart.
const CLOCK_STEP_MS: u64 = 60 * 60 * 1000;

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    path: PathBuf,
    /// The numbering now; the lines before its first belong to an earlier one.
    pub(super) epoch: String,
    first_seq: Option<u64>,
    /// Number of the newest line of any numbering, plus one.
    pub(super) next_seq: u64,
    /// Number of the oldest line that can be resumed from.
    pub(super) oldest_seq: u64,
    /// When the oldest line was made that there is, by its own account.
    pub(super) oldest_ms: Option<i64>,
    clock: Option<Clock>,
    /// What the database knows of it.
    saved_clock: Option<Clock>,
}

impl Store {
    /// Opens the database, or makes it. A numbering that the daemon has begun without it is its numbering from then on.
    pub(super) fn open(settings: &Settings, begun: Option<&str>) -> Result<Self, JournalError> {
        let path = &settings.path;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| JournalError::NoPlace {
                path: path.clone(),
                source,
            })?;
        }
        // Transcripts are nobody's business; SQLite gives its other files the same mode.
        let made = fs::File::options()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(path);
        drop(made.map_err(|source| JournalError::NoPlace {
            path: path.clone(),
            source,
        })?);
        let has_outage = settings.outage_mark().exists();
        let mut store = Self::connect(path).map_err(|source| JournalError::new(path, source))??;
        if begun.is_some() || has_outage || store.epoch.is_empty() {
            store.epoch = begun.map_or_else(new_epoch, str::to_owned);
            store.first_seq = None;
            store.oldest_seq = store.next_seq;
        }
        Ok(store)
    }

    fn connect(path: &Path) -> rusqlite::Result<Result<Self, JournalError>> {
        let mut database = Connection::open(path)?;
        database.busy_timeout(Duration::from_secs(1))?;
        // Only a new file takes this; it must come before the first table.
        database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        // A line that a reader has seen survives a loss of power too; the price is a write to the disk each commit.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "journal_size_limit", 16 << 20)?;
        let id: i64 = database.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], first)?;
        match (id, version, tables) {
            (APPLICATION_ID, SCHEMA_VERSION, _) => {}
            (0, 0, 0) => create(&mut database)?,
            _ => {
                let path = path.to_owned();
                return Ok(Err(JournalError::Foreign { path }));
            }
        }
        let numbering = "SELECT epoch, first_seq FROM numbering ORDER BY rowid DESC LIMIT 1";
        let numbering = database
            .query_row(numbering, [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let (epoch, first_seq) = numbering.unwrap_or_default();
        let last: Option<i64> = database.query_row("SELECT max(seq) FROM line", [], first)?;
        let oldest = "SELECT min(seq) FROM line WHERE seq >= ?1";
        let oldest: Option<i64> = database.query_row(oldest, [first_seq], first)?;
        let next_seq = last.map_or(first_seq, |last| last + 1).cast_unsigned();
        let oldest_ms = oldest_ms(&database)?;
        let (clock, saved_clock) = read_clock(&database)?;
        Ok(Ok(Self {
            database,
            path: path.to_owned(),
            epoch,
            first_seq: Some(first_seq.cast_unsigned()),
            next_seq,
            oldest_seq: oldest.map_or(next_seq, i64::cast_unsigned),
            oldest_ms,
            clock,
            saved_clock,
        }))
    }

    /// Writes lines that follow each other, the first with number `seq`, and waits until the disk has them.
    pub(super) fn append(&mut self, seq: u64, records: &[Record]) -> Result<(), JournalError> {
        let is_begun = self.is_begun();
        let epoch = (!is_begun).then_some(self.epoch.as_str());
        let written = write(&mut self.database, epoch, seq.cast_signed(), records);
        written.map_err(|source| JournalError::new(&self.path, source))?;
        if !is_begun {
            (self.first_seq, self.oldest_seq) = (Some(seq), seq);
        }
        self.next_seq = seq + records.len() as u64;
        Ok(())
    }

    /// Whether the numbering of now has a line.
    pub(super) const fn is_begun(&self) -> bool {
        self.first_seq.is_some()
    }

    /// Forgets some of what is too old or too much; `true` if there is more to forget.
    pub(super) fn trim(&mut self, settings: &Settings, now_ms: i64) -> Result<bool, JournalError> {
        let max_age_ms = i64::try_from(settings.max_age.as_millis()).unwrap_or(i64::MAX);
        self.trim_step(max_age_ms, settings.max_bytes, now_ms)
            .map_err(|source| JournalError::new(&self.path, source))
    }

    /// Where the clock was before it jumped, while it is not believed.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.clock.and_then(|clock| clock.doubt)
    }

    /// Bytes that hold something.
    pub(super) fn used_bytes(&self) -> Result<u64, JournalError> {
        let used = used_bytes(&self.database).map(i64::cast_unsigned);
        used.map_err(|source| JournalError::new(&self.path, source))
    }

    fn trim_step(
        &mut self,
        max_age_ms: i64,
        max_bytes: u64,
        now_ms: i64,
    ) -> rusqlite::Result<bool> {
        let is_clock_believed = self.look_at_clock(max_age_ms, now_ms);
        let is_too_large = used_bytes(&self.database)? > max_bytes.cast_signed();
        let cutoff_ms = now_ms.saturating_sub(max_age_ms);
        self.oldest_ms = oldest_ms(&self.database)?;
        let datable = self.oldest_ms.filter(|_| is_clock_believed);
        let is_too_old = datable.is_some_and(|at_ms| at_ms < cutoff_ms);
        let is_of_the_future = datable.is_some_and(|at_ms| at_ms > now_ms + SLACK_MS);
        if is_of_the_future && !is_too_large {
            // It was made while the clock was ahead; its age counts from now.
            self.database.execute(DATE_ANEW, [TRIM_LINES, now_ms])?;
            return Ok(true);
        }
        if !is_too_large && !is_too_old {
            return Ok(false);
        }
        // Too large: whatever is oldest goes.
        let cutoff_ms = if is_too_large { i64::MAX } else { cutoff_ms };
        let transaction = self.database.transaction()?;
        let kept = forget(&transaction, cutoff_ms)?;
        transaction.commit()?;
        self.oldest_seq = kept.map_or(self.next_seq, |kept| {
            self.oldest_seq.max(kept.cast_unsigned())
        });
        let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
        self.database.execute_batch(&vacuum)?;
        self.oldest_ms = oldest_ms(&self.database)?;
        Ok(true)
    }

    /// Whether what is too old by the clock may go. What was seen of the clock survives the daemon, to the hour.
    fn look_at_clock(&mut self, max_age_ms: i64, now_ms: i64) -> bool {
        let clock = self.clock.get_or_insert(Clock::new(now_ms));
        let is_believed = clock.is_believed(now_ms, max_age_ms);
        let clock = *clock;
        let is_saved = self.saved_clock.is_some_and(|saved| {
            saved.doubt == clock.doubt && saved.seen_ms.abs_diff(now_ms) < CLOCK_STEP_MS
        });
        // A disk that does not take it is tried again, and its fullness is mended by what follows.
        if !is_saved && self.save_clock(clock).is_ok() {
            self.saved_clock = Some(clock);
        }
        is_believed
    }

    fn save_clock(&self, clock: Clock) -> rusqlite::Result<()> {
        self.database.execute_batch(CLOCK_SCHEMA)?;
        let doubt = clock.doubt.map(|doubt| (doubt.before_ms, doubt.since_ms));
        let (before_ms, since_ms) = doubt.unzip();
        let save = "INSERT OR REPLACE INTO clock (id, seen_ms, before_ms, since_ms)
                    VALUES (0, ?1, ?2, ?3)";
        let saved = params![clock.seen_ms, before_ms, since_ms];
        self.database.execute(save, saved).map(drop)
    }
}

/// What was seen of the clock, as far as anything was: without it, the newest line tells.
fn read_clock(database: &Connection) -> rusqlite::Result<(Option<Clock>, Option<Clock>)> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'clock'";
    if database.query_row(known, [], first::<i64>)? == 0 {
        let newest = "SELECT at_ms FROM line ORDER BY seq DESC LIMIT 1";
        let newest = database.query_row(newest, [], first).optional()?;
        return Ok((newest.map(Clock::new), None));
    }
    let saved = "SELECT seen_ms, before_ms, since_ms FROM clock";
    let saved = database.query_row(saved, [], |row| {
        let doubt = Option::zip(row.get(1)?, row.get(2)?);
        Ok(Clock {
            seen_ms: row.get(0)?,
            doubt: doubt.map(|(before_ms, since_ms)| Doubt {
                before_ms,
                since_ms,
            }),
        })
    });
    let saved = saved.optional()?;
    Ok((saved, saved))
}

fn oldest_ms(database: &Connection) -> rusqlite::Result<Option<i64>> {
    let oldest = "SELECT at_ms FROM line ORDER BY seq LIMIT 1";
    let mut oldest = database.prepare_cached(oldest)?;
    oldest.query_row([], first).optional()
}

fn create(database: &mut Connection) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

fn write(
    database: &mut Connection,
    epoch: Option<&str>,
    first_seq: i64,
    records: &[Record],
) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    if let Some(epoch) = epoch {
        let begin = "INSERT INTO numbering (epoch, first_seq) VALUES (?1, ?2)";
        transaction.execute(begin, params![epoch, first_seq])?;
    }
    for (seq, record) in (first_seq..).zip(records) {
        insert(&transaction, seq, record)?;
    }
    transaction.commit()
}

fn insert(transaction: &Transaction<'_>, seq: i64, record: &Record) -> rusqlite::Result<()> {
    let line = "INSERT INTO line (seq, at_ms, call_id, event, json) VALUES (?1, ?2, ?3, ?4, ?5)";
    let json = record.line.trim_end();
    transaction.prepare_cached(line)?.execute(params![
        seq,
        record.at_ms,
        record.call_id,
        record.event,
        json
    ])?;
    match record.event {
        "call_started" => {
            let call =
                "INSERT OR REPLACE INTO call (id, started_seq, started_ms) VALUES (?1, ?2, ?3)";
            let begun = params![record.call_id, seq, record.at_ms];
            transaction.prepare_cached(call)?.execute(begun)?;
        }
        "call_ended" => {
            let call = "UPDATE call SET ended_seq = ?2 WHERE id = ?1";
            let ended = params![record.call_id, seq];
            transaction.prepare_cached(call)?.execute(ended)?;
        }
        _ => {}
    }
    Ok(())
}

/// Dates lines of the future that are the oldest.
const DATE_ANEW: &str = "UPDATE line SET at_ms = ?2
    WHERE seq IN (SELECT seq FROM line ORDER BY seq LIMIT ?1) AND at_ms > ?2";

/// Forgets the oldest lines as far as they are older than the cutoff; gives the number of the oldest that is left.
fn forget(transaction: &Transaction<'_>, cutoff_ms: i64) -> rusqlite::Result<Option<i64>> {
    let step = "WITH oldest AS (SELECT seq, at_ms FROM line ORDER BY seq LIMIT ?1)
                SELECT coalesce((SELECT min(seq) - 1 FROM oldest WHERE at_ms >= ?2), max(seq))
                FROM oldest";
    let last: Option<i64> = transaction.query_row(step, [TRIM_LINES, cutoff_ms], first)?;
    transaction.execute("DELETE FROM line WHERE seq <= ?1", [last])?;
    // A call is known as long as one of its lines is, or as long as it lasts.
    let calls = "DELETE FROM call WHERE started_seq <= ?1 AND ended_seq <= ?1";
    transaction.execute(calls, [last])?;
    transaction.query_row("SELECT min(seq) FROM line", [], first)
}

/// Pages that hold something.
fn used_bytes(database: &Connection) -> rusqlite::Result<i64> {
    let ask = |pragma| database.prepare_cached(pragma)?.query_row([], first::<i64>);
    let pages = ask("PRAGMA page_count")? - ask("PRAGMA freelist_count")?;
    Ok(pages * ask("PRAGMA page_size")?)
}

fn first<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}

/// A name for a numbering that no other has.
pub(super) fn new_epoch() -> String {
    format!("{:x}", Timestamp::now().as_microsecond())
}
