//! The write-ahead log's file: what this node has signed and seen at the height that it is deciding, and the blocks
//! that are decided and not yet durable in the store.
//!
//! The file is laid out once at its full size and written over from the start again and again: making an overwrite
//! durable costs a fraction of making a growing file durable, as the file system need not write its own log.
//!
//! ```text
//! magic (16) generation (8, big-endian) sum (8)      header: which pass over the file this is
//! mark (8) length (4) sum (8) record                  one frame each
//! ```
//!
//! Mark and sums depend on the generation, so what an earlier pass has left behind is no frame. A record that a crash
//! has cut short ends the log; a whole one behind a broken one means damage.

use consilium_bft::{Body, RecoveredBody, Recovery};
use consilium_domain::block::CommitCertificate;
use consilium_domain::{CanonError, Canonical, Decoder, Digest, Encoder};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 16] = b"consilium wal 2\n";
const SUM: usize = 8;
const HEADER: usize = MAGIC.len() + 8 + SUM;
const FRAME: usize = SUM + 4 + SUM;
/// Above any body and its frame.
const MAX_RECORD: usize = 96 * 1024 * 1024;
/// Bytes laid out in advance.
const SIZE: usize = if cfg!(test) { 16 * 1024 } else { 16 * 1024 * 1024 };
/// Bytes after which the blocks in the log had better be made durable in the store, and the log begun again.
const LONG: u64 = (SIZE / 2) as u64;

/// One durable output of the agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Entry {
        height: u64,
        entry: Vec<u8>,
    },
    Body {
        height: u64,
        built_for: Option<u32>,
        body: Body,
    },
    /// The body that this certificate names, in the log before it, is the block of its height.
    Decided(CommitCertificate),
}

impl Canonical for Record {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Entry { height, entry } => out.u8(1).u64(*height).bytes(entry),
            Self::Body { height, built_for, body } => {
                out.u8(2).u64(*height).option(built_for.as_ref()).bytes(body)
            }
            Self::Decided(certificate) => out.u8(3).value(certificate),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("record kind")? {
            1 => {
                let height = input.u64("height")?;
                Ok(Self::Entry { height, entry: input.bytes(MAX_RECORD, "entry")?.to_vec() })
            }
            2 => {
                let height = input.u64("height")?;
                let built_for = input.option("built for")?;
                Ok(Self::Body { height, built_for, body: Body::from(input.bytes(MAX_RECORD, "body")?) })
            }
            3 => input.value().map(Self::Decided),
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
    generation: u64,
    at: u64,
    dirty: bool,
}

impl Wal {
    /// Reads the file, or makes it. A torn last record (one that no sync had covered) is written over.
    ///
    /// `note` is called before a lost log is begun again: after a crash just then, nothing else would know of the loss.
    pub fn open(path: &Path, note: impl FnOnce() -> io::Result<()>) -> io::Result<Opened> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let generation = generation_of(&bytes);
        let (records, good, lost) = generation.map_or((Vec::new(), 0, true), |g| scan(&bytes, g));
        if lost {
            note()?;
        }
        let mut wal = Self { file, generation: generation.unwrap_or(0), at: position(good), dirty: false };
        if bytes.len() < SIZE {
            // Real zeros, not a hole: a hole would have to be filled at every sync.
            wal.file.seek(SeekFrom::Start(position(bytes.len())))?;
            wal.file.write_all(&vec![0; SIZE - bytes.len()])?;
            wal.file.sync_all()?;
        }
        if lost {
            // Whatever is there is not to be taken for a whole log at the next start.
            wal.reset()?;
            for record in &records {
                wal.append(record)?;
            }
            wal.sync()?;
            if let Some(folder) = path.parent() {
                // The file's name is durable only once its folder is.
                File::open(folder)?.sync_all()?;
            }
        }
        wal.file.seek(SeekFrom::Start(wal.at))?;
        Ok(Opened { wal, records, lost })
    }

