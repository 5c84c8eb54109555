//! Randomness that repeats.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A generator whose output depends on `seed` alone, on every machine.
pub fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::RngCore;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(seeded(7).next_u64(), seeded(7).next_u64());
        assert_ne!(seeded(7).next_u64(), seeded(8).next_u64());
    }
}
