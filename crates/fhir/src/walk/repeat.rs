//! Elements that repeat word for word. A record says the same codes, amounts and periods again and again: what was
//! found in order once is in order wherever the same type stands with the same bytes, and is not walked again.
//!
//! This holds for elements whose checks neither look outside of them nor leave a mark outside; a check that does either
//! says so with [`Walk::reaches_out`].

use super::{Reached, Walk};
use crate::schema::{Special, TypeDef, TypeId, TypeKind};
use crate::tape::Cursor;

/// Elements remembered at once, a power of two: each has one place, by its bytes.
const PLACES: usize = 512;
/// Longer elements hardly ever repeat.
const MAX_BYTES: usize = 1024;
/// Far from the depth at which the walk ends, so that an element is never in order only because it stands higher.
const MAX_DEPTH: usize = super::MAX_DEPTH / 2;

/// Elements found in order.
#[derive(Default)]
pub(crate) struct Repeats {
    known: Vec<Known>,
}

/// The first of them, by its bytes in the input; `len` 0: none.
#[derive(Clone, Copy, Default)]
struct Known {
    start: u32,
    len: u32,
    ty: u16,
    /// Constraints and bindings that were decided inside.
    evaluated: u16,
}

/// What is known of an element before it is walked.
pub(super) enum Recall {
    /// It is in order.
    InOrder,
    /// Nothing, and it may be remembered.
    New(Trial),
    /// Nothing.
    Unknown,
}

/// The state before the element.
pub(super) struct Trial {
    place: usize,
    marks: u64,
    unevaluated: u64,
    evaluated: u64,
}

impl<'t, 'a> Walk<'_, 't, 'a> {
    /// A check looked outside of the element that it is about, or left a mark there: the same element elsewhere may
    /// fare differently.
    pub(crate) fn reaches_out(&mut self) {
        self.marks += 1;
    }

    pub(super) fn recall(
        &mut self,
        node: Cursor<'t, 'a>,
        ty: TypeId,
        def: &TypeDef,
        reached: &Reached,
    ) -> Recall {
        let element = matches!(def.kind, TypeKind::Complex | TypeKind::Backbone)
            && !matches!(def.special, Special::Extension | Special::Reference | Special::BundleEntry);
        let bytes = node.token_bytes();
        let tried = element && reached.slot.is_some() && bytes.len() <= MAX_BYTES && self.depth < MAX_DEPTH;
        if !tried || !self.withheld.is_empty() {
            return Recall::Unknown;
        }
        if self.repeats.known.is_empty() {
            self.repeats.known.resize(PLACES, Known::default());
        }
        let place = hash(bytes) & (PLACES - 1);
        if let Some(known) = self.repeats.known.get(place)
            && known.ty == ty.0
            && known.len as usize == bytes.len()
            && self.bytes_of(known) == Some(bytes)
        {
            self.evaluated += u64::from(known.evaluated);
            return Recall::InOrder;
        }
        Recall::New(Trial {
            place,
            marks: self.marks,
            unevaluated: self.unevaluated.total(),
            evaluated: self.evaluated,
        })
    }

    fn bytes_of(&self, known: &Known) -> Option<&'a [u8]> {
        let start = known.start as usize;
        self.tape.input().as_bytes().get(start..start + known.len as usize)
    }

    /// The element was walked; if that is all there is to say, it is remembered.
    pub(super) fn remember(&mut self, node: Cursor<'t, 'a>, ty: TypeId, trial: &Trial) {
        if self.marks != trial.marks || self.unevaluated.total() != trial.unevaluated {
            return;
        }
        let start = u32::try_from(node.start());
        let len = u32::try_from(node.end() - node.start());
        let evaluated = u16::try_from(self.evaluated - trial.evaluated);
        if let (Ok(start), Ok(len), Ok(evaluated)) = (start, len, evaluated)
            && let Some(known) = self.repeats.known.get_mut(trial.place)
        {
            *known = Known { start, len, ty: ty.0, evaluated };
        }
    }
}

/// Of all bytes; four words at once, each by a chain of its own.
fn hash(bytes: &[u8]) -> usize {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let word = |at: &[u8]| at.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let step = |sum: &mut u64, at: &[u8]| *sum = (*sum ^ word(at)).wrapping_mul(MIX).rotate_left(29);
    let mut sums = [bytes.len() as u64, 1, 2, 3];
    let mut short = [0u8; 32];
    if let Some(head) = short.get_mut(..bytes.len()) {
        head.copy_from_slice(bytes);
    }
    // The last block overlaps the one before it.
    let last = bytes.last_chunk().unwrap_or(&short);
    for block in bytes.chunks_exact(32).chain(std::iter::once(&last[..])) {
        for (sum, at) in sums.iter_mut().zip(block.chunks_exact(8)) {
            step(sum, at);
        }
    }
    let [a, b, c, d] = sums;
    let mixed = (a ^ b.rotate_left(16) ^ c.rotate_left(32) ^ d.rotate_left(48)).wrapping_mul(MIX);
    (mixed >> 40) as usize
}
