//! Public draws: what everybody computes from a seed and nobody can choose.

use crate::canon::Encoder;
use crate::digest::Digest;

/// Uniform integers from SHA-256 in counter mode over a seed, with rejection. The same everywhere for the same seed;
/// who knows the seed knows the draws.
#[derive(Debug, Clone)]
pub struct Draws {
    seed: Digest,
    counter: u64,
}

impl Draws {
    /// `tag` names the purpose, so that no two purposes share their draws; `about` holds the canonical bytes of what is
    /// drawn for, the seed included.
    pub fn new(tag: &str, about: Encoder) -> Self {
        Self { seed: Digest::tagged(tag, &about.into_bytes()), counter: 0 }
    }

    fn next(&mut self) -> u64 {
        let Digest(bytes) = Digest::sha256(&[&self.seed.0, &self.counter.to_be_bytes()]);
        self.counter = self.counter.wrapping_add(1);
        let mut head = [0; 8];
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        u64::from_be_bytes(head)
    }

    /// An integer below `bound` (0 counts as 1), by rejection: a draw from the incomplete last stretch is thrown away,
    /// so no remainder is likelier than another.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        let whole = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.next();
            if draw < whole {
                return usize::try_from(draw % bound).unwrap_or(0);
            }
        }
    }

    /// Every order equally likely (Fisher–Yates, from the end).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i.saturating_add(1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(tag: &str, number: u64) -> Draws {
        let mut about = Encoder::default();
        about.u64(number);
        Draws::new(tag, about)
    }

    #[test]
    fn all_orders_come_equally_often() {
        let mut seen = std::collections::BTreeMap::new();
        let rounds = 12_000;
        for n in 0..rounds {
            let mut list = [0, 1, 2, 3];
            draws("test", n).shuffle(&mut list);
            *seen.entry(list).or_insert(0_u64) += 1;
        }
        assert_eq!(seen.len(), 24);
        // 500 each on average, standard deviation 22.
        assert!(seen.values().all(|count| (390..=610).contains(count)), "{seen:?}");
    }

    #[test]
    fn draws_depend_on_tag_and_content_and_on_nothing_else() {
        let first = |tag, number| draws(tag, number).below(usize::MAX);
        assert_eq!(first("a", 1), first("a", 1));
        assert_ne!(first("a", 1), first("a", 2));
        assert_ne!(first("a", 1), first("b", 1));
        assert_eq!([draws("a", 1).below(0), draws("a", 1).below(1)], [0, 0]);
    }
}
