//! A TiKV cluster on this machine: the placement driver of TiKV and, in the place of its stores, unistore, which speaks
//! the same protocol (`scripts/tikv-peer.sh` builds both). Dropping it ends its processes.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The processes.
#[derive(Debug)]
pub struct TikvPeer {
    binaries: PathBuf,
    folder: PathBuf,
    pd: Child,
    pd_port: u16,
    stores: Vec<Store>,
}

#[derive(Debug)]
struct Store {
    ports: (u16, u16),
    process: Option<Child>,
}

fn port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens there.
fn listening(port: u16) -> io::Result<()> {
    for _ in 0..300 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::other(format!("nobody listens at port {port}")))
}

impl TikvPeer {
    /// Starts a cluster in an empty folder; each pair is kept by all of `stores`, which must be odd.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(folder: &Path, stores: usize) -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        let binaries = tools.join("bin/tikv-peer");
        if !binaries.join("pd-server").exists() {
            return Err(io::Error::other("no TiKV: run `make tikv`"));
        }
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("pd.toml"), format!("[replication]\nmax-replicas = {stores}\n"))?;
        // Small regions, so that a test has several.
        let text = "[server]\nlog-level = \"warn\"\nregion-size = 1048576\nmax-procs = 2\n";
        std::fs::write(folder.join("store.toml"), text)?;
        let (pd_port, peers) = (port()?, port()?);
        let pd = Command::new(binaries.join("pd-server"))
            .arg("--name=pd")
            .arg(format!("--data-dir={}", folder.join("pd").display()))
            .arg(format!("--client-urls=http://127.0.0.1:{pd_port}"))
            .arg(format!("--peer-urls=http://127.0.0.1:{peers}"))
            .arg(format!("--config={}", folder.join("pd.toml").display()))
            .arg(format!("--log-file={}", folder.join("pd.log").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let (binaries, folder) = (binaries, folder.to_owned());
        let mut peer = Self { binaries, folder, pd, pd_port, stores: Vec::new() };
        listening(pd_port)?;
        for i in 0..stores {
            peer.stores.push(Store { ports: (port()?, port()?), process: None });
            peer.start_store(i)?;
        }
        Ok(peer)
    }

    /// Address of the placement driver.
    pub fn pd(&self) -> String {
        format!("127.0.0.1:{}", self.pd_port)
    }

    /// Starts a store on the disk that it had.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_store(&mut self, i: usize) -> io::Result<()> {
        let pd = self.pd();
        let store = self.stores.get_mut(i).ok_or_else(|| io::Error::other("no such store"))?;
        let data = self.folder.join(format!("store-{i}"));
        std::fs::create_dir_all(&data)?;
        let log = std::fs::File::options().create(true).append(true).open(data.join("output"))?;
        let (port, status) = store.ports;
        let process = Command::new(self.binaries.join("unistore-server"))
            .args(["--pd", &pd, "--addr", &format!("127.0.0.1:{port}")])
            .args(["--status-addr", &format!("127.0.0.1:{status}")])
            .arg("--config")
            .arg(self.folder.join("store.toml"))
            .arg("--data-dir")
            .arg(&data)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        store.process = Some(process);
        listening(port)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_store(&mut self, i: usize) -> io::Result<()> {
        match self.stores.get_mut(i).and_then(|s| s.process.take()) {
            Some(process) => end(process),
            None => Ok(()),
        }
    }
}

fn end(mut process: Child) -> io::Result<()> {
    process.kill()?;
    process.wait().map(|_| ())
}

impl Drop for TikvPeer {
    fn drop(&mut self) {
        for store in &mut self.stores {
            if let Some(process) = store.process.take() {
                let _ = end(process);
            }
        }
        let _ = self.pd.kill();
        let _ = self.pd.wait();
    }
}
