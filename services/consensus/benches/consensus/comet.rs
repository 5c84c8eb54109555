//! CometBFT on the same machine: four nodes with the kvstore application, loaded by CometBFT's own tool.

use crate::figures::Figures;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// As benchmarks name it; the version that `scripts/cometbft.sh` installs.
pub const NAME: &str = "CometBFT 0.38.25";

/// Its programs.
pub struct Comet {
    bin: PathBuf,
}

struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Comet {
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        let bin = tools.join("bin").join("cometbft-0.38.25");
        for program in ["cometbft", "load", "report"] {
            ensure!(
                bin.join(program).exists(),
                "run scripts/cometbft.sh: there is no {program} in {}",
                bin.display()
            );
        }
        Ok(Self { bin })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        let done =
            Command::new(self.bin.join(program)).args(arguments).output().context("run a peer's program")?;
        if !done.status.success() {
            bail!("{program}: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(done.stdout)
    }

    /// `rate` transactions of `size` bytes at the beginning of each second.
    pub fn run(&self, dir: &Path, rate: usize, size: usize, length: Duration) -> Result<Figures> {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir)?;
        let net = dir.display().to_string();
        self.command(
            "cometbft",
            &["testnet", "--v", "4", "--o", &net, "--starting-ip-address", "127.0.0.1"],
        )?;
        let mut nodes = Nodes(Vec::new());
        for i in 0..4 {
            let home = dir.join(format!("node{i}"));
            let file = home.join("config/config.toml");
            let ip = format!("127.0.0.{}", i + 1);
            let text = std::fs::read_to_string(&file)?;
            let mut out = String::new();
            for line in text.lines() {
                let line = match line {
                    _ if line.starts_with("laddr = \"tcp://") => {
                        let port = line.rsplit(':').next().unwrap_or_default();
                        format!("laddr = \"tcp://{ip}:{port}")
                    }
                    _ if line.starts_with("timeout_commit") => "timeout_commit = \"0s\"".to_owned(),
                    _ => line.to_owned(),
                };
                out.push_str(&line);
                out.push('\n');
            }
            std::fs::write(&file, out)?;
            let log = std::fs::File::create(dir.join(format!("n{i}.log")))?;
            let mut command = Command::new(self.bin.join("cometbft"));
            command.arg("node").arg("--home").arg(&home).arg("--proxy_app=kvstore");
            nodes.0.push(command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).spawn()?);
        }
        std::thread::sleep(Duration::from_secs(4));
        let cpu = |nodes: &Nodes| nodes.0.iter().map(|c| crate::net::cpu_of(c.id())).sum::<Result<f64>>();
        let before = cpu(&nodes)?;
        let (t, r, s) = (length.as_secs().to_string(), rate.to_string(), size.to_string());
        let all = ["-c", "1", "-T", &t, "-r", &r, "-s", &s, "--broadcast-tx-method", "sync", "--endpoints"];
        // Its exit status says whether all were accepted; a full mempool refuses some.
        let _ = self.command("load", &[&all[..], &["ws://127.0.0.1:26657/websocket"]].concat());
        std::thread::sleep(Duration::from_secs(2));
        let after = cpu(&nodes)?;
        drop(nodes);
        let (data, csv) = (dir.join("node0/data").display().to_string(), dir.join("all.csv"));
        let file = csv.display().to_string();
        self.command("report", &["--database-type", "goleveldb", "--data-dir", &data, "--csv", &file])?;
        let text = std::fs::read_to_string(&csv).context("the peer's report")?;
        let column = |line: &str, n: usize| line.split(',').nth(n).and_then(|f| f.parse::<f64>().ok());
        let rows: Vec<(f64, f64)> =
            text.lines().filter_map(|l| Some((column(l, 1)?, column(l, 2)?))).collect();
        ensure!(!rows.is_empty(), "the peer committed nothing");
        let first = rows.iter().map(|(at, took)| at - took).fold(f64::INFINITY, f64::min);
        let last = rows.iter().map(|(at, _)| *at).fold(0.0, f64::max);
        Ok(Figures {
            latencies: rows.iter().map(|(_, took)| took / 1e6).collect(),
            took: Duration::from_secs_f64((last - first) / 1e9),
            cpu: after - before,
            cpu_transport: 0.0,
        })
    }
}
