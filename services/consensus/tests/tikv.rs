//! A validator whose blocks and state are in TiKV, among others with a disk of their own. Runs by `make tikv`.

#[cfg(test)]
#[path = "net/mod.rs"]
#[expect(dead_code, reason = "the benchmark measures with what this test does not need")]
mod net;

#[cfg(test)]
mod tests {
    use crate::net::{Net, batch, free_port};
    use consilium_contracts::v1::submit_response::Status;
    use consilium_domain::genesis::Params;
    use consilium_domain::tx::tx_id;
    use consilium_testkit::TikvPeer;
    use std::io::Write;
    use std::path::Path;
    use std::time::Duration;

    const ON_TIKV: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(60);

    fn found(name: &str) -> Net {
        let folder = std::env::temp_dir().join(format!("consilium-{}-{name}", std::process::id()));
        let binary = Path::new(env!("CARGO_BIN_EXE_consilium-consensus"));
        Net::found(&folder, 4, Params::default(), binary, false).unwrap()
    }

    fn configure(net: &Net, pd: &str) {
        let config = net.data(ON_TIKV).with_file_name("consensus.toml");
        let mut config = std::fs::File::options().append(true).open(config).unwrap();
        write!(config, "[tikv]\npd = [{pd:?}]\n").unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs a TiKV: make tikv"]
    async fn a_validator_on_tikv_takes_part_is_killed_and_takes_part_again() {
        let mut net = found("on-tikv");
        let folder = net.dir.join("tikv");
        let peer = TikvPeer::start(&folder, 1).unwrap();
        configure(&net, &peer.pd());
        for i in 0..4 {
            net.start(i).unwrap();
        }
        let (own, other) = (net.client(ON_TIKV).await.unwrap(), net.client(0).await.unwrap());
        own.reach(1, PATIENCE).await.unwrap();
        assert!(!net.data(ON_TIKV).join("kv").exists(), "nothing is kept beside TiKV");
        let mut acknowledged = Vec::new();
        for number in 0..20 {
            let tx = batch(&net.genesis, ON_TIKV, number, 1).unwrap();
            let answer = own.submit(tx.clone(), PATIENCE).await.unwrap();
            assert_eq!(answer.status(), Status::Committed, "{:?}", answer.failure);
            acknowledged.push(tx_id(&tx));
            if number % 7 == 6 {
                net.kill(ON_TIKV).unwrap();
                // The others go on meanwhile.
                let height = other.head().await.unwrap().height;
                other.reach(height + 3, PATIENCE).await.unwrap();
                net.start(ON_TIKV).unwrap();
                let height = other.head().await.unwrap().height;
                own.reach(height + 3, PATIENCE).await.unwrap();
            }
        }
        for id in &acknowledged {
            assert!(own.find(id).await.unwrap().committed.is_some(), "acknowledged, and lost");
        }
        // It is needed: without it and another one there is no quorum.
        net.kill(1).unwrap();
        let tx = batch(&net.genesis, ON_TIKV, 99, 1).unwrap();
        assert_eq!(own.submit(tx, PATIENCE).await.unwrap().status(), Status::Committed);
        assert!(!net.crashed(ON_TIKV).unwrap());

        // The cluster's store is killed: the validator waits for it, and goes on where it was.
        net.start(1).unwrap();
        let mut peer = peer;
        peer.kill_store(0).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        peer.start_store(0).unwrap();
        let height = other.head().await.unwrap().height;
        own.reach(height + 3, PATIENCE).await.unwrap();
        assert!(!net.crashed(ON_TIKV).unwrap());

        // A second node of the same organisation, with a disk of its own, takes the store over: the first one stops.
        let config = net.data(ON_TIKV).with_file_name("consensus.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let second = net.dir.join("second");
        std::fs::create_dir_all(&second).unwrap();
        let data = format!("{:?}", net.data(ON_TIKV));
        let text = text.replace(&data, &format!("{:?}", second.join("data")));
        // A port of its own too, or it would end before it comes to the store.
        let (before, after) = text.split_once("[health]\n").unwrap();
        let (_, after) = after.split_once('\n').unwrap_or_default();
        let text = format!("{before}[health]\nlisten = \"127.0.0.1:{}\"\n{after}", free_port().unwrap());
        std::fs::write(second.join("toml"), text).unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_consilium-consensus"))
            .arg("--config")
            .arg(second.join("toml"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if net.crashed(ON_TIKV).unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let crashed = net.crashed(ON_TIKV).unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(crashed, "two nodes on one store");
        assert!(net.log(ON_TIKV).contains("another process has opened this store"));
        drop(net);
        drop(peer);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_cannot_have_its_tikv_says_so_and_stops() {
        let mut net = found("no-tikv");
        configure(&net, "127.0.0.1:1");
        net.start(ON_TIKV).unwrap();
        for _ in 0..600 {
            if net.crashed(ON_TIKV).unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(net.crashed(ON_TIKV).unwrap(), "it runs without a store");
        let log = net.log(ON_TIKV);
        assert!(log.contains("open the store that `[tikv]` names"), "{log}");
        // Built without it, or with it and nobody there.
        assert!(log.contains("consilium-store/tikv") || log.contains("TiKV: "), "{log}");
        let _ = std::fs::remove_dir_all(&net.dir);
    }
}
