//! Where log lines go and how they look; both may change while the daemon runs.

mod lines;

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, dynamic_filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::LogFormat;
use crate::config::file::Log;
use lines::Lines;

/// The running log.
#[derive(Clone, Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
    lines: Lines,
}

impl Logging {
    /// Goes on with another level and another format.
    pub fn adopt(&self, config: &Log) {
        self.is_json
            .store(config.format == LogFormat::Json, Ordering::Relaxed);
        // Fails only when the subscriber is gone, and nobody logs any more. What was cached of the
        // format is forgotten with the filter.
        drop(self.filter.reload(EnvFilter::new(&config.level)));
    }

    /// Waits for the last lines, but not for long.
    pub fn finish(&self) {
        self.lines.finish();
    }
}

/// Starts logging: to the journal with its fields where standard error is the journal and the format is
/// `text`, else to standard error, by a thread of its own. A second start changes nothing.
///
/// # Errors
/// When the system refuses a thread.
pub fn start(config: &Log) -> io::Result<Logging> {
    let lines = Lines::to(io::stderr())?;
    let to_stderr = {
        let lines = lines.clone();
        move || lines.clone()
    };
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&config.level));
    let is_json = Arc::new(AtomicBool::new(config.format == LogFormat::Json));
    let json = fmt::layer().json().with_writer(to_stderr.clone());
    let json = json.with_filter(dynamic_filter_fn(events_if(&is_json, true)));
    let journal = under_journald().then(tracing_journald::layer);
    // Fields by their own names: CALL_ID, CHANNEL, REASON.
    let journal = journal.and_then(Result::ok);
    let journal = journal.map(|journal| journal.with_field_prefix(None));
    let text = journal.is_none().then(|| {
        let is_terminal = io::stderr().is_terminal();
        fmt::layer().with_ansi(is_terminal).with_writer(to_stderr)
    });
    let text = text.with_filter(dynamic_filter_fn(events_if(&is_json, false)));
    let journal = journal.with_filter(dynamic_filter_fn(events_if(&is_json, false)));
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(text)
        .with(journal)
        .with(json)
        .try_init();
    // Only a test that starts two daemons in one process comes here twice.
    drop(started);
    Ok(Logging {
        filter: handle,
        is_json,
        lines,
    })
}

/// Events pass in one of the formats. Spans pass in both: a span that began in the old format is still
/// shown after a change.
fn events_if<S>(
    is_json: &Arc<AtomicBool>,
    wanted: bool,
) -> impl Fn(&Metadata<'_>, &tracing_subscriber::layer::Context<'_, S>) -> bool + 'static {
    let is_json = Arc::clone(is_json);
    move |metadata, _| metadata.is_span() || is_json.load(Ordering::Relaxed) == wanted
}

/// Whether standard error is a stream of journald (systemd.exec(5), `$JOURNAL_STREAM`).
fn under_journald() -> bool {
    let stream = env::var("JOURNAL_STREAM").ok();
    let named = stream.as_deref().and_then(|stream| stream.split_once(':'));
    let (Some((device, inode)), Ok(stderr)) = (named, fs::metadata("/proc/self/fd/2")) else {
        return false;
    };
    device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino())
}
