//! One signature over several messages. Whoever has much to sign signs the root of a tree over all of it (RFC 6962) and
//! gives each message the signature with the message's place in the tree. A reader checks a message alone; one who meets
//! many messages of a group checks their common signature once.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::ChannelId;
use crate::merkle::{Inclusion, Levels, leaf_hash};
use crate::sign::{Purpose, Signature};
use serde::{Deserialize, Serialize};

/// Most messages under one signature: a place then has at most ten hashes.
pub const MAX_GROUP: usize = 1024;

/// What is signed. The number of messages stands beside the root: a root alone would let somebody else give a message
/// another place, and so a signed transaction another identity.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    size: u16,
    root: Digest,
}
canonical_struct!(Group { size, root });

/// Where a message stands in its group: index and number (two octets each), then the hashes that lead to the root, as
/// many as these two demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub Inclusion);

impl Place {
    /// The only message of its group.
    pub fn alone() -> Self {
        Self(Inclusion { index: 0, size: 1, path: Vec::new() })
    }
}

impl Canonical for Place {
    fn encode(&self, out: &mut Encoder) {
        // A number that does not fit was never signed: [`GroupSignature::signed_bytes`] refuses it.
        let short = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        out.u16(short(self.0.index)).u16(short(self.0.size));
        for hash in &self.0.path {
            out.value(hash);
        }
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let (index, size) = (u64::from(input.u16("index")?), u64::from(input.u16("size")?));
        if size > MAX_GROUP as u64 {
            return Err(CanonError::TooLong("group"));
        }
        let length = Inclusion::path_length(index, size).ok_or(CanonError::NotCanonical("place"))?;
        let path = (0..length).map(|_| input.value()).collect::<Result<_, _>>()?;
        Ok(Self(Inclusion { index, size, path }))
    }
}

/// A signature that covers a message, alone or among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSignature {
    pub place: Place,
    pub signature: Signature,
}
canonical_struct!(GroupSignature { place, signature });

impl GroupSignature {
    /// The bytes that the signature is over if `message` stands at its place; `None` where the place is none.
    pub fn signed_bytes<T: Canonical>(
        &self,
        purpose: Purpose,
        channel: &ChannelId,
        message: &T,
    ) -> Option<Vec<u8>> {
        self.bytes_over(purpose, channel, &leaf_of(message))
    }

    /// [`GroupSignature::signed_bytes`] of a message whose leaf is known already.
    pub fn bytes_over(&self, purpose: Purpose, channel: &ChannelId, leaf: &Digest) -> Option<Vec<u8>> {
        let size = u16::try_from(self.place.0.size).ok().filter(|n| usize::from(*n) <= MAX_GROUP)?;
        let root = self.place.0.root(leaf)?;
        Some(purpose.bytes(channel, &Group { size, root }))
    }
}

/// A message as a leaf of its group's tree.
pub fn leaf_of<T: Canonical>(message: &T) -> Digest {
    leaf_hash(&message.to_canonical())
}

/// Signs one message with `sign`, which signs bytes.
pub fn sign_alone<T: Canonical>(
    purpose: Purpose,
    channel: &ChannelId,
    message: &T,
    sign: impl Fn(&[u8]) -> Signature,
) -> GroupSignature {
    let group = Group { size: 1, root: leaf_of(message) };
    GroupSignature { place: Place::alone(), signature: sign(&purpose.bytes(channel, &group)) }
}

/// Signs messages together with `sign`, which signs bytes: for each message, in their order, what covers it. Groups are
/// of at most [`MAX_GROUP`]; more messages make more of them.
pub fn sign_together<T: Canonical>(
    purpose: Purpose,
    channel: &ChannelId,
    messages: &[T],
    sign: impl Fn(&[u8]) -> Signature,
) -> Vec<GroupSignature> {
    let mut out = Vec::with_capacity(messages.len());
    for group in messages.chunks(MAX_GROUP) {
        let tree = Levels::new(group.iter().map(leaf_of).collect());
        let size = u16::try_from(group.len()).unwrap_or(u16::MAX);
        let signature = sign(&purpose.bytes(channel, &Group { size, root: tree.root() }));
        let place = |index| tree.inclusion(index).map(Place);
        out.extend((0..group.len()).filter_map(place).map(|place| GroupSignature { place, signature }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Stands for a signature: a digest of the bytes.
    fn seal(bytes: &[u8]) -> Signature {
        let digest = Digest::sha256(&[bytes]).0;
        let mut out = [0; 64];
        out[..32].copy_from_slice(&digest);
        Signature(out)
    }

    fn covers(s: &GroupSignature, message: u64) -> bool {
        let bytes = s.signed_bytes(Purpose::Attestation, &channel(), &message);
        bytes.is_some_and(|bytes| seal(&bytes) == s.signature)
    }

    fn channel() -> ChannelId {
        ChannelId::new("test").unwrap()
    }

    #[test]
    fn each_message_is_covered_and_no_other_and_nowhere_else() {
        for n in [1_u64, 2, 3, 5, 7, 8, 33] {
            let messages: Vec<u64> = (0..n).collect();
            let all = sign_together(Purpose::Attestation, &channel(), &messages, seal);
            if n == 1 {
                assert_eq!(all, [sign_alone(Purpose::Attestation, &channel(), &0_u64, seal)]);
            }
            assert_eq!(all.iter().map(|s| s.signature).collect::<BTreeSet<_>>().len(), 1, "one signature");
            for (message, signed) in messages.iter().zip(&all) {
                assert!(covers(signed, *message));
                assert!(!covers(signed, message + 1));
                let bytes = signed.to_canonical();
                assert_eq!(bytes.len(), 68 + 32 * signed.place.0.path.len());
                assert_eq!(&GroupSignature::from_canonical(&bytes).unwrap(), signed);
                // A message has one place only, whoever writes it down.
                for size in 1..=40 {
                    for index in 0..size {
                        let mut other = signed.clone();
                        (other.place.0.index, other.place.0.size) = (index, size);
                        assert_eq!(covers(&other, *message), other == *signed, "{index} of {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_messages_make_several_groups() {
        let messages: Vec<u64> = (0..MAX_GROUP as u64 + 2).collect();
        let all = sign_together(Purpose::Attestation, &channel(), &messages, seal);
        assert_eq!(all.len(), messages.len());
        assert!(messages.iter().zip(&all).all(|(m, s)| covers(s, *m)));
        assert_eq!((all[MAX_GROUP - 1].place.0.size, all[MAX_GROUP].place.0.size), (1024, 2));
    }

    #[test]
    fn a_place_has_one_encoding() {
        let bytes = |index: u16, size: u16, hashes: usize| {
            let mut out = Encoder::default();
            out.u16(index).u16(size).fixed(&vec![7; 32 * hashes]);
            Place::from_canonical(&out.into_bytes())
        };
        assert!(bytes(0, 1, 0).is_ok() && bytes(2, 3, 1).is_ok() && bytes(0, 3, 2).is_ok());
        assert!(bytes(0, 1024, 10).is_ok());
        for (index, size, hashes) in [(0, 0, 0), (1, 1, 0), (0, 1, 1), (2, 3, 2), (0, 3, 1), (0, 1025, 11)] {
            assert!(bytes(index, size, hashes).is_err(), "{index} of {size} with {hashes} hashes");
        }
    }
}
