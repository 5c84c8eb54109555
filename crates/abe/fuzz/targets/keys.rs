//! Keys and everything guardians exchange: no panic; what is accepted has one encoding.
#![no_main]

use std::sync::LazyLock;

use consilium_abe::guardians::{Group, Share, issue, refresh, repair};
use consilium_abe::post_quantum::{DecapsulationKey, EncapsulationKey};
use consilium_abe::sealing::SealingKey;
use consilium_abe::{AttributeKey, AuthorityPublicKey, AuthoritySecretKey, authority};
use libfuzzer_sys::fuzz_target;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

static GROUP: LazyLock<Group> = LazyLock::new(|| {
    let rng = &mut ChaCha20Rng::from_seed([1; 32]);
    let (public, secret) = authority::setup(rng, "channel-1", "hospital-a").expect("a key pair");
    Group::deal(&secret, &public, (2, 3), rng).expect("a group").0
});

macro_rules! one_encoding {
    ($data:expr, $decoded:expr) => {
        if let Ok(decoded) = $decoded {
            assert_eq!(AsRef::<[u8]>::as_ref(&decoded.to_bytes()), $data);
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 13 {
        0 => one_encoding!(data, AuthorityPublicKey::from_bytes(data)),
        1 => one_encoding!(data, AuthoritySecretKey::from_bytes(data)),
        2 => one_encoding!(data, AttributeKey::from_bytes(data)),
        3 => one_encoding!(data, Group::from_bytes(data)),
        4 => one_encoding!(data, Share::from_bytes(data)),
        5 => one_encoding!(data, issue::KeyPart::from_bytes(data)),
        6 => one_encoding!(data, refresh::Deal::from_bytes(&GROUP, data)),
        7 => one_encoding!(data, refresh::Part::from_bytes(data)),
        8 => one_encoding!(data, repair::Repair::from_bytes(&GROUP, data)),
        9 => one_encoding!(data, repair::Deal::from_bytes(&GROUP, data)),
        10 => one_encoding!(data, EncapsulationKey::from_bytes(data)),
        11 => one_encoding!(data, DecapsulationKey::from_bytes(data)),
        _ => {
            let _ = std::str::from_utf8(data).map(SealingKey::from_key_file);
        }
    }
});
