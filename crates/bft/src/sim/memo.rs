//! Every node of a simulation checks the same signatures: check each once.

use arc_malachitebft_signing_ed25519::PublicKey;
use arc_malachitebft_signing_ed25519::Signature;
use consilium_domain::Digest;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

thread_local! {
    static KNOWN: RefCell<BTreeMap<[u8; 16], bool>> = const { RefCell::new(BTreeMap::new()) };
    static BLIND: Cell<bool> = const { Cell::new(false) };
}

pub fn forget() {
    KNOWN.with_borrow_mut(BTreeMap::clear);
}

/// A planted mistake: nodes believe every signature.
pub fn blind(on: bool) {
    BLIND.set(on);
}

/// What nodes ask.
pub fn is_signed(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    BLIND.get() || is_truly_signed(key, bytes, signature)
}

/// What the observer asks.
pub fn is_truly_signed(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    let Digest(whole) = Digest::sha256(&[key.as_bytes(), &signature.to_bytes(), bytes]);
    let id: [u8; 16] = whole[..16].try_into().unwrap();
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&id).copied()) {
        return known;
    }
    let verdict = key.verify(bytes, signature).is_ok();
    KNOWN.with_borrow_mut(|known| known.insert(id, verdict));
    verdict
}
