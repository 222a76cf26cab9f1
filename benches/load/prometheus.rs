//! The histograms of a Prometheus text.

use std::collections::BTreeMap;

/// Histograms in seconds by name, each with its cumulative buckets by upper bound, lowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histograms(BTreeMap<String, Vec<(f64, f64)>>);

impl Histograms {
    /// Reads what `GET /metrics` answered.
    pub(crate) fn read(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (name, bound, count) in text.lines().filter_map(bucket) {
            all.entry(name.to_owned()).or_default().push((bound, count));
        }
        Self(all)
    }

    /// Median, 90th and 99th percentile in milliseconds of what came since `before`.
    pub(crate) fn percentiles_since(&self, before: &Self) -> BTreeMap<String, [f64; 3]> {
        let one = |(name, buckets): (&String, &Vec<(f64, f64)>)| {
            let earlier = before.0.get(name);
            let earlier = |at: usize| earlier.and_then(|old| old.get(at)).map_or(0.0, |old| old.1);
            let buckets = buckets.iter().enumerate();
            let buckets: Vec<_> = buckets
                .map(|(at, &(bound, count))| (bound, count - earlier(at)))
                .collect();
            let total = buckets.last().map_or(0.0, |last| last.1);
            let percentiles =
                [0.5, 0.9, 0.99].map(|share| quantile(&buckets, share * total) * 1000.0);
            (total > 0.0).then(|| (name.clone(), percentiles))
        };
        self.0.iter().filter_map(one).collect()
    }
}

/// Name, upper bound and count of a line such as `callscribe_x_seconds_bucket{le="0.1"} 3`.
fn bucket(line: &str) -> Option<(&str, f64, f64)> {
    let (name, rest) = line.split_once("_seconds_bucket{")?;
    let bound = rest.split("le=\"").nth(1)?.split('"').next()?;
    let count = rest.rsplit(' ').next()?;
    let name = name.trim_start_matches("callscribe_");
    Some((name, bound.parse().ok()?, count.parse().ok()?))
}

/// Where `rank` lies, if each bucket's observations are spread evenly; beyond the last finite bound, that bound.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let (mut lower, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= rank {
            let share = (rank - below) / (count - below).max(f64::MIN_POSITIVE);
            return if bound.is_finite() {
                lower + (bound - lower) * share
            } else {
                lower
            };
        }
        (lower, below) = (bound, count);
    }
    lower
}
