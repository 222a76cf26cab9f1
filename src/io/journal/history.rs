//! What was said so far: the journal for those who only read it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;
use serde_json::value::RawValue;

use super::JournalError;

/// A connection of its own to the journal; it sees whole commits only, and holds up nobody.
#[derive(Debug)]
pub struct History {
    database: Connection,
    path: PathBuf,
}

/// A call that has begun, as its first and last lines tell it.
#[derive(Debug, Serialize)]
pub struct PastCall {
    /// Its id.
    pub id: String,
    /// Number of its first line.
    pub started_seq: u64,
    /// Its `call_started`, if that is still kept.
    pub started: Option<Box<RawValue>>,
    /// Its `call_ended`, if it has ended.
    pub ended: Option<Box<RawValue>>,
}

/// Lines that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Number of the first of them.
    pub first_seq: u64,
    /// Number after the last of them.
    pub next_seq: u64,
    /// The lines, each with its newline.
    pub text: String,
}

impl History {
    /// Opens the journal at `path` for reading.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let database = Connection::open_with_flags(path, flags)?;
            database.busy_timeout(std::time::Duration::from_secs(1))?;
            Ok(database)
        };
        match open() {
            Ok(database) => Ok(Self {
                database,
                path: path.to_owned(),
            }),
            Err(source) => Err(JournalError::new(path, source)),
        }
    }

    /// The lines of a call since it last began, oldest first, without their newlines.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn lines_of_call(&self, call_id: &str) -> Result<Vec<String>, JournalError> {
        let select = "SELECT json FROM line WHERE call_id = ?1 AND seq >=
                      ifnull((SELECT started_seq FROM call WHERE id = ?1), 0) ORDER BY seq";
        self.told(self.strings(select, params![call_id]))
    }

    /// The ids of the calls with a `call_started` and no `call_ended` after it, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn unfinished_calls(&self) -> Result<Vec<String>, JournalError> {
        let select = "SELECT id FROM call WHERE ended_seq IS NULL ORDER BY started_seq";
        self.told(self.strings(select, params![]))
    }

    /// Up to `limit` calls whose id contains `find`, and which began before line `before`; the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn calls(
        &self,
        find: &str,
        before: u64,
        limit: u32,
    ) -> Result<Vec<PastCall>, JournalError> {
        self.told(self.read_calls(find, before.cast_signed(), limit))
    }

    fn read_calls(&self, find: &str, before: i64, limit: u32) -> rusqlite::Result<Vec<PastCall>> {
        let select = "SELECT call.id, call.started_seq, first.json, last.json FROM call
                      LEFT JOIN line AS first ON first.seq = call.started_seq
                      LEFT JOIN line AS last ON last.seq = call.ended_seq
                      WHERE instr(call.id, ?1) > 0 AND call.started_seq < ?2
                      ORDER BY call.started_seq DESC LIMIT ?3";
        let mut statement = self.database.prepare_cached(select)?;
        let json = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        let calls = statement.query_map(params![find, before, limit], |row| {
            Ok(PastCall {
                id: row.get(0)?,
                started_seq: row.get::<_, i64>(1)?.cast_unsigned(),
                started: json(row.get(2)?),
                ended: json(row.get(3)?),
            })
        })?;
        calls.collect()
    }

    /// The lines from number `seq` on and below `end`, up to about `max_bytes` and at least one; `None` if there are
    /// none. They may begin later than `seq`, when lines before are forgotten or were never written.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn stretch(
        &self,
        seq: u64,
        end: u64,
        max_bytes: usize,
    ) -> Result<Option<Stretch>, JournalError> {
        self.told(self.read_stretch(seq, end, max_bytes))
    }

    fn read_stretch(
        &self,
        seq: u64,
        end: u64,
        max_bytes: usize,
    ) -> rusqlite::Result<Option<Stretch>> {
        let select = "SELECT seq, json FROM line WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        let mut statement = self.database.prepare_cached(select)?;
        let mut rows = statement.query([seq.cast_signed(), end.cast_signed()])?;
        let mut stretch: Option<Stretch> = None;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let json = row.get_ref(1)?.as_str()?;
            let stretch = stretch.get_or_insert_with(|| Stretch {
                first_seq: seq,
                next_seq: seq,
                text: String::new(),
            });
            let is_full = !stretch.text.is_empty() && stretch.text.len() + json.len() > max_bytes;
            if is_full || seq != stretch.next_seq {
                break;
            }
            stretch.text.push_str(json);
            stretch.text.push('\n');
            stretch.next_seq += 1;
        }
        Ok(stretch)
    }

    fn strings(&self, select: &str, about: impl rusqlite::Params) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.database.prepare_cached(select)?;
        statement.query_map(about, |row| row.get(0))?.collect()
    }

    fn told<T>(&self, result: rusqlite::Result<T>) -> Result<T, JournalError> {
        result.map_err(|source| JournalError::new(&self.path, source))
    }
}
