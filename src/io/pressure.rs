//! Whether a media worker is short of time, for those who can wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One worker's word among all; a clone is another worker's.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Workers that are short of time.
    all: Arc<AtomicUsize>,
    is_short: bool,
}

impl Pressure {
    /// Takes note of whether this worker is short of time.
    pub fn note(&mut self, is_short: bool) {
        if std::mem::replace(&mut self.is_short, is_short) == is_short {
            return;
        }
        if is_short {
            self.all.fetch_add(1, Ordering::Relaxed);
        } else {
            self.all.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether any worker is.
    pub fn is_high(&self) -> bool {
        self.all.load(Ordering::Relaxed) > 0
    }
}

impl Clone for Pressure {
    fn clone(&self) -> Self {
        Self {
            all: Arc::clone(&self.all),
            is_short: false,
        }
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.note(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_high_while_any_worker_is_short_of_time() {
        let pressure = Pressure::default();
        let (mut one, mut other) = (pressure.clone(), pressure.clone());
        one.note(true);
        other.note(true);
        other.note(true);
        one.note(false);
        assert!(pressure.is_high());
        drop(other);
        assert!(!pressure.is_high());
    }
}
