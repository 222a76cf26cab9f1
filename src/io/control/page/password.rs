//! Who may use the TCP listener when a password file is configured: HTTP basic authentication (RFC 7617) against lines of
//! `user:hash` as `htpasswd -B` writes them (bcrypt).

#![expect(
    clippy::disallowed_methods,
    reason = "who guesses is kept waiting by the clock"
)]

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use super::super::error::ApiError;

/// Passwords that are being checked at once: a check takes tens of milliseconds on purpose.
const CHECKS_AT_ONCE: usize = 1;

/// How long a wrong password keeps the next check waiting: four guesses a second, of all clients together, and a fraction
/// of a core. Who has been let in before does not wait.
const PENALTY: Duration = Duration::from_millis(200);

/// How often refused passwords are told of in the log, at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Credentials remembered as good; more are checked each time.
const MAX_REMEMBERED: usize = 64;

/// The password file, and who was let in since it last changed.
#[derive(Debug)]
pub(in crate::io::control) struct Passwords {
    path: PathBuf,
    checking: Semaphore,
    good: Mutex<Good>,
    refused: Mutex<Refused>,
}

/// Wrong passwords since they were last told of.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

#[derive(Debug, Default)]
struct Good {
    changed: Option<SystemTime>,
    /// SHA-256 of `Authorization` headers, so that no password stays in memory.
    headers: HashSet<Vec<u8>>,
}

/// Why a password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// It cannot be read.
    #[error("cannot read control.password-file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of `htpasswd -B`.
    #[error(
        "{}:{line}: expected USER:HASH with a bcrypt hash ($2y$…); make it with htpasswd -B",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Nobody could come in.
    #[error("{} names nobody; add a user with htpasswd -B", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Passwords {
    /// Reads the file once, to refuse one that lets nobody in.
    pub(in crate::io::control) fn open(path: PathBuf) -> Result<Arc<Self>, PasswordFileError> {
        let text = fs::read_to_string(&path).map_err(|source| PasswordFileError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let mut users = 0;
        for (index, entry) in text.lines().enumerate() {
            match parse(entry) {
                Some(Ok(_)) => users += 1,
                Some(Err(())) => {
                    let line = index + 1;
                    return Err(PasswordFileError::Invalid { path, line });
                }
                None => {}
            }
        }
        if users == 0 {
            return Err(PasswordFileError::Empty { path });
        }
        Ok(Arc::new(Self {
            path,
            checking: Semaphore::new(CHECKS_AT_ONCE),
            good: Mutex::default(),
            refused: Mutex::default(),
        }))
    }

    async fn admits(self: &Arc<Self>, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            return false;
        };
        let name = digest(&SHA256, given.as_bytes()).as_ref().to_vec();
        let changed = fs::metadata(&self.path)
            .and_then(|file| file.modified())
            .ok();
        if self.remembers(&name, changed) {
            return true;
        }
        let Some((user, password)) = credentials(given) else {
            return false;
        };
        let Ok(_one_at_a_time) = self.checking.acquire().await else {
            return false;
        };
        let path = self.path.clone();
        let checked = spawn_blocking(move || is_listed(&path, &user, &password)).await;
        let is_good = checked.unwrap_or(false);
        if is_good {
            self.remember(name, changed);
        } else {
            self.note_refused();
            sleep(PENALTY).await;
        }
        is_good
    }

    /// Somebody who guesses is seen in the log, and cannot fill it.
    fn note_refused(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused
            .told
            .is_none_or(|told| told.elapsed() > REPORT_INTERVAL)
        {
            refused.told = Some(Instant::now());
            let passwords = std::mem::take(&mut refused.count);
            warn!(passwords, "wrong passwords were given for control.listen");
        }
    }

    fn remembers(&self, name: &[u8], changed: Option<SystemTime>) -> bool {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.changed != changed {
            *good = Good::default();
            good.changed = changed;
        }
        good.headers.contains(name)
    }

    fn remember(&self, name: Vec<u8>, changed: Option<SystemTime>) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.changed == changed && good.headers.len() < MAX_REMEMBERED {
            good.headers.insert(name);
        }
    }
}

