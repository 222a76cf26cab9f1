//! Whether any media worker is in a state that others must know of: short of time, or shedding.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One worker's word among all; a clone is another worker's.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Workers that are in it.
    all: Arc<AtomicUsize>,
    is_ours: bool,
}

impl Pressure {
    /// Takes note of whether this worker is in it.
    pub fn note(&mut self, is_ours: bool) {
        if std::mem::replace(&mut self.is_ours, is_ours) == is_ours {
            return;
        }
        if is_ours {
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
            is_ours: false,
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
    fn is_high_while_any_worker_says_so() {
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
