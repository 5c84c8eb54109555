//! Where randomness comes from: the operating system in production, a seed in simulations.

use rand_core::{CryptoRng, CryptoRngCore, RngCore};
use std::fmt;
use std::sync::Arc;

type Source = dyn Fn() -> Box<dyn CryptoRngCore + Send> + Send + Sync;

/// A factory of random number generators.
#[derive(Clone)]
pub struct Entropy(Arc<Source>);

impl Entropy {
    /// Generators that read the operating system's source on every draw.
    pub fn system() -> Self {
        Self(Arc::new(|| Box::new(SystemRng)))
    }

    /// Generators made by `source`, for tests and simulations.
    pub fn from_fn(source: impl Fn() -> Box<dyn CryptoRngCore + Send> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// A generator of one's own.
    pub fn rng(&self) -> Rng {
        Rng((self.0)())
    }

    /// `N` random octets.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.rng().fill_bytes(&mut out);
        out
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// A cryptographic random number generator.
pub struct Rng(Box<dyn CryptoRngCore + Send>);

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(dest)
    }
}

impl CryptoRng for Rng {}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

struct SystemRng;

impl RngCore for SystemRng {
    fn next_u32(&mut self) -> u32 {
        let mut out = [0; 4];
        self.fill_bytes(&mut out);
        u32::from_le_bytes(out)
    }
    fn next_u64(&mut self) -> u64 {
        let mut out = [0; 8];
        self.fill_bytes(&mut out);
        u64::from_le_bytes(out)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        if let Err(error) = getrandom::fill(dest) {
            // There is no safe way on: a key drawn from a failing source is a disclosed key.
            tracing::error!(%error, "the operating system gives no randomness: stopping");
            std::process::abort();
        }
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for SystemRng {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let entropy = Entropy::system();
        assert_ne!(entropy.bytes::<32>(), entropy.bytes::<32>());
        assert_ne!(entropy.rng().next_u64(), entropy.rng().next_u64());
    }
}