    /// Appends; durable only after [`Wal::sync`].
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let payload = record.to_canonical();
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a record is over 4 GiB"))?;
        let mut frame = Vec::with_capacity(payload.len() + FRAME);
        frame.extend_from_slice(&mark(self.generation));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&sum(self.generation, &payload));
        frame.extend_from_slice(&payload);
        self.dirty = true;
        self.at += position(frame.len());
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

    /// Whether it is time for a [`Wal::reset`].
    pub fn is_long(&self) -> bool {
        self.at > LONG
    }

    /// Begins again: all decided blocks are durable elsewhere, and no height is under way.
    pub fn reset(&mut self) -> io::Result<()> {
        self.generation += 1;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.generation))?;
        self.at = position(HEADER);
        // One sector, so it is there whole or not at all; only then may frames of the new pass follow.
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }
}

fn position(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn header(generation: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(&sum(generation, MAGIC));
    out
}

fn generation_of(bytes: &[u8]) -> Option<u64> {
    let found = bytes.get(..HEADER)?;
    let generation = u64::from_be_bytes(*found.get(MAGIC.len()..)?.first_chunk::<8>()?);
    (found == header(generation)).then_some(generation)
}

/// What the log says of the height `of`, which is not decided.
pub fn recovery(records: &[Record], of: u64) -> Recovery {
    let mut recovery = Recovery::default();
    for record in records {
        match record {
            Record::Entry { height, entry } if *height == of => recovery.wal.push(entry.clone()),
            Record::Body { height, built_for, body } if *height == of => {
                recovery.bodies.push(RecoveredBody { built_for: *built_for, body: body.clone() });
            }
            Record::Entry { .. } | Record::Body { .. } | Record::Decided(_) => {}
        }
    }
    recovery
}

/// The decided blocks of the log in order, with their bodies; `identify` gives a body's id.
pub fn decided(
    records: &[Record],
    identify: impl Fn(&[u8]) -> Option<Digest>,
) -> Vec<(CommitCertificate, Option<Body>)> {
    let mut out = Vec::new();
    for record in records {
        let Record::Decided(certificate) = record else { continue };
        let body = records.iter().find_map(|r| match r {
            Record::Body { height, body, .. }
                if *height == certificate.height.0 && identify(body) == Some(certificate.block) =>
            {
                Some(body.clone())
            }
            _ => None,
        });
        out.push((certificate.clone(), body));
    }
    out
}

fn mark(generation: u64) -> [u8; SUM] {
    short(&Digest::sha256(&[b"frame", &generation.to_be_bytes()]))
}

fn sum(generation: u64, payload: &[u8]) -> [u8; SUM] {
    short(&Digest::sha256(&[&generation.to_be_bytes(), payload]))
}

fn short(digest: &Digest) -> [u8; SUM] {
    let mut out = [0; SUM];
    out.iter_mut().zip(digest.0).for_each(|(to, from)| *to = from);
    out
}

/// The record of the frame at the beginning of `bytes`, and the frame's length.
fn frame(bytes: &[u8], generation: u64) -> Option<(Record, usize)> {
    let mut input = Decoder::new(bytes);
    let found: [u8; SUM] = input.array("mark").ok()?;
    let length = input.u32("length").ok()? as usize;
    let expected: [u8; SUM] = input.array("sum").ok()?;
    let payload = input.take(length, "record").ok()?;
    if found != mark(generation) || sum(generation, payload) != expected {
        return None;
    }
    Some((Record::from_canonical(payload).ok()?, FRAME + length))
}

/// The whole records, where they end, and whether whole ones follow behind a broken one.
fn scan(bytes: &[u8], generation: u64) -> (Vec<Record>, usize, bool) {
    let (mut records, mut at) = (Vec::new(), HEADER);
    while let Some((record, used)) = bytes.get(at..).and_then(|rest| frame(rest, generation)) {
        records.push(record);
        at += used;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let mark = mark(generation);
    let marked = rest.windows(SUM).enumerate().filter(|(_, window)| *window == mark);
    let mut behind = marked.filter_map(|(place, _)| rest.get(place..));
    let lost = behind.any(|rest| frame(rest, generation).is_some());
    (records, at, lost)
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

    fn certificate(block: &[u8]) -> CommitCertificate {
        let block = Digest::sha256(&[block]);
        CommitCertificate { height: consilium_domain::Height(6), round: 0, block, signatures: Vec::new() }
    }

    fn records() -> Vec<Record> {
        vec![
            Record::Entry { height: 7, entry: b"vote".to_vec() },
            Record::Body { height: 7, built_for: Some(2), body: Body::from(&b"body"[..]) },
            Record::Body { height: 6, built_for: None, body: Body::from(&b"old"[..]) },
            Record::Decided(certificate(b"old")),
        ]
    }

    fn filled(path: &Path) {
        let mut wal = Wal::open(path, || Ok(())).unwrap().wal;
        for record in records() {
            wal.append(&record).unwrap();
        }
        wal.sync().unwrap();
    }

    /// Length of what is written.
    fn used(path: &Path) -> usize {
        let bytes = std::fs::read(path).unwrap();
        scan(&bytes, generation_of(&bytes).unwrap()).1
    }

    #[test]
    fn records_come_back_and_a_missing_file_counts_as_lost() {
        let path = path("back");
        assert!(Wal::open(&path, || Ok(())).unwrap().lost);
        filled(&path);
        let opened = Wal::open(&path, || Ok(())).unwrap();
        assert!(!opened.lost);
        assert_eq!(opened.records, records());
        let recovery = recovery(&opened.records, 7);
        assert_eq!((recovery.wal.len(), recovery.bodies.len()), (1, 1));
        let identify = |body: &[u8]| Some(Digest::sha256(&[body]));
        let old = Body::from(&b"old"[..]);
        assert_eq!(decided(&opened.records, identify), [(certificate(b"old"), Some(old))]);
    }

    #[test]
    fn a_cut_anywhere_keeps_whole_records_and_new_ones_follow_them() {
        let path = path("cut");
        filled(&path);
        let (whole, end) = (std::fs::read(&path).unwrap(), used(&path));
        for cut in HEADER..end {
            // Both what a crash leaves of a growing file and of one that was laid out in advance.
            let mut bytes = whole[..cut].to_vec();
            if cut % 2 == 0 {
                bytes.resize(end + 64, 0);
            }
            std::fs::write(&path, &bytes).unwrap();
            let mut opened = Wal::open(&path, || Ok(())).unwrap();
            assert!(!opened.lost, "cut at {cut}");
            assert_eq!(opened.records, records()[..opened.records.len()]);
            let more = Record::Entry { height: 8, entry: vec![1] };
            opened.wal.append(&more).unwrap();
            assert_eq!(Wal::open(&path, || Ok(())).unwrap().records.last(), Some(&more));
        }
    }

    #[test]
    fn damage_before_the_end_counts_as_lost() {
        let path = path("damage");
        filled(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER + FRAME] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Wal::open(&path, || Ok(())).unwrap().lost);
        assert!(!Wal::open(&path, || Ok(())).unwrap().lost, "it was begun again at the damage");
        bytes[0] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Wal::open(&path, || Ok(())).unwrap().lost);
    }

    #[test]
    fn a_reset_forgets_and_the_pass_before_does_not_show_through() {
        let path = path("reset");
        filled(&path);
        let mut opened = Wal::open(&path, || Ok(())).unwrap();
        opened.wal.reset().unwrap();
        assert!(Wal::open(&path, || Ok(())).unwrap().records.is_empty());
        opened.wal.append(&records()[0]).unwrap();
        let again = Wal::open(&path, || Ok(())).unwrap();
        assert_eq!((again.records.as_slice(), again.lost), (&records()[..1], false));
    }

    #[test]
    fn it_grows_where_one_height_needs_more_than_was_laid_out() {
        let path = path("grows");
        let mut wal = Wal::open(&path, || Ok(())).unwrap().wal;
        let large = Record::Body { height: 1, built_for: None, body: Body::from(vec![7; SIZE / 3]) };
        for _ in 0..4 {
            wal.append(&large).unwrap();
        }
        wal.sync().unwrap();
        assert!(wal.is_long());
        assert_eq!(Wal::open(&path, || Ok(())).unwrap().records.len(), 4);
    }
}
