//! The pairs: 32-octet keys without order, values of about 200 octets that do not compress, both a function of a number.

use std::path::Path;

/// splitmix64 (Steele, Lea, Flood 2014).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn octets(seed: u64, length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64).flat_map(|i| mix(seed ^ mix(i)).to_le_bytes()).take(length).collect()
}

pub fn key(number: u64) -> Vec<u8> {
    octets(number, 32)
}

/// Also a function of the version, so that an old value is noticed.
pub fn value(number: u64, version: u64) -> Vec<u8> {
    let seed = mix(number).wrapping_add(mix(version ^ 0x5bd1_e995));
    octets(seed, 180 + usize::try_from(seed % 41).expect("small"))
}

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % sides
    }
}

/// Octets that a folder takes on the disk.
pub fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    files(folder).iter().map(|f| f.metadata().map_or(0, |m| m.blocks() * 512)).sum()
}

pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

/// A line of /proc/self/status, in MiB.
pub fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Seconds of CPU time of this process.
pub fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let at = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (at(11) + at(12)) / 100.0
}
