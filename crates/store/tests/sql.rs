//! The relational store's contract, run on SQLite always and on PostgreSQL where its programs are installed.

#[cfg(test)]
mod harness {
    use consilium_store::Sql;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU64, Ordering};

    static NEXT: AtomicU64 = AtomicU64::new(0);

    /// A folder of its own below the temporary folder, removed when dropped.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("consilium-store-{}-{n}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub fn sqlite_url(folder: &Path) -> String {
        format!("sqlite://{}?mode=rwc", folder.join("store.db").display())
    }

    /// A PostgreSQL server on a free port of loopback, stopped when dropped.
    pub struct Postgres {
        folder: Folder,
        port: u16,
    }

    fn program(name: &str) -> Option<PathBuf> {
        let out = Command::new("pg_config").arg("--bindir").output().ok()?;
        let path = Path::new(String::from_utf8(out.stdout).ok()?.trim()).join(name);
        path.exists().then_some(path)
    }

    fn command(path: &Path) -> Command {
        let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"));
        if root {
            // The server refuses to run as root.
            let mut c = Command::new("runuser");
            c.args(["-u", "postgres", "--"]).arg(path);
            c
        } else {
            Command::new(path)
        }
    }

    impl Postgres {
        /// `None`, said loudly, where PostgreSQL is not installed.
        pub fn start() -> Option<Self> {
            let (Some(initdb), Some(pg_ctl)) = (program("initdb"), program("pg_ctl")) else {
                assert!(
                    std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() != Ok("1"),
                    "PostgreSQL is not installed, and CONSILIUM_REQUIRE_TEST_DATA=1 asks for it"
                );
                eprintln!(
                    "SKIPPED: PostgreSQL is not installed (`pg_config --bindir`), its half of the contract did not run"
                );
                return None;
            };
            let folder = Folder::new("postgres");
            // The server's user must be able to write here.
            std::fs::set_permissions(&folder.0, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            let data = folder.0.join("data");
            let ok = command(&initdb)
                .arg("-D")
                .arg(&data)
                .args(["-U", "consilium", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
                .current_dir("/")
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(ok.success(), "initdb failed");
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let ok = command(&pg_ctl)
                .arg("-D")
                .arg(&data)
                .args(["-w", "-o"])
                .arg(format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"))
                .arg("-l")
                .arg(folder.0.join("log"))
                .arg("start")
                .current_dir("/")
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(ok.success(), "pg_ctl start failed");
            Some(Self { folder, port })
        }
        pub fn url(&self) -> String {
            format!("postgres://consilium@127.0.0.1:{}/postgres", self.port)
        }
    }
    impl Drop for Postgres {
        fn drop(&mut self) {
            if let Some(pg_ctl) = program("pg_ctl") {
                let _ = command(&pg_ctl)
                    .arg("-D")
                    .arg(self.folder.0.join("data"))
                    .args(["-m", "fast", "stop"])
                    .current_dir("/")
                    .stdout(Stdio::null())
                    .status();
            }
            // Its files belong to the server's user.
            if program("pg_ctl").is_some() {
                let _ = command(Path::new("rm")).arg("-rf").arg(self.folder.0.join("data")).status();
            }
        }
    }

    pub async fn open(url: &str) -> Sql {
        Sql::open(url, 4).await.unwrap()
    }
}

#[cfg(test)]
mod contract {
    use consilium_domain::Digest;
    use consilium_store::Sql;
    use consilium_store::sql::audit::{AppendError, AuditLog, NewEvent, TreeHash};
    use consilium_store::sql::consents::Consents;
    use consilium_store::sql::erasures::Erased;
    use consilium_store::sql::outbox::{Kind, NewEntry, Outbox};
    use consilium_store::sql::records::{
        ConsentRow, InsertError, NewBatch, NewClaim, NewRecord, Records, Status,
    };
    use consilium_store::sql::search::Search;
    use consilium_store::sql::seen::Seen;
    use consilium_store::sql::spool::Spool;

    fn hash(text: &str) -> Digest {
        Digest::sha256(&[text.as_bytes()])
    }

    fn record(id: &str, version: u64, index: &[&str]) -> NewRecord {
        NewRecord {
            resource_type: "Patient".into(),
            handle: id.as_bytes().to_vec(),
            version,
            updated_ms: 1000 + version,
            ciphertext: format!("{id}/{version}").into_bytes(),
            wrapped_key: vec![1],
            class_id: vec![2],
            epoch: 1,
            commitment: hash(&format!("{id}{version}")),
            leaf_count: 3,
            root: hash("root"),
            compartment: Some(id.as_bytes().to_vec()),
            index: index.iter().map(|v| v.as_bytes().to_vec()).collect(),
        }
    }

    fn batch(name: &str, records: Vec<NewRecord>) -> NewBatch {
        NewBatch {
            batch: hash(name),
            records,
            claims: vec![],
            outbox: vec![NewEntry {
                key: hash(name),
                kind: Kind::Batch,
                tx: Some(vec![7]),
                expires: 9,
                next_ms: 50,
            }],
            consents: vec![],
            classes: vec![],
            spool: vec![],
        }
    }

    fn by(value: &str, pending: bool) -> Search {
        Search {
            resource_type: "Patient".into(),
            index: vec![vec![value.as_bytes().to_vec()]],
            pending,
            ..Search::default()
        }
    }

    pub async fn all(sql: &Sql) {
        life_of_a_record(sql).await;
        conflicts(sql).await;
        conditional_creates(sql).await;
        paging(sql).await;
        erasures(sql).await;
        regrouping(sql).await;
        small_tables(sql).await;
        audit(sql).await;
    }

    fn telling(key: &str) -> NewEntry {
        NewEntry { key: hash(key), kind: Kind::Erasure, tx: Some(vec![8]), expires: 0, next_ms: 0 }
    }

    async fn erasures(sql: &Sql) {
        let (records, outbox, spool) = (Records::new(sql), Outbox::new(sql), Spool::new(sql));
        let told = |_: &[Digest]| (telling("e"), vec![b"event".to_vec()]);
        assert_eq!(records.erase("Patient", b"e1", told).await.unwrap(), Erased::Unknown);
        records
            .insert(&batch("e1", vec![record("e1", 1, &["erase"]), record("e2", 1, &["erase"])]))
            .await
            .unwrap();
        assert_eq!(records.erase("Patient", b"e1", told).await.unwrap(), Erased::Pending);
        records.promote(&hash("e1"), 5, b"proof").await.unwrap();
        records.insert(&batch("e3", vec![record("e1", 2, &["erase"])])).await.unwrap();
        records.promote(&hash("e3"), 6, b"proof").await.unwrap();
        assert_eq!(records.erased("Patient", b"e1").await.unwrap(), None);
        let before = spool.oldest(10).await.unwrap().len();
        let commitments = std::sync::Mutex::new(Vec::new());
        let done = records.erase("Patient", b"e1", |found| {
            commitments.lock().unwrap().extend_from_slice(found);
            told(found)
        });
        assert_eq!(done.await.unwrap(), Erased::Done(2));
        assert_eq!(*commitments.lock().unwrap(), [hash("e11"), hash("e12")]);
        assert_eq!(records.erase("Patient", b"e1", told).await.unwrap(), Erased::Already);
        let waiting = spool.oldest(10).await.unwrap();
        assert_eq!(waiting.len(), before + 1);
        spool.remove(&waiting.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(outbox.due(0, 10).await.unwrap()[0].kind, Kind::Erasure);
        outbox.remove(&hash("e")).await.unwrap();
        assert_eq!(records.newest("Patient", b"e1", true).await.unwrap(), None);
        assert_eq!(records.erased("Patient", b"e1").await.unwrap(), Some(Some(b"e1".to_vec())));
        for version in [1, 2] {
            let row = records.version("Patient", b"e1", version, false).await.unwrap().unwrap();
            assert_eq!(row.status, Status::Erased);
            assert!(row.ciphertext.is_empty() && row.wrapped_key.is_empty());
        }
        assert_eq!(records.commitments(&hash("e1")).await.unwrap().len(), 2, "the batch can still be proven");
        let found = records.search(&by("erase", false), 0, 10).await.unwrap();
        assert_eq!(found.iter().map(|r| r.handle.as_slice()).collect::<Vec<_>>(), [b"e2"]);

        // Classes: of a patient, by compartment, and of nobody.
        let of_class = |id: &str, class: u8, compartment: Option<&str>| {
            let mut new = record(id, 1, &["erase"]);
            new.class_id = vec![class];
            new.compartment = compartment.map(|text| text.as_bytes().to_vec());
            new
        };
        let new = vec![
            of_class("f1", 40, Some("f")),
            of_class("f2", 41, Some("f")),
            of_class("f3", 42, None),
            of_class("f4", 43, None),
        ];
        let mut many = batch("f", new);
        many.classes = [40, 41].map(|class| (vec![class], b"f".to_vec(), "x@y".to_owned())).to_vec();
        records.insert(&many).await.unwrap();
        records.promote(&hash("f"), 7, b"proof").await.unwrap();
        let classes = [vec![40], vec![42]];
        assert!(records.erase_classes(b"once", &classes, &telling("g")).await.unwrap());
        assert!(!records.erase_classes(b"once", &classes, &telling("g")).await.unwrap());
        let mut left: Vec<Vec<u8>> =
            records.search(&by("erase", false), 0, 10).await.unwrap().into_iter().map(|r| r.handle).collect();
        left.sort();
        assert_eq!(left, [b"e2".to_vec(), b"f2".to_vec(), b"f4".to_vec()]);
        assert_eq!(Consents::new(sql).classes(b"f").await.unwrap(), [(vec![41], "x@y".to_owned())]);
        assert_eq!(outbox.due(0, 10).await.unwrap().len(), 1);
        outbox.remove(&hash("g")).await.unwrap();
    }

    /// A class is destroyed while its batch is not on the ledger.
    async fn regrouping(sql: &Sql) {
        let (records, outbox) = (Records::new(sql), Outbox::new(sql));
        let mut gone = record("h2", 1, &["regroup"]);
        gone.class_id = vec![50];
        let mut many = batch("h", vec![record("h1", 1, &["regroup"]), gone, record("h3", 1, &["regroup"])]);
        let nobody = vec![vec![b"nobody has this".to_vec()]];
        many.claims = vec![NewClaim { claim: b"h".to_vec(), resource_type: "Patient".into(), index: nobody }];
        records.insert(&many).await.unwrap();
        assert!(records.erase_classes(b"h once", &[vec![50]], &telling("h erased")).await.unwrap());
        outbox.remove(&hash("h erased")).await.unwrap();
        let rows = records.of_batch(&hash("h")).await.unwrap();
        let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        let rest = NewEntry { kind: Kind::Batch, tx: None, ..telling("rest") };
        // Not with a record that is gone, not without one that is left; then nothing has changed.
        for pending in [&seqs[..], &seqs[..1], &[]] {
            assert!(!records.regroup(&hash("h"), pending, Some(&rest)).await.unwrap(), "{pending:?}");
        }
        assert_eq!(records.of_batch(&hash("h")).await.unwrap(), rows);
        assert!(records.regroup(&hash("h"), &[seqs[0], seqs[2]], Some(&rest)).await.unwrap());
        assert_eq!(records.commitments(&hash("rest")).await.unwrap(), [hash("h11"), hash("h31")]);
        let keys: Vec<Digest> = outbox.due(0, 10).await.unwrap().iter().map(|e| e.key).collect();
        assert_eq!(keys, [hash("rest")]);
        // The claim is the new batch's: taken as long as that waits.
        let other = |name: &str| NewBatch {
            claims: many.claims.clone(),
            ..batch(name, vec![record(name, 1, &["regroup"])])
        };
        assert!(matches!(records.insert(&other("h4")).await, Err(InsertError::Claim(0))));
        records.promote(&hash("rest"), 8, b"proof").await.unwrap();
        assert_eq!(records.search(&by("regroup", false), 0, 10).await.unwrap().len(), 2);
        // With nothing left, the batch and its claims end.
        let mut gone = other("h5");
        gone.records[0].class_id = vec![51];
        records.insert(&gone).await.unwrap();
        assert!(records.erase_classes(b"h5 once", &[vec![51]], &telling("h5 erased")).await.unwrap());
        outbox.remove(&hash("h5 erased")).await.unwrap();
        assert!(records.regroup(&hash("h5"), &[], None).await.unwrap());
        assert!(outbox.due(0, 10).await.unwrap().is_empty());
        records.insert(&other("h6")).await.unwrap();
        records.discard(&hash("h6")).await.unwrap();
    }

    async fn life_of_a_record(sql: &Sql) {
        let (records, outbox) = (Records::new(sql), Outbox::new(sql));
        records.insert(&batch("b1", vec![record("p1", 1, &["name:ann", "all"])])).await.unwrap();
        assert_eq!(records.newest("Patient", b"p1", false).await.unwrap(), None, "pending is not current");
        let pending = records.newest("Patient", b"p1", true).await.unwrap().unwrap();
        assert_eq!((pending.status, pending.version), (Status::Pending, 1));
        assert!(records.search(&by("name:ann", false), 0, 10).await.unwrap().is_empty());
        assert_eq!(records.search(&by("name:ann", true), 0, 10).await.unwrap().len(), 1);
        assert!(outbox.due(49, 10).await.unwrap().is_empty());
        let due = outbox.due(50, 10).await.unwrap();
        assert_eq!((due.len(), due[0].tx.clone(), due[0].expires), (1, Some(vec![7]), 9));

        records.promote(&hash("b1"), 5, b"proof").await.unwrap();
        records.promote(&hash("b1"), 6, b"other").await.unwrap();
        assert_eq!(
            records.proof(&hash("b1")).await.unwrap(),
            Some((5, b"proof".to_vec())),
            "first answer stays"
        );
        assert!(outbox.due(u64::MAX, 10).await.unwrap().is_empty());
        let current = records.newest("Patient", b"p1", false).await.unwrap().unwrap();
        assert_eq!((current.status, current.ciphertext.as_slice()), (Status::Current, b"p1/1".as_slice()));

        // A later version: the earlier stays current until the later's batch is committed.
        records.insert(&batch("b2", vec![record("p1", 2, &["name:bea", "all"])])).await.unwrap();
        assert_eq!(records.newest("Patient", b"p1", false).await.unwrap().unwrap().version, 1);
        assert_eq!(
            records.search(&by("all", true), 0, 10).await.unwrap()[0].version,
            2,
            "the pending one stands in"
        );
        assert_eq!(records.search(&by("all", false), 0, 10).await.unwrap()[0].version, 1);
        records.promote(&hash("b2"), 7, b"proof").await.unwrap();
        assert_eq!(records.newest("Patient", b"p1", false).await.unwrap().unwrap().version, 2);
        assert!(
            records.search(&by("name:ann", false), 0, 10).await.unwrap().is_empty(),
            "history is not found"
        );
        let history = records.history("Patient", b"p1", 0, 10, false).await.unwrap();
        assert_eq!(
            history.iter().map(|r| (r.version, r.status)).collect::<Vec<_>>(),
            [(2, Status::Current), (1, Status::History)]
        );
        assert_eq!(
            records.version("Patient", b"p1", 1, false).await.unwrap().unwrap().status,
            Status::History
        );

        // Two later versions whose batches are committed in the wrong order.
        records.insert(&batch("b3", vec![record("p1", 3, &["c"])])).await.unwrap();
        records.insert(&batch("b4", vec![record("p1", 4, &["d"])])).await.unwrap();
        records.promote(&hash("b4"), 9, b"proof").await.unwrap();
        records.promote(&hash("b3"), 9, b"proof").await.unwrap();
        assert_eq!(records.newest("Patient", b"p1", false).await.unwrap().unwrap().version, 4);
        assert!(records.search(&by("c", false), 0, 10).await.unwrap().is_empty());
        assert_eq!(records.counts().await.unwrap(), [("Patient".to_owned(), 1)]);

        // A batch that the ledger will never have leaves nothing.
        records.insert(&batch("b5", vec![record("p1", 5, &["e"])])).await.unwrap();
        records.discard(&hash("b5")).await.unwrap();
        assert_eq!(records.newest("Patient", b"p1", true).await.unwrap().unwrap().version, 4);
        assert!(outbox.due(u64::MAX, 10).await.unwrap().is_empty());
        records.insert(&batch("b5", vec![record("p1", 5, &["e"])])).await.unwrap();
        records.promote(&hash("b5"), 10, b"proof").await.unwrap();
        records.discard(&hash("b5")).await.unwrap();
        assert_eq!(
            records.newest("Patient", b"p1", false).await.unwrap().unwrap().version,
            5,
            "only pending goes"
        );
    }

    async fn conflicts(sql: &Sql) {
        let records = Records::new(sql);
        records.insert(&batch("c1", vec![record("c", 1, &[])])).await.unwrap();
        let two = batch("c2", vec![record("c-other", 1, &["left-behind"]), record("c", 1, &[])]);
        assert!(matches!(records.insert(&two).await, Err(InsertError::Version(1))));
        assert!(records.newest("Patient", b"c-other", true).await.unwrap().is_none(), "all or nothing");
        assert!(records.search(&by("left-behind", true), 0, 1).await.unwrap().is_empty());
        assert!(matches!(
            records.insert(&batch("c3", vec![record("c", 3, &[])])).await,
            Err(InsertError::Version(0))
        ));

        let (a, b) = (batch("c4", vec![record("c", 2, &[])]), batch("c5", vec![record("c", 2, &[])]));
        let (ra, rb) = tokio::join!(records.insert(&a), records.insert(&b));
        assert_eq!([ra.is_ok(), rb.is_ok()].iter().filter(|ok| **ok).count(), 1, "one of two equal versions");
    }

    async fn conditional_creates(sql: &Sql) {
        let records = Records::new(sql);
        let make = |name: &str, id: &str| {
            let mut b = batch(name, vec![record(id, 1, &["mrn:9"])]);
            b.claims.push(NewClaim {
                claim: b"mrn:9".to_vec(),
                resource_type: "Patient".into(),
                index: vec![vec![b"mrn:9".to_vec()]],
            });
            b
        };
        let (a, b) = (make("d1", "d1"), make("d2", "d2"));
        let (ra, rb) = tokio::join!(records.insert(&a), records.insert(&b));
        assert_eq!([ra.is_ok(), rb.is_ok()].iter().filter(|ok| **ok).count(), 1);
        let winner = if ra.is_ok() { "d1" } else { "d2" };
        records.promote(&hash(winner), 3, b"proof").await.unwrap();
        assert!(
            matches!(records.insert(&make("d3", "d3")).await, Err(InsertError::Claim(0))),
            "the claim is gone, but the record is there"
        );
        records.insert(&batch("d4", vec![record(winner, 2, &["mrn:10"])])).await.unwrap();
        records.promote(&hash("d4"), 4, b"proof").await.unwrap();
        records.insert(&make("d5", "d5")).await.unwrap();
        records.discard(&hash("d5")).await.unwrap();
        records.insert(&make("d6", "d6")).await.unwrap();
    }

    async fn paging(sql: &Sql) {
        let records = Records::new(sql);
        let many: Vec<NewRecord> = (0..7).map(|i| record(&format!("page{i}"), 1, &["page"])).collect();
        records.insert(&batch("pages", many)).await.unwrap();
        records.promote(&hash("pages"), 3, b"proof").await.unwrap();
        assert_eq!(records.count(&by("page", false)).await.unwrap(), 7);
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let page = records.search(&by("page", false), after, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.seq;
            seen.extend(page.into_iter().map(|r| r.handle));
        }
        assert_eq!(seen, (0..7).map(|i| format!("page{i}").into_bytes()).collect::<Vec<_>>());
        assert_eq!(records.commitments(&hash("pages")).await.unwrap().len(), 7);
        let mut one = by("page", false);
        one.compartment = Some(b"page3".to_vec());
        assert_eq!(records.search(&one, 0, 10).await.unwrap().len(), 1);
        one.handles = Some(vec![b"page4".to_vec()]);
        assert!(records.search(&one, 0, 10).await.unwrap().is_empty());
        one.compartment = None;
        assert_eq!(records.search(&one, 0, 10).await.unwrap().len(), 1);
        one.handles = Some(vec![]);
        assert_eq!(
            (records.search(&one, 0, 10).await.unwrap().len(), records.count(&one).await.unwrap()),
            (0, 0)
        );
        let dated = Search { updated_from: Some(1002), ..by("page", false) };
        assert_eq!(records.count(&dated).await.unwrap(), 0);
        let dated = Search { updated_from: Some(1001), updated_to: Some(1001), ..by("page", false) };
        assert_eq!(records.count(&dated).await.unwrap(), 7);
    }

    async fn small_tables(sql: &Sql) {
        let seen = Seen::new(sql);
        let (a, b) = tokio::join!(seen.first_use(b"jti", 10), seen.first_use(b"jti", 10));
        assert_eq!([a.unwrap(), b.unwrap()].iter().filter(|first| **first).count(), 1);
        seen.forget(10).await.unwrap();
        assert!(!seen.first_use(b"jti", 10).await.unwrap(), "not expired yet");
        seen.forget(11).await.unwrap();
        assert!(seen.first_use(b"jti", 20).await.unwrap());

        let spool = Spool::new(sql);
        spool.push(&[b"one".to_vec(), b"two".to_vec()]).await.unwrap();
        let oldest = spool.oldest(1).await.unwrap();
        assert_eq!(oldest[0].1, b"one");
        spool.remove(&[oldest[0].0]).await.unwrap();
        assert_eq!(spool.oldest(9).await.unwrap().len(), 1);

        let (records, consents) = (Records::new(sql), Consents::new(sql));
        let row = ConsentRow {
            ledger_handle: hash("consent"),
            record_handle: b"consent-record".to_vec(),
            compartment: b"p".to_vec(),
            version: 1,
            record_version: 1,
            sealed_controller: vec![9],
            class_id: vec![1],
            epoch: 1,
        };
        let mut first = batch("s1", vec![record("s", 1, &[])]);
        first.consents.push(row.clone());
        first.classes.push((b"class".to_vec(), b"p".to_vec(), "clinician@a".into()));
        records.insert(&first).await.unwrap();
        let mut second = batch("s2", vec![record("s", 2, &[])]);
        second.consents.push(ConsentRow { version: 2, record_version: 2, ..row.clone() });
        second.classes.push((b"class".to_vec(), b"p".to_vec(), "ignored: the class exists".into()));
        records.insert(&second).await.unwrap();
        assert_eq!(consents.of_patient(b"p").await.unwrap()[0].version, 2);
        assert_eq!(consents.of_record(b"consent-record").await.unwrap().unwrap().record_version, 2);
        consents.set_policy(b"class", "clinician@b").await.unwrap();
        assert_eq!(consents.classes(b"p").await.unwrap(), [(b"class".to_vec(), "clinician@b".to_owned())]);
        assert_eq!(consents.of_ledger(&hash("consent")).await.unwrap().unwrap().version, 2);
        assert_eq!(consents.of_ledger(&hash("other")).await.unwrap(), None);
    }

    async fn audit(sql: &Sql) {
        let log = AuditLog::new(sql);
        let event = |n: u64, patients: &[&str]| NewEvent {
            event_id: n.to_be_bytes().to_vec(),
            event: format!("event {n}").into_bytes(),
            leaf: hash(&n.to_string()),
            recorded_ms: n * 10,
            kind: if n.is_multiple_of(2) { "read" } else { "create" }.into(),
            action: "R".into(),
            outcome: "0".into(),
            agent: None,
            patients: patients.iter().map(|p| p.as_bytes().to_vec()).collect(),
        };
        let hashes = |n: u64| vec![TreeHash { level: 0, position: n, hash: hash(&n.to_string()) }];
        assert_eq!(log.size().await.unwrap(), 0);
        for n in 0..5 {
            let patients: &[&str] = if n == 3 { &["ann", "bob", "ann"] } else { &["ann"] };
            log.append(n, &[event(n, patients)], &hashes(n)).await.unwrap();
        }
        assert!(matches!(
            log.append(4, &[event(9, &[])], &[]).await,
            Err(AppendError::Moved { expected: 4, actual: 5 })
        ));
        assert!(matches!(
            log.append(5, &[event(5, &[]), event(2, &[])], &[]).await,
            Err(AppendError::Duplicate)
        ));
        assert_eq!(log.size().await.unwrap(), 5, "all or nothing");
        assert_eq!(log.find(&3u64.to_be_bytes()).await.unwrap(), Some(3));
        assert_eq!(log.by_seq(2).await.unwrap().unwrap().event, b"event 2");
        let seqs = |events: Vec<consilium_store::sql::audit::StoredEvent>| {
            events.iter().map(|e| e.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(log.page(None, None, 2).await.unwrap()), [4, 3]);
        assert_eq!(seqs(log.page(Some(4), Some("read"), 9).await.unwrap()), [2, 0]);
        assert_eq!(seqs(log.by_patient(b"bob", None, 9).await.unwrap()), [3]);
        assert_eq!(seqs(log.by_patient(b"ann", Some(2), 9).await.unwrap()), [1, 0]);
        assert_eq!(seqs(log.range(1, 3).await.unwrap()), [1, 2]);
        assert_eq!(log.hashes(0, 1, 3).await.unwrap(), [hash("1"), hash("2")]);
        assert_eq!(log.leaves(0, 2).await.unwrap(), [hash("0"), hash("1")]);
        assert_eq!(
            log.counts(10, 41).await.unwrap(),
            [("create".into(), "0".into(), 2), ("read".into(), "0".into(), 2)]
        );
        log.put_anchor(3, &hash("r3"), b"tx").await.unwrap();
        log.put_anchor(5, &hash("r5"), b"tx").await.unwrap();
        assert_eq!(log.newest_anchor().await.unwrap(), None);
        log.commit_anchor(3, 77, b"proof").await.unwrap();
        log.drop_anchor(3).await.unwrap();
        log.drop_anchor(5).await.unwrap();
        assert_eq!(log.newest_anchor().await.unwrap().unwrap().committed, Some((77, b"proof".to_vec())));
        assert_eq!(log.anchors(0, 9).await.unwrap().len(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{contract, harness};
    use consilium_store::{Sql, StoreError};

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_contract() {
        let folder = harness::Folder::new("sqlite");
        let sql = harness::open(&harness::sqlite_url(&folder.0)).await;
        contract::all(&sql).await;
        sql.close().await;
        // Everything is there after a restart.
        let again = harness::open(&harness::sqlite_url(&folder.0)).await;
        assert_eq!(consilium_store::sql::audit::AuditLog::new(&again).size().await.unwrap(), 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgresql_keeps_the_contract() {
        let Some(server) = harness::Postgres::start() else { return };
        let url = server.url();
        let (a, b) = tokio::join!(Sql::open(&url, 4), Sql::open(&url, 4));
        (a.unwrap(), b.unwrap()).1.close().await;
        let sql = harness::open(&server.url()).await;
        contract::all(&sql).await;
        sql.close().await;
    }

    #[tokio::test]
    async fn an_unknown_schema_or_url_is_refused() {
        let folder = harness::Folder::new("schema");
        let url = harness::sqlite_url(&folder.0);
        harness::open(&url).await.close().await;
        sqlx::any::install_default_drivers();
        let raw = sqlx::any::AnyPoolOptions::new().connect(&url).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 0)",
        )
        .execute(&raw)
        .await
        .unwrap();
        raw.close().await;
        assert!(matches!(Sql::open(&url, 1).await, Err(StoreError::Schema(999))));
        assert!(matches!(Sql::open("mysql://x", 1).await, Err(StoreError::Url)));
    }

    #[tokio::test]
    async fn sqlite_writes_ahead() {
        let folder = harness::Folder::new("settings");
        let url = harness::sqlite_url(&folder.0);
        harness::open(&url).await.close().await;
        sqlx::any::install_default_drivers();
        let raw = sqlx::any::AnyPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&raw).await.unwrap();
        assert_eq!(mode, "wal");
        raw.close().await;
    }
}
