//! Durations, counted by size.

use std::time::Duration;

/// A histogram of durations in plain memory: one owner counts, and whoever asks gets a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// How many lie below each bound and above the one before; the last counts what lies above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty one; `bounds` are in seconds and rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|&bound| bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// Adds what another one with the same bounds has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// Each upper bound in seconds, the last infinite, and how many lie below it and above the one before.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_on_a_bound_lies_below_it_and_one_above_all_is_counted_too() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for ms in [50, 100, 101, 5_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = histogram.buckets().iter().map(|bucket| bucket.1).collect();
        assert_eq!(counts, [2, 1, 1]);
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum() - 5.251).abs() < 1e-9);
    }

    #[test]
    fn merged_histograms_count_what_both_counted() {
        let mut one = Histogram::new(&[0.1, 1.0]);
        one.observe(Duration::from_millis(10));
        let mut other = one.clone();
        other.observe(Duration::from_secs(2));
        one.merge(&other);
        assert_eq!(one.count(), 3);
    }
}
