//! A disk that runs full under a validator: it ends and says why, the others go on, and once there is room it takes part
//! again with everything that was acknowledged. The disk is a small file system in memory, which needs the right to
//! mount one.

#[cfg(test)]
#[path = "net/mod.rs"]
#[expect(dead_code, reason = "other tests and benchmarks need what this one does not")]
mod net;

#[cfg(test)]
mod run {
    use crate::net::{Client, Net, batches, nats_server};
    use anyhow::{Context, Result, bail, ensure};
    use consilium_contracts::v1::submit_response::Status;
    use consilium_domain::Digest;
    use consilium_domain::genesis::Params;
    use consilium_domain::tx::tx_id;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::Duration;
    use tokio::task::JoinSet;

    const NODES: usize = 4;
    /// The one whose disk is small.
    const SMALL: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Transactions submitted at a time.
    const TOGETHER: u64 = 400;

    /// A file system in memory, mounted.
    pub struct Disk(PathBuf);

    fn quietly(program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    impl Disk {
        /// `None`: this user may not mount.
        pub fn mount(at: PathBuf, megabytes: u32) -> Result<Option<Self>> {
            std::fs::create_dir_all(&at)?;
            let (path, size) = (at.to_string_lossy().into_owned(), format!("size={megabytes}m"));
            Ok(quietly("mount", &["-t", "tmpfs", "-o", &size, "consilium", &path]).then_some(Self(at)))
        }

        fn grow(&self, megabytes: u32) -> Result<()> {
            let (path, size) = (self.0.to_string_lossy(), format!("remount,size={megabytes}m"));
            ensure!(quietly("mount", &["-o", &size, &path]), "the disk does not grow");
            Ok(())
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            quietly("umount", &["-l", &self.0.to_string_lossy()]);
        }
    }

    /// Submits the batches `numbers` of the first organisation; gives the ids of those that were committed.
    async fn submit(net: &Net, client: &Client, numbers: std::ops::Range<u64>) -> Result<Vec<Digest>> {
        let mut all = JoinSet::new();
        let groups = batches(&net.genesis, 0, numbers, 1, client.head().await?.height)?;
        for tx in groups {
            let client = client.clone();
            all.spawn(async move {
                let id = tx_id(&tx);
                let answer = client.submit(tx, PATIENCE).await;
                answer.is_ok_and(|a| a.status() == Status::Committed).then_some(id)
            });
        }
        Ok(all.join_all().await.into_iter().flatten().collect())
    }

    pub async fn full_disk(net: &mut Net, disk: &Disk) -> Result<()> {
        for i in 0..NODES {
            net.start(i)?;
        }
        let client = net.client(0).await?;
        client.reach(3, PATIENCE).await?;
        let (mut acknowledged, mut next) = (Vec::new(), 0);
        let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
        while !net.crashed(SMALL)? {
            if tokio::time::Instant::now() > deadline {
                bail!("the disk did not run full: {}", net.log(SMALL));
            }
            acknowledged.extend(submit(net, &client, next..next + TOGETHER).await?);
            next += TOGETHER;
        }
        net.kill(SMALL)?;
        let log = net.log(SMALL);
        // What it ends with: of the store, of a thread of its own, or of the write-ahead log.
        let said = ["the disk is full", "is the disk full?", "No space left on device"];
        let last = log.lines().last().unwrap_or_default();
        ensure!(said.iter().any(|text| last.contains(text)), "{log}");

        let more = submit(net, &client, next..next + TOGETHER).await?;
        ensure!(more.len() as u64 == TOGETHER, "the others are {NODES} - 1: a quorum");
        acknowledged.extend(more);

        disk.grow(1024)?;
        net.start(SMALL)?;
        let (height, back) = (client.head().await?.height, net.client(SMALL).await?);
        back.reach(height, PATIENCE).await.with_context(|| net.log(SMALL))?;
        for id in &acknowledged {
            ensure!(back.find(id).await?.committed.is_some(), "{id} was acknowledged and is lost");
        }
        // It votes again: with one of the others away there is no quorum without it.
        net.kill(1)?;
        let last = submit(net, &client, next + TOGETHER..next + TOGETHER + 10).await?;
        ensure!(last.len() == 10, "the validator does not vote: {}", net.log(SMALL));
        for i in [0, 2, SMALL] {
            ensure!(!net.log(i).contains("has contradicted itself"), "{}", net.log(i));
        }
        Ok(())
    }

    pub fn main() {
        if nats_server().is_none() {
            assert!(std::env::var_os("CI").is_none(), "no nats-server: run scripts/setup.sh");
            eprintln!("skipped: no nats-server");
            return;
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}", std::process::id()));
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
        // Dropped after the processes on it.
        let disk;
        let mut net = Net::found(&dir, NODES, Params::default(), &binary, false).unwrap();
        match Disk::mount(net.data(SMALL), 40).unwrap() {
            Some(mounted) => disk = mounted,
            None => {
                eprintln!("skipped: no right to mount a small disk");
                return;
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let outcome = runtime.unwrap().block_on(full_disk(&mut net, &disk));
        drop(net);
        drop(disk);
        let _ = std::fs::remove_dir_all(&dir);
        outcome.unwrap();
    }
}

#[test]
fn a_validator_on_a_full_disk_ends_and_comes_back() {
    run::main();
}
