//! Proofs of single state keys, and of their absence, against the state root in a header.

use crate::state::{ReadError, StateRead};
use crate::tree;
use consilium_domain::{Digest, Height};
use jmt::RootHash;
use thiserror::Error;

/// Longest proof, in bytes: 256 siblings of at most 65 bytes, the leaf and the length.
pub const MAX_PROOF: usize = 256 * 65 + 65 + 4;

/// Why a proof shows nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ProofError {
    #[error("the state proof is not one proof, whole and alone")]
    Malformed,
    #[error("the state proof does not lead from the key to the state root")]
    Mismatch,
}

/// A state key's value after the block at `height` and the proof of it (or of its absence).
pub fn prove(
    view: &dyn StateRead,
    height: Height,
    key: &[u8],
) -> Result<(Option<Vec<u8>>, Vec<u8>), ReadError> {
    let (value, proof) = tree::prove(view, height.0, key)?;
    let bytes = borsh::to_vec(&proof).map_err(|e| ReadError(e.to_string()))?;
    Ok((value, bytes))
}

/// Checks that under `state_root` the key has this value, or is absent for `None`.
pub fn verify(state_root: &Digest, key: &[u8], value: Option<&[u8]>, proof: &[u8]) -> Result<(), ProofError> {
    if proof.len() > MAX_PROOF {
        return Err(ProofError::Malformed);
    }
    // `from_slice` refuses trailing bytes; the length prefix cannot make it allocate more than the bytes there are.
    let proof: tree::Proof = borsh::from_slice(proof).map_err(|_| ProofError::Malformed)?;
    proof.verify(RootHash(state_root.0), tree::key_hash(key), value).map_err(|_| ProofError::Mismatch)
}
