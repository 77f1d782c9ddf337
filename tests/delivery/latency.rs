//! How long messages were underway.

/// Buckets to each power of two: a value is known to about 3 %.
const STEPS: u64 = 32;

/// Counts nanoseconds by their size.
#[derive(Clone, Debug)]
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram(vec![0; (64 * STEPS) as usize])
    }
}

impl Histogram {
    pub fn add(&mut self, nanoseconds: u64) {
        let bits = u64::from(nanoseconds.max(STEPS).ilog2());
        let within = (nanoseconds.max(STEPS) >> (bits - STEPS.ilog2() as u64)) - STEPS;
        self.0[(bits * STEPS + within) as usize] += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Nanoseconds that this share of the messages (0 to 1) stayed within.
    pub fn quantile(&self, share: f64) -> u64 {
        let mut left = (self.count() as f64 * share).ceil().max(1.0) as u64;
        for (bucket, count) in self.0.iter().enumerate() {
            if left <= *count {
                let (bits, within) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
                return (STEPS + within) << (bits - u64::from(STEPS.ilog2()));
            }
            left -= count;
        }
        0
    }
}

#[test]
fn quantiles_are_right_to_a_thirtieth() {
    let mut histogram = Histogram::default();
    (1..=100_000_u64).for_each(|value| histogram.add(value * 1_000));
    for (share, expected) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (1.0, 100_000_000.0)] {
        let found = histogram.quantile(share) as f64;
        assert!((found / expected - 1.0).abs() < 1.0 / 30.0, "{share}: {found}");
    }
}
