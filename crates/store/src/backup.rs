//! A backup of a key-value store in one file: the pairs of a range as one read view shows them, however much is written
//! meanwhile.
//!
//! ```text
//! "consilium backup 1\n"
//! length (4, big-endian) payload digest (32)      pieces; the last has length 0
//! ```
//!
//! A payload is a number of pairs (four octets) and the pairs in ascending order, key and value each with a length of
//! four octets. The digest is SHA-256 over the
//! digest of the piece before (32 zeros at first) and the payload, so that no piece can be changed, left out, repeated
//! or moved, and the end cannot be cut off, without it being noticed. **Not encrypted, not signed**: whoever can
//! write the file can make another that is sound. Keep it where the store itself could be kept.

use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use consilium_domain::{CanonError, Decoder, Digest, Encoder};
use std::io::{self, Read};
use thiserror::Error;

const MAGIC: &[u8] = b"consilium backup 1\n";
/// Pairs read from the view at a time.
const READ: usize = 2_000;
/// Octets of a payload after which a piece is full; one pair may exceed it.
const FULL: usize = 1024 * 1024;
/// Above any piece.
const MOST: usize = 256 * 1024 * 1024;

/// Why a backup could not be made or is of no use.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("the backup's file failed: {0}")]
    Io(#[from] io::Error),
    #[error("the file is no backup of this version")]
    Format,
    #[error("the backup is damaged at octet {0}: take another one")]
    Damaged(u64),
    #[error("the store that is to be restored into is not empty")]
    NotEmpty,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub pairs: u64,
    /// Octets of the file.
    pub bytes: u64,
}

fn chain(before: &Digest, payload: &[u8]) -> Digest {
    Digest::sha256(&[&before.0, payload])
}

/// Writes the pairs with `from <= key < to`. Making the file durable is up to the caller.
///
/// # Errors
/// When the view or the file fails.
pub fn write(
    view: &dyn KvView,
    from: &[u8],
    to: &[u8],
    out: &mut dyn io::Write,
) -> Result<Contents, BackupError> {
    let mut contents = Contents { pairs: 0, bytes: MAGIC.len() as u64 };
    out.write_all(MAGIC)?;
    let (mut from, mut digest) = (from.to_vec(), Digest([0; 32]));
    let (mut waiting, mut filled) = (Vec::<Pair>::new(), 0);
    loop {
        let pairs = view.scan(&from, to, READ)?;
        // The next key after the last one.
        let Some(next) = pairs.last().map(|(key, _)| [key.as_slice(), &[0]].concat()) else { break };
        from = next;
        for pair in pairs {
            filled += pair.0.len() + pair.1.len();
            contents.pairs += 1;
            waiting.push(pair);
            if filled >= FULL {
                piece(&payload(&waiting), &mut digest, &mut contents, out)?;
                waiting.clear();
                filled = 0;
            }
        }
    }
    if !waiting.is_empty() {
        piece(&payload(&waiting), &mut digest, &mut contents, out)?;
    }
    piece(&[], &mut digest, &mut contents, out)?;
    Ok(contents)
}

fn payload(pairs: &[Pair]) -> Vec<u8> {
    let mut out = Encoder::default();
    out.u32(u32::try_from(pairs.len()).unwrap_or(u32::MAX));
    for (key, value) in pairs {
        out.bytes(key).bytes(value);
    }
    out.into_bytes()
}

fn pairs(payload: &[u8]) -> Result<Vec<Pair>, CanonError> {
    let mut input = Decoder::new(payload);
    let count = input.u32("pairs")?;
    let mut out = Vec::new();
    for _ in 0..count {
        out.push((input.bytes(MOST, "key")?.to_vec(), input.bytes(MOST, "value")?.to_vec()));
    }
    input.finish()?;
    Ok(out)
}

fn piece(
    payload: &[u8],
    digest: &mut Digest,
    contents: &mut Contents,
    out: &mut dyn io::Write,
) -> Result<(), BackupError> {
    *digest = chain(digest, payload);
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a value is over 4 GiB"))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(payload)?;
    out.write_all(&digest.0)?;
    contents.bytes += payload.len() as u64 + 36;
    Ok(())
}

