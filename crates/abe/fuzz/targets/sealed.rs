//! Sealed objects: no panic, and nothing opens that was not sealed.
#![no_main]

use std::sync::LazyLock;

use consilium_abe::envelope::{ClassKey, open_record, unwrap_class_key, unwrap_dek};
use consilium_abe::post_quantum::{Custody, DecapsulationKey, receive};
use consilium_abe::sealing::SealingKey;
use consilium_abe::transit::TransitKey;
use consilium_abe::{KemContext, Secret32};
use libfuzzer_sys::fuzz_target;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

static READER: LazyLock<DecapsulationKey> =
    LazyLock::new(|| DecapsulationKey::generate(&mut ChaCha20Rng::from_seed([2; 32])));

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let class = ClassKey::from_bytes(&[3; 32]);
    match kind % 6 {
        0 => {
            // A record key is random: one is taken out of a wrap, which never opens here.
            if let Ok(key) = unwrap_dek(&class, b"context", data) {
                assert!(open_record(&key, b"context", data).is_err());
                panic!("a wrap opened that nobody made");
            }
        }
        1 => assert!(unwrap_class_key(&Secret32::from_bytes(&[4; 32]), b"context", data).is_err()),
        2 => {
            let key = SealingKey::from_key_file(&"5a".repeat(32)).expect("a key file");
            assert!(key.open("name", data).is_err());
        }
        3 => assert!(TransitKey::from_seed(&[6; 32]).open(b"context", data).is_err()),
        4 => {
            if let Ok(custody) = Custody::from_bytes(data) {
                assert_eq!(custody.to_bytes(), data);
                let context = KemContext::new("channel-1", "class", 1).expect("a context");
                assert!(custody.open(&READER, &context, b"header").is_err());
            }
        }
        _ => {
            let context = KemContext::new("channel-1", "class", 1).expect("a context");
            assert!(receive(&READER, &context, b"header", b"request", data).is_err());
        }
    }
});
