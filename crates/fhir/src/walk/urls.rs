//! The full urls of a bundle's entries: one step for a look-up, whatever their number.

use crate::tape::key_hash;

/// Entries by full url. Holds numbers only; who asks brings the urls.
///
/// A hash names a bucket; inside a bucket entries are sorted, so that urls made to collide cost a binary search and
/// no more. There is no seed: the result and its cost depend on the document alone.
pub(crate) struct UrlIndex {
    /// Entry numbers by bucket, then url, then number.
    entries: Vec<u32>,
    /// Where each bucket starts in `entries`, and where the last one ends.
    starts: Vec<u32>,
}

impl UrlIndex {
    /// `urls`: that of each entry; `None`: it has none.
    pub(crate) fn new<'u>(urls: impl Iterator<Item = Option<&'u str>>) -> Self {
        let mut rows: Vec<(u32, &'u str, u32)> =
            (0u32..).zip(urls).filter_map(|(at, url)| Some((0, url?, at))).collect();
        let buckets = rows.len().next_power_of_two();
        for row in &mut rows {
            row.0 = bucket(row.1, buckets);
        }
        let mut starts = vec![0u32; buckets + 1];
        for row in &rows {
            if let Some(count) = starts.get_mut(row.0 as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        rows.sort_unstable();
        UrlIndex { entries: rows.into_iter().map(|(_, _, at)| at).collect(), starts }
    }

    fn bucket(&self, at: u32) -> &[u32] {
        let edge = |at: u32| self.starts.get(at as usize).map(|&edge| edge as usize);
        edge(at).zip(edge(at + 1)).and_then(|(from, to)| self.entries.get(from..to)).unwrap_or_default()
    }

    /// The first entry with this url.
    pub(crate) fn find<'u>(&self, url: &str, url_of: impl Fn(usize) -> Option<&'u str>) -> Option<usize> {
        let buckets = self.starts.len().checked_sub(1)?;
        let own = self.bucket(bucket(url, buckets));
        let at = own.partition_point(|&entry| url_of(entry as usize) < Some(url));
        let entry = *own.get(at)? as usize;
        (url_of(entry) == Some(url)).then_some(entry)
    }

    /// Two entries have the same url.
    pub(crate) fn has_repeated<'u>(&self, url_of: impl Fn(usize) -> Option<&'u str>) -> bool {
        let mut pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        pairs.any(|(&a, &b)| url_of(a as usize) == url_of(b as usize))
    }
}

/// Urls differ at their ends: `urn:uuid:` and the like are common to all. `buckets` is a power of two.
fn bucket(url: &str, buckets: usize) -> u32 {
    let (head, tail) = url.as_bytes().split_at(url.len() / 2);
    // Buckets are taken from the upper bits, in which all of a key's bytes have had their say.
    let mixed =
        (u64::from(key_hash(tail)) << 32 | u64::from(key_hash(head))).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let bits = buckets.trailing_zeros();
    if bits == 0 { 0 } else { (mixed >> (64 - bits)) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_entry_of_each_url_and_nothing_else() {
        for count in [0, 1, 2, 3, 100, 1000] {
            let mut urls: Vec<Option<String>> = (0..count)
                .map(|n| Some(format!("urn:uuid:{:08x}-0000-4000-8000-000000000000", n * 7)))
                .collect();
            urls.push(None);
            urls.extend(urls.clone());
            let index = UrlIndex::new(urls.iter().map(Option::as_deref));
            let url_of = |at: usize| urls.get(at).and_then(Option::as_deref);
            for (at, url) in urls.iter().enumerate().take(count) {
                assert_eq!(index.find(url.as_deref().unwrap(), url_of), Some(at));
            }
            assert_eq!(index.find("urn:uuid:none", url_of), None);
            assert_eq!(index.has_repeated(url_of), count > 0);
        }
    }

    #[test]
    fn different_urls_are_no_repetition() {
        let urls: Vec<String> = (0..50).map(|n| format!("http://a.example/Patient/{n}")).collect();
        let index = UrlIndex::new(urls.iter().map(|url| Some(url.as_str())));
        assert!(!index.has_repeated(|at| urls.get(at).map(String::as_str)));
    }
}