/// Lets in who has a password; web pages of others go without it.
pub(in crate::io::control) async fn require(
    State(passwords): State<Arc<Passwords>>,
    request: Request,
    next: Next,
) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return ApiError::Forbidden("web pages may not use the control API").into_response();
    }
    if passwords.admits(request.headers()).await {
        return next.run(request).await;
    }
    let ask = HeaderValue::from_static("Basic realm=\"callscribe\", charset=\"UTF-8\"");
    let mut refusal = ApiError::Unauthorized.into_response();
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    refusal
}

/// User and password of `Basic BASE64`.
fn credentials(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = BASE64.decode(encoded.trim().as_bytes()).ok()?;
    let (user, password) = str::from_utf8(&text).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether the file has the user with this password. Who is not in it takes as long as who is.
fn is_listed(path: &PathBuf, user: &str, password: &str) -> bool {
    let text = fs::read_to_string(path)
        .inspect_err(|error| warn!(path = %path.display(), %error, "cannot read the password file"))
        .unwrap_or_default();
    let entries = text.lines().filter_map(|line| parse(line)?.ok());
    let hash = entries
        .filter_map(|(name, hash)| (name == user).then_some(hash))
        .next();
    let is_match = bcrypt::verify(password, hash.unwrap_or(NOBODY)).unwrap_or(false);
    is_match && hash.is_some()
}

/// User and hash of a line; `None` for one that is empty or a comment.
fn parse(line: &str) -> Option<Result<(&str, &str), ()>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let entry = line.split_once(':').filter(|(user, hash)| {
        let is_bcrypt = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|mark| hash.starts_with(mark));
        !user.is_empty() && is_bcrypt && hash.len() == 60
    });
    Some(entry.ok_or(()))
}

/// A hash of nothing anybody knows, for users that are not in the file.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuN0bodyKn0wsTh1sPassw0rdAtA11...";

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u32 = 4;

    fn headers(user: &str, password: &str) -> HeaderMap {
        let encoded = BASE64.encode(format!("{user}:{password}").as_bytes());
        let mut headers = HeaderMap::new();
        let value = format!("Basic {encoded}").parse().unwrap();
        headers.insert(header::AUTHORIZATION, value);
        headers
    }

    #[tokio::test]
    async fn only_a_user_with_the_right_password_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let hash = bcrypt::hash("open sesame", COST).unwrap();
        fs::write(&path, format!("# who may look\nanna:{hash}\n")).unwrap();
        let passwords = Passwords::open(path.clone()).unwrap();
        assert!(passwords.admits(&headers("anna", "open sesame")).await);
        assert!(passwords.admits(&headers("anna", "open sesame")).await);
        assert!(!passwords.admits(&headers("anna", "sesame")).await);
        assert!(!passwords.admits(&headers("bert", "open sesame")).await);
        assert!(!passwords.admits(&HeaderMap::new()).await);
    }

    #[tokio::test]
    async fn who_is_taken_out_of_the_file_is_let_in_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let hash = bcrypt::hash("x", COST).unwrap();
        fs::write(&path, format!("anna:{hash}\n")).unwrap();
        let passwords = Passwords::open(path.clone()).unwrap();
        assert!(passwords.admits(&headers("anna", "x")).await);
        fs::write(&path, format!("bert:{hash}\n")).unwrap();
        let later = SystemTime::UNIX_EPOCH;
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(later))
            .unwrap();
        assert!(!passwords.admits(&headers("anna", "x")).await);
        assert!(passwords.admits(&headers("bert", "x")).await);
    }

    #[test]
    fn file_that_lets_nobody_in_or_has_another_kind_of_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, "\n").unwrap();
        let error = Passwords::open(path.clone()).unwrap_err();
        assert!(error.to_string().contains("htpasswd -B"), "{error}");
        fs::write(&path, "\nanna:$apr1$xyz\n").unwrap();
        let error = Passwords::open(path.clone()).unwrap_err();
        assert!(error.to_string().contains("users:2: "), "{error}");
    }
}
