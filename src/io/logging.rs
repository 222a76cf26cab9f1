//! Where log lines go and how they look.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::config::file::Log;

/// Starts logging to standard error; a second start changes nothing.
pub fn start(config: &Log) {
    let filter = EnvFilter::new(&config.level);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    // Only a test that starts two daemons in one process comes here twice.
    drop(started);
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
