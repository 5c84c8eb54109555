//! Checkpoints of the ledger log as C2SP writes them, cosigned by the members.
//!
//! The text is a tlog-checkpoint (origin, size, root) in a signed-note; each member's cosignature is a
//! tlog-cosignature/v1: Ed25519, by its `cosign` key, over `cosignature/v1`, a time and the text. The time is the one of
//! the block whose header commits to that size and root, in seconds: a member that signs again after a crash signs the
//! very same bytes.

use crate::committee;
use crate::sign::{self, SigningKey};
use consilium_domain::block::Header;
use consilium_domain::genesis::Member;
use consilium_domain::{ChannelId, Digest, OrgId, PublicKey, Signature};
use thiserror::Error;

/// Longest note: text and one cosignature of every member.
pub const MAX_NOTE: usize = 64 * 1024;
/// Signature type of a cosignature (c2sp.org/signed-note).
const COSIGNATURE: u8 = 0x04;
/// What begins a signature line: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// Why a note shows nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CheckpointError {
    #[error("the note is no checkpoint of at most {MAX_NOTE} bytes")]
    Malformed,
    #[error("the checkpoint is of another log than `{0}`")]
    OtherOrigin(String),
    #[error("the cosignature of `{0}` does not verify")]
    BadCosignature(OrgId),
    #[error("{have} members have cosigned, {need} are needed")]
    NoQuorum { have: usize, need: usize },
}

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub size: u64,
    pub root: Digest,
}

/// Name of a channel's ledger log.
pub fn origin(channel: &ChannelId) -> String {
    format!("consilium.example/ledger/{channel}")
}

/// Name of a member's cosigning key.
pub fn cosigner(channel: &ChannelId, organisation: &OrgId) -> String {
    format!("consilium.example/cosigner/{channel}/{organisation}")
}

/// The text of the checkpoint to which a header commits: the log after the block before it.
pub fn text(header: &Header) -> String {
    let root = base64(&header.log_root.0);
    format!("{}\n{}\n{root}\n", origin(&header.channel), header.log_size)
}

/// A member's cosignature of the checkpoint to which a committed header commits, as a line of a note.
pub fn cosign(key: &SigningKey, organisation: &OrgId, header: &Header) -> String {
    let (text, time) = (text(header), header.time.0 / 1000);
    let name = cosigner(&header.channel, organisation);
    // timestamped_signature: time in seconds, big-endian, then the signature.
    let mut bytes = key_id(&name, &key.public()).to_vec();
    bytes.extend_from_slice(&time.to_be_bytes());
    bytes.extend_from_slice(&key.sign(&message(time, &text)).0);
    format!("{DASH}{name} {}\n", base64(&bytes))
}

/// The note: text, empty line, cosignatures.
pub fn note(text: &str, cosignatures: &[String]) -> String {
    format!("{text}\n{}", cosignatures.concat())
}

/// The member's key as monitors configure it (`vkey`): name, key id and key.
pub fn verifier_key(channel: &ChannelId, member: &Member) -> String {
    let name = cosigner(channel, &member.organisation);
    let [a, b, c, d] = key_id(&name, &member.cosign);
    let key = [&[COSIGNATURE], member.cosign.0.as_slice()].concat();
    format!("{name}+{a:02x}{b:02x}{c:02x}{d:02x}+{}", base64(&key))
}

/// Checks that more than two thirds of the members have cosigned a checkpoint of this channel's log. Lines of keys
/// that are none of theirs are passed over, as signed-note demands; a bad line of a member's key voids the note.
pub fn verify(
    channel: &ChannelId,
    members: &[Member],
    note: &str,
) -> Result<(Checkpoint, Vec<OrgId>), CheckpointError> {
    if note.len() > MAX_NOTE {
        return Err(CheckpointError::Malformed);
    }
    let (body, lines) = note.split_once("\n\n").ok_or(CheckpointError::Malformed)?;
    let text = format!("{body}\n");
    let mut parts = body.split('\n');
    let (Some(name), Some(size), Some(root), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(CheckpointError::Malformed);
    };
    let expected = origin(channel);
    if name != expected {
        return Err(CheckpointError::OtherOrigin(expected));
    }
    let plain = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
    let size = size.parse().ok().filter(|_| plain).ok_or(CheckpointError::Malformed)?;
    let root = unbase64(root).and_then(|b| Digest::from_slice(&b)).ok_or(CheckpointError::Malformed)?;
    let lines = lines.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
    let mut signers = std::collections::BTreeSet::new();
    for line in lines.split('\n') {
        let line = line.strip_prefix(DASH).ok_or(CheckpointError::Malformed)?;
        let (name, signature) = line.split_once(' ').ok_or(CheckpointError::Malformed)?;
        let bytes = unbase64(signature).ok_or(CheckpointError::Malformed)?;
        let Some(member) = members.iter().find(|m| {
            cosigner(channel, &m.organisation) == name && bytes.starts_with(&key_id(name, &m.cosign))
        }) else {
            continue;
        };
        if !cosigned(&member.cosign, &text, &bytes) {
            return Err(CheckpointError::BadCosignature(member.organisation.clone()));
        }
        signers.insert(member.organisation.clone());
    }
    let (have, need) = (signers.len(), committee::quorum(members.len()));
    if have < need {
        return Err(CheckpointError::NoQuorum { have, need });
    }
    Ok((Checkpoint { size, root }, signers.into_iter().collect()))
}

/// Whether the octets after the key id are a time and a signature over it and the text.
fn cosigned(key: &PublicKey, text: &str, bytes: &[u8]) -> bool {
    let parse = || {
        let (time, signature) = bytes.get(4..)?.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*time), Signature(signature.try_into().ok()?)))
    };
    parse().is_some_and(|(time, signature)| sign::verify(key, &message(time, text), &signature))
}

fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// SHA-256(name ‖ LF ‖ type ‖ key), its first four octets.
fn key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    let [a, b, c, d, ..] = Digest::sha256(&[name.as_bytes(), b"\n", &[COSIGNATURE], &key.0]).0;
    [a, b, c, d]
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let [a, b, c] = group.map(u32::from);
        let bits = a << 16 | b << 8 | c;
        for place in 0..4 {
            let sextet = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            let letter = ALPHABET.get(sextet).copied().unwrap_or(b'A');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The octets of a base 64 text; `None` unless it is their one encoding.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let sextet = ALPHABET.iter().position(|a| *a == letter)?;
        bits = bits << 6 | u32::try_from(sextet).ok()?;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from(bits >> have & 0xff).ok()?);
        }
    }
    (base64(&out) == text).then_some(out)
}
