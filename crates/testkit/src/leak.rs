//! Whether the time of an operation depends on a secret: the test of Reparaz, Balasch and Verbauwhede ("Dude, is my code
//! constant time?", DATE 2017).
//!
//! The operation runs on inputs of two classes, chosen at random each time: say a fixed secret and random ones. Welch's
//! t-test asks whether the two sets of times may have the same mean. As interrupts only ever add time, the test is
//! repeated on the samples below several percentiles, and the largest |t| counts.

use std::fmt;

/// Above this |t| there is a leak (the paper's bound for certainty; 4.5 would be a hint).
pub const LEAK: f64 = 10.0;
/// Times of an operation, each with the class of its input.
#[derive(Debug, Default, Clone)]
pub struct Times {
    samples: Vec<(bool, u64)>,
}

/// What the test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The largest |t| over all percentiles.
    pub t: f64,
    /// How many samples there were.
    pub samples: usize,
    /// The percentile below which samples counted for that t; 100 for all.
    pub percentile: f64,
}

impl Finding {
    /// Whether |t| is above [`LEAK`].
    pub fn leaks(&self) -> bool {
        self.t > LEAK
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.leaks() { "LEAK" } else { "no leak found" };
        write!(
            f,
            "max |t| {:.2} (below percentile {:.1}) of {} samples: {verdict}",
            self.t, self.percentile, self.samples
        )
    }
}

/// Count, mean and sum of squared differences, by Welford's method.
#[derive(Default, Clone, Copy)]
struct Class {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Class {
    fn push(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Welch's |t| of two classes; zero where one has too few samples to say.
fn welch(samples: impl Iterator<Item = (bool, u64)>) -> f64 {
    const FEWEST: f64 = 100.0;
    let (mut left, mut right) = (Class::default(), Class::default());
    for (class, time) in samples {
        let side = if class { &mut left } else { &mut right };
        side.push(time as f64);
    }
    let spread = left.error() + right.error();
    if left.count < FEWEST || right.count < FEWEST {
        return 0.0;
    }
    let distance = (left.mean - right.mean).abs();
    if spread > 0.0 {
        distance / spread.sqrt()
    } else if distance > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

impl Times {
    /// Adds the time of one operation, in any unit, on an input of one of the two classes.
    pub fn push(&mut self, class: bool, time: u64) {
        self.samples.push((class, time));
    }

    /// The largest |t| over the whole and twenty percentiles between 50 and 100.
    pub fn finding(&self) -> Finding {
        let mut sorted: Vec<u64> = self.samples.iter().map(|(_, time)| *time).collect();
        sorted.sort_unstable();
        let mut worst =
            Finding { t: welch(self.samples.iter().copied()), samples: sorted.len(), percentile: 100.0 };
        for step in 0..20 {
            let share = 0.5 + 0.025 * f64::from(step);
            let at = (sorted.len() as f64 * share) as usize;
            let Some(bound) = sorted.get(at) else { continue };
            let t = welch(self.samples.iter().copied().filter(|(_, time)| time < bound));
            if t > worst.t {
                worst = Finding { t, percentile: share * 100.0, ..worst };
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    use super::*;

    /// Times around 1000 with a tail of interrupts; those of one class are `later`.
    fn times(later: u64, seed: u64) -> Times {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut times = Times::default();
        for _ in 0..20_000 {
            let class = rng.next_u32() % 2 == 0;
            let interrupt = if rng.next_u32() % 50 == 0 { u64::from(rng.next_u32() % 100_000) } else { 0 };
            let noise = u64::from(rng.next_u32() % 40) + u64::from(rng.next_u32() % 40);
            times.push(class, 1000 + noise + interrupt + if class { later } else { 0 });
        }
        times
    }

    #[test]
    fn a_difference_far_below_the_noise_is_found() {
        let finding = times(3, 1).finding();
        assert!(finding.leaks(), "{finding}");
        assert!(finding.percentile < 100.0, "interrupts hide it from the whole: {finding}");
    }

    #[test]
    fn equal_times_are_no_leak() {
        for seed in 2..12 {
            let finding = times(0, seed).finding();
            assert!(finding.t < 5.0, "{finding}");
        }
    }

    #[test]
    fn t_is_that_of_welch() {
        // Means 2 and 4, sample variances 100/99 each: t = 2 / sqrt(2 / 99).
        let samples = (0..200u64).map(|i| (i % 2 == 0, if i % 2 == 0 { 1 + i % 4 } else { 3 + (i - 1) % 4 }));
        let expected = 2.0 / (2.0f64 / 99.0).sqrt();
        assert!((welch(samples) - expected).abs() < 1e-9);
        assert_eq!(welch((0..50u64).map(|i| (i % 2 == 0, i % 2))), 0.0);
    }
}
