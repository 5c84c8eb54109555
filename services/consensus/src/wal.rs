//! The write-ahead log's file: what this node has signed and seen at the height that it is deciding.
//!
//! A record is its length, the first eight octets of its SHA-256 and its canonical bytes. The file holds one
//! height; the next begins by truncating it. Records of lower heights, left by a crash in between, are skipped.

use consilium_bft::{Body, RecoveredBody, Recovery};
use consilium_domain::{CanonError, Canonical, Decoder, Digest, Encoder};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8] = b"consilium wal 1\n";
const SUM: usize = 8;
/// Above any body and its frame.
const MAX_RECORD: usize = 96 * 1024 * 1024;

/// One durable output of the agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Entry { height: u64, entry: Vec<u8> },
    Body { height: u64, built_for: Option<u32>, body: Body },
}

impl Canonical for Record {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Entry { height, entry } => out.u8(1).u64(*height).bytes(entry),
            Self::Body { height, built_for, body } => {
                out.u8(2).u64(*height).option(built_for.as_ref()).bytes(body)
            }
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let kind = input.u8("record kind")?;
        let height = input.u64("height")?;
        match kind {
            1 => Ok(Self::Entry { height, entry: input.bytes(MAX_RECORD, "entry")?.to_vec() }),
            2 => {
                let built_for = input.option("built for")?;
                Ok(Self::Body { height, built_for, body: Body::from(input.bytes(MAX_RECORD, "body")?) })
            }
            value => Err(CanonError::Unknown { field: "record kind", value: u64::from(value) }),
        }
    }
}

/// What a start finds.
#[derive(Debug)]
pub struct Opened {
    pub wal: Wal,
    pub records: Vec<Record>,
    /// There was no file, or it is damaged before its end: votes may be forgotten, so the node must not sign
    /// until the chain is past them.
    pub lost: bool,
}

/// The open file, positioned at its end.
#[derive(Debug)]
pub struct Wal {
    file: File,
    dirty: bool,
}

impl Wal {
    /// Reads the file, or makes it. A torn last record (one that no sync had covered) is cut off.
    pub fn open(path: &Path) -> io::Result<Opened> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, good, lost) = scan(&bytes);
        let mut wal = Self { file, dirty: false };
        if good < MAGIC.len() {
            wal.file.set_len(0)?;
            wal.file.seek(SeekFrom::Start(0))?;
            wal.file.write_all(MAGIC)?;
            wal.file.sync_all()?;
            if let Some(folder) = path.parent() {
                // The file's name is durable only once its folder is.
                File::open(folder)?.sync_all()?;
            }
        } else {
            let end = u64::try_from(good).unwrap_or(u64::MAX);
            wal.file.set_len(end)?;
            wal.file.seek(SeekFrom::Start(end))?;
        }
        Ok(Opened { wal, records, lost })
    }

    /// Appends; durable only after [`Wal::sync`].
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let payload = record.to_canonical();
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a record is over 4 GiB"))?;
        let mut frame = Vec::with_capacity(payload.len() + 4 + SUM);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&sum(&payload));
        frame.extend_from_slice(&payload);
        self.dirty = true;
        self.file.write_all(&frame)
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Begins a height: the block of the last one is durable elsewhere.
    pub fn reset(&mut self) -> io::Result<()> {
        let start = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
        self.file.set_len(start)?;
        self.file.seek(SeekFrom::Start(start))?;
        Ok(())
    }
}

/// What the records say of one height.
pub fn recovery(records: Vec<Record>, of: u64) -> Recovery {
    let mut recovery = Recovery::default();
    for record in records {
        match record {
            Record::Entry { height, entry } if height == of => recovery.wal.push(entry),
            Record::Body { height, built_for, body } if height == of => {
                recovery.bodies.push(RecoveredBody { built_for, body });
            }
            Record::Entry { .. } | Record::Body { .. } => {}
        }
    }
    recovery
}

fn sum(payload: &[u8]) -> [u8; SUM] {
    let mut out = [0; SUM];
    for (to, from) in out.iter_mut().zip(Digest::sha256(&[payload]).0) {
        *to = from;
    }
    out
}

/// The records, the length of the part that is whole, and whether something before the end is damaged.
fn scan(bytes: &[u8]) -> (Vec<Record>, usize, bool) {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return (Vec::new(), 0, true);
    };
    let mut records = Vec::new();
    while !rest.is_empty() {
        let mut input = Decoder::new(rest);
        let frame = (|| {
            let length = input.u32("length")? as usize;
            let expected: [u8; SUM] = input.array("sum")?;
            Ok::<_, CanonError>((expected, input.take(length, "record")?))
        })();
        // The frame reaches beyond the end: it was being written.
        let Ok((expected, payload)) = frame else { break };
        let used = 4 + SUM + payload.len();
        let record = Record::from_canonical(payload).ok().filter(|_| sum(payload) == expected);
        let Some(record) = record else {
            let last = rest.len() == used;
            return (records, bytes.len() - rest.len(), !last);
        };
        records.push(record);
        rest = rest.get(used..).unwrap_or_default();
    }
    (records, bytes.len() - rest.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("consilium-wal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("wal")
    }

    fn records() -> Vec<Record> {
        vec![
            Record::Entry { height: 7, entry: b"vote".to_vec() },
            Record::Body { height: 7, built_for: Some(2), body: Body::from(&b"body"[..]) },
            Record::Body { height: 6, built_for: None, body: Body::from(&b"old"[..]) },
        ]
    }

    fn filled(path: &Path) {
        let mut wal = Wal::open(path).unwrap().wal;
        for record in records() {
            wal.append(&record).unwrap();
        }
        wal.sync().unwrap();
    }

    #[test]
    fn records_come_back_and_a_missing_file_counts_as_lost() {
        let path = path("back");
        assert!(Wal::open(&path).unwrap().lost);
        filled(&path);
        let opened = Wal::open(&path).unwrap();
        assert!(!opened.lost);
        assert_eq!(opened.records, records());
        let recovery = recovery(opened.records, 7);
        assert_eq!((recovery.wal.len(), recovery.bodies.len()), (1, 1));
    }

    #[test]
    fn a_cut_anywhere_keeps_whole_records_and_new_ones_follow_them() {
        let path = path("cut");
        filled(&path);
        let whole = std::fs::read(&path).unwrap();
        for cut in MAGIC.len()..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut opened = Wal::open(&path).unwrap();
            assert!(!opened.lost, "cut at {cut}");
            assert_eq!(opened.records, records()[..opened.records.len()]);
            let more = Record::Entry { height: 8, entry: vec![1] };
            opened.wal.append(&more).unwrap();
            assert_eq!(Wal::open(&path).unwrap().records.last(), Some(&more));
        }
    }

    #[test]
    fn damage_before_the_end_counts_as_lost() {
        let path = path("damage");
        filled(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[MAGIC.len() + 4 + SUM] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Wal::open(&path).unwrap().lost);
        assert!(!Wal::open(&path).unwrap().lost, "it was cut off at the damage");
    }

    #[test]
    fn a_reset_forgets() {
        let path = path("reset");
        filled(&path);
        let mut opened = Wal::open(&path).unwrap();
        opened.wal.reset().unwrap();
        opened.wal.append(&records()[0]).unwrap();
        assert_eq!(Wal::open(&path).unwrap().records, records()[..1]);
    }
}