/// Reads a whole backup, piece by piece; says what it holds. What has been handed out before an error is of no use.
fn read(
    input: &mut dyn Read,
    mut each: impl FnMut(Vec<Pair>) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let mut magic = vec![0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(|_| BackupError::Format)?;
    if magic != MAGIC {
        return Err(BackupError::Format);
    }
    let mut contents = Contents { pairs: 0, bytes: MAGIC.len() as u64 };
    let mut digest = Digest([0; 32]);
    loop {
        let damaged = || BackupError::Damaged(contents.bytes);
        let (mut length, mut found) = ([0; 4], Digest([0; 32]));
        input.read_exact(&mut length).map_err(|_| damaged())?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| damaged())?;
        if length > MOST {
            return Err(damaged());
        }
        let mut payload = Vec::new();
        input.take(length as u64).read_to_end(&mut payload)?;
        input.read_exact(&mut found.0).map_err(|_| damaged())?;
        digest = chain(&digest, &payload);
        if payload.len() != length || digest != found {
            return Err(damaged());
        }
        if length == 0 {
            contents.bytes += 36;
            return Ok(contents);
        }
        let pairs = pairs(&payload).map_err(|_| damaged())?;
        contents.pairs += pairs.len() as u64;
        contents.bytes += payload.len() as u64 + 36;
        each(pairs)?;
    }
}

/// Reads a backup through without using it.
///
/// # Errors
/// When it is damaged.
pub fn check(input: &mut dyn Read) -> Result<Contents, BackupError> {
    read(input, |_| Ok(()))
}

/// Fills an empty store, durably. Check the file first: a damaged one leaves a store that is half full.
///
/// # Errors
/// When the file is damaged, or the store fails or is not empty.
pub fn restore(input: &mut dyn Read, kv: &dyn Kv) -> Result<Contents, BackupError> {
    if !kv.scan(&[], &[0xff; 64], 1)?.is_empty() {
        return Err(BackupError::NotEmpty);
    }
    let contents = read(input, |pairs| {
        let batch: Vec<Write> = pairs.into_iter().map(|(key, value)| Write::Put(key, value)).collect();
        Ok(kv.write(&batch, false)?)
    })?;
    kv.write(&[], true)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_testkit::MemoryKv;

    fn filled() -> MemoryKv {
        let kv = MemoryKv::default();
        let put = |i: u32| Write::Put([&b"k"[..], &i.to_be_bytes()].concat(), vec![7; 600]);
        kv.write(&(0..5_000).map(put).collect::<Vec<_>>(), true).unwrap();
        kv.write(&[Write::Put(b"outside".to_vec(), Vec::new())], true).unwrap();
        kv
    }

    fn backup(kv: &MemoryKv) -> (Vec<u8>, Contents) {
        let mut file = Vec::new();
        let contents = write(kv.view().unwrap().as_ref(), b"k", b"l", &mut file).unwrap();
        (file, contents)
    }

    #[test]
    fn a_store_comes_back_as_the_view_showed_it() {
        let kv = filled();
        let view = kv.view().unwrap();
        kv.write(&[Write::Delete(b"k\0\0\0\0".to_vec())], true).unwrap();
        let mut file = Vec::new();
        let contents = write(view.as_ref(), b"k", b"l", &mut file).unwrap();
        assert_eq!(contents, Contents { pairs: 5_000, bytes: file.len() as u64 });
        assert_eq!(check(&mut file.as_slice()).unwrap(), contents);
        let other = MemoryKv::default();
        assert_eq!(restore(&mut file.as_slice(), &other).unwrap(), contents);
        assert_eq!(Kv::scan(&other, b"", b"z", 9_999).unwrap(), view.scan(b"k", b"l", 9_999).unwrap());
        assert!(matches!(restore(&mut file.as_slice(), &other), Err(BackupError::NotEmpty)));
    }

    #[test]
    fn every_damage_is_noticed() {
        let (file, _) = backup(&filled());
        for at in (0..file.len()).step_by(99_991).chain(file.len() - 40..file.len()) {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(check(&mut bad.as_slice()).is_err(), "octet {at} changed");
            assert!(check(&mut &file[..at]).is_err(), "cut at {at}");
        }
        // Two pieces swapped.
        let first = MAGIC.len();
        let length = |at: usize| u32::from_be_bytes(*file[at..].first_chunk().unwrap()) as usize + 36;
        let second = first + length(first);
        let third = second + length(second);
        let swapped = [&file[..first], &file[second..third], &file[first..second], &file[third..]].concat();
        assert!(check(&mut swapped.as_slice()).is_err());
    }
}
