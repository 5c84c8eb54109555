//! The embedded key-value store keeps the port's contract, across a restart too.

#[cfg(test)]
mod tests {
    use consilium_domain::port::kv::{Kv, Write};
    use consilium_store::FjallKv;

    #[test]
    fn fjall_keeps_the_contract() {
        let folder = std::env::temp_dir().join(format!("consilium-kv-contract-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        consilium_testkit::kv_contract(&FjallKv::open(&folder).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn fjall_keeps_order_atomicity_and_what_it_promised() {
        let folder = std::env::temp_dir().join(format!("consilium-kv-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let put = |k: &str, v: &str| Write::Put(k.as_bytes().to_vec(), v.as_bytes().to_vec());
        {
            let kv = FjallKv::open(&folder).unwrap();
            kv.write(&[put("b", "2"), put("a", "1"), put("c", "3")], false).unwrap();
            assert!(kv.write(&[put("d", "4"), put("", "empty")], false).is_err(), "the empty key is refused");
            assert_eq!(kv.get(b"d").unwrap(), None, "with all of its batch");
            kv.write(&[Write::Delete(b"c".to_vec()), put("b", "two")], true).unwrap();
            assert_eq!(kv.get(b"b").unwrap().as_deref(), Some(b"two".as_slice()));
            assert_eq!(kv.get(b"c").unwrap(), None);
            assert_eq!(kv.scan(b"a", b"b", 9).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
            assert_eq!(kv.scan(b"", b"z", 2).unwrap().len(), 2);
            assert!(kv.scan(b"z", b"a", 2).unwrap().is_empty());
            assert_eq!(kv.last(b"a", b"b").unwrap().unwrap().0, b"b");
            assert_eq!(kv.last(b"b1", b"z").unwrap(), None);
            assert_eq!(kv.last(b"z", b"a").unwrap(), None);
            kv.write(&[], true).unwrap();
        }
        let kv = FjallKv::open(&folder).unwrap();
        assert_eq!(kv.get(b"b").unwrap().as_deref(), Some(b"two".as_slice()));
        drop(kv);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
