//! The adapter for TiKV against a cluster on this machine: the placement driver of TiKV and stores that speak its
//! protocol. Runs by `make tikv`.

#[cfg(test)]
mod tests {
    use consilium_domain::port::kv::{Kv, Write};
    use consilium_store::kv::tikv::{Place, TikvKv};
    use consilium_testkit::TikvPeer;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("consilium-tikv-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn place(peer: &TikvPeer, prefix: &str) -> Place {
        Place { pd: vec![peer.pd()], prefix: prefix.to_owned(), tls: None }
    }

    fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Write {
        Write::Put(key.into(), value.into())
    }

    #[test]
    #[ignore = "needs a TiKV: make tikv"]
    fn tikv_keeps_the_contract_among_others_and_has_one_writer() {
        let folder = folder("contract");
        let mut peer = TikvPeer::start(&folder, 1).unwrap();
        let (below, above) = (place(&peer, "l"), place(&peer, "n"));
        let others = [TikvKv::open(&below).unwrap(), TikvKv::open(&above).unwrap()];
        for other in &others {
            other.write(&[put("other", "1"), put("\u{7f}", "2")], true).unwrap();
        }
        // Its regions end at `m`, `n` and `t`: this store and its keys lie across the first of them.
        let kv = TikvKv::open(&place(&peer, "m")).unwrap();
        consilium_testkit::kv_contract(&kv);
        for other in &others {
            assert_eq!(other.scan(b"", &[0xff], 9).unwrap().len(), 2, "other prefixes are as they were");
        }

        // More than one page, more than one region, more than one request of a transaction.
        let value = |i: u32| vec![u8::try_from(i % 251).unwrap(); 1_000];
        // No larger batches: unistore keeps the keys of a whole transaction beside each of its locks.
        for part in 0..20_u32 {
            let batch = (0..300).map(|i| part * 300 + i).map(|i| put(i.to_be_bytes(), value(i)));
            kv.write(&batch.collect::<Vec<_>>(), true).unwrap();
        }
        let all = kv.scan(&[], &[0xff; 4], usize::MAX).unwrap();
        assert!(all.len() >= 6_000);
        let all_last = all.last().unwrap().0.clone();
        let mine: Vec<_> = all.into_iter().filter(|(key, _)| key.len() == 4 && key[0] == 0).collect();
        assert_eq!(mine.len(), 6_000);
        for ((key, found), i) in mine.iter().zip(0_u32..) {
            assert!(*key == i.to_be_bytes() && *found == value(i), "pair {i}");
        }

        for end in [0, 63, 64, 65, 1_499, 5_999, 7_000, u32::MAX] {
            let last = kv.last(&[0; 4], &end.to_be_bytes()).unwrap().map(|(key, _)| key);
            let expected = if end >= 6_000 { all_last.clone() } else { end.to_be_bytes().to_vec() };
            let expected = if end == 7_000 { 5_999_u32.to_be_bytes().to_vec() } else { expected };
            assert_eq!(last, Some(expected), "up to {end}");
        }

        // The second one to open it wins.
        let second = TikvKv::open(&place(&peer, "m")).unwrap();
        let refused = kv.write(&[put("whose", "first")], true).unwrap_err().to_string();
        assert!(refused.contains("another process has opened this store"), "{refused}");
        assert_eq!(second.get(b"whose").unwrap(), None, "with all of its batch");
        second.write(&[put("whose", "second")], true).unwrap();
        assert!(kv.write(&[put("whose", "first")], true).is_err());
        assert_eq!(kv.get(b"whose").unwrap().unwrap(), b"second");

        // A store that is killed has what it has acknowledged; whoever writes meanwhile waits.
        peer.kill_store(0).unwrap();
        let written = std::thread::scope(|scope| {
            let writing = scope.spawn(|| second.write(&[put("meanwhile", "1")], true));
            std::thread::sleep(std::time::Duration::from_secs(1));
            peer.start_store(0).unwrap();
            writing.join().unwrap()
        });
        written.unwrap();
        assert_eq!(second.get(b"whose").unwrap().unwrap(), b"second");
        assert_eq!(second.get(b"meanwhile").unwrap().unwrap(), b"1");
        drop((kv, second, others, peer));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_cluster_that_is_not_there_is_an_error() {
        let prefix = |prefix: &str| Place { pd: Vec::new(), prefix: prefix.to_owned(), tls: None };
        for wrong in ["", "a\0b"] {
            let error = TikvKv::open(&prefix(wrong)).err().unwrap().to_string();
            assert!(error.contains("prefix"), "{error}");
        }
    }
}
