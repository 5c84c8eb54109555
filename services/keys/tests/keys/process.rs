//! The process itself: arguments, probes, signals. No bus is there, and that is no reason to die.

use crate::harness::{UNSEAL, World, files, write_secret};
use std::process::Command;
use std::time::Duration;

pub mod program {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::PathBuf;
    use std::process::Child;

    pub fn keys() -> Command {
        Command::new(env!("CARGO_BIN_EXE_consilium-keys"))
    }

    /// Writes a configuration and gives its path and the port of the probes.
    pub fn configure(world: &World, extra: &str) -> (PathBuf, u16) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = world.folder.display();
        write_secret(&world.folder.join("password"), "0123456789abcdef\n");
        let text = format!(
            r#"
            [organisation]
            name = "a"
            channel = "north"
            [bus]
            url = "nats://127.0.0.1:1"
            user = "a.keys"
            password_file = "{folder}/password"
            [health]
            listen = "127.0.0.1:{port}"
            [keys]
            data_dir = "{folder}/a"
            genesis_file = "{folder}/genesis.json"
            unseal_key_file = "{folder}/a.unseal"
            {extra}
            "#
        );
        let path = world.folder.join("keys.toml");
        std::fs::write(&path, text).unwrap();
        (path, port)
    }

    /// Status and body of a GET, or nothing while nobody listens.
    pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer))
    }

    /// Status and JSON of a POST.
    pub fn post(port: u16, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// A port that was free a moment ago.
    pub fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Starts the service with its log in `log`.
    pub fn start(config: &std::path::Path, log: &std::path::Path, env: &[(&str, &str)]) -> Running {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = keys();
        command.arg("--config").arg(config).envs(env.iter().copied());
        Running(command.stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap())
    }

    impl Running {
        /// Whether the probes say that the vault is open.
        pub fn is_open(port: u16) -> bool {
            get(port, "/readyz").is_some_and(|(_, body)| body.contains("vault: ready"))
        }

        /// Asks it to stop and waits.
        pub fn stop(mut self) {
            Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap();
            wait(|| self.0.try_wait().unwrap().is_some());
        }
    }

    pub fn wait(mut condition: impl FnMut() -> bool) {
        for _ in 0..300 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the condition did not come to hold within 15 s");
    }

    pub struct Running(pub Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

use program::{Running, configure, get, keys, wait};

#[test]
fn it_starts_without_a_bus_says_so_and_stops_when_told() {
    let world = World::new();
    let (config, port) = configure(&world, "");
    let log = world.folder.join("log");
    let child =
        keys().arg("--config").arg(&config).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut running = Running(child);
    wait(|| get(port, "/readyz").is_some_and(|(_, body)| body.contains("vault: ready")));
    let (status, body) = get(port, "/readyz").unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("process: ready") && body.contains("bus: "), "{body}");
    assert_eq!(get(port, "/livez").unwrap().0, 200);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let metrics = get(port, "/metrics").unwrap().1;
    assert!(metrics.contains("consilium_keys_bus_ready 0") && metrics.contains("consilium_keys_build_info"));

    let second = keys().arg("--config").arg(&config).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "the vault and the port are taken");

    Command::new("kill").arg("-TERM").arg(running.0.id().to_string()).status().unwrap();
    let mut status = None;
    wait(|| {
        status = running.0.try_wait().unwrap();
        status.is_some()
    });
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.unwrap().code(), Some(0), "{log}");
    assert!(log.contains("Starting") && log.contains("Stopped"), "{log}");
    assert!(!log.contains("0123456789abcdef") && !log.contains(UNSEAL), "a secret is in the log");
    assert!(!files(&world.folder.join("a")).is_empty());
}

#[test]
fn its_memory_is_locked_where_that_is_allowed_and_it_says_where_not() {
    let world = World::new();
    let (config, port) = configure(&world, "");
    let allowed = |limit: &str, without: bool| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--memlock={limit}")).arg("--");
        if without {
            command.args(["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "--"]);
        }
        command.arg(env!("CARGO_BIN_EXE_consilium-keys")).arg("--config").arg(&config);
        let log = world.folder.join("log-memory");
        command.stderr(std::fs::File::create(&log).unwrap());
        let mut running = Running(command.spawn().unwrap());
        wait(|| {
            assert!(running.0.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
            get(port, "/readyz").is_some_and(|(_, body)| body.contains("vault: ready"))
        });
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim().to_owned();
        let metrics = get(port, "/metrics").unwrap().1;
        let metric = metrics.lines().find_map(|line| line.strip_prefix("consilium_keys_memory_locked "));
        let (metric, log) = (metric.unwrap().to_owned(), std::fs::read_to_string(&log).unwrap());
        running.stop();
        (metric == "1", locked != "0 kB", log.contains("may get to the swap device"))
    };
    // Root has the capability and can give it up; nobody else has it.
    let drop = ["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "--", "true"];
    let root = Command::new("setpriv").args(drop).stderr(std::process::Stdio::null()).status().unwrap();
    // A limit that is too small: the service runs, and says so.
    assert_eq!(allowed("65536:65536", root.success()), (false, false, true));
    if root.success() {
        assert_eq!(allowed("65536:65536", false), (true, true, false), "with CAP_IPC_LOCK");
    } else {
        eprintln!("SKIPPED: nobody here may lock memory");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_status_2() {
    let world = World::new();
    let (config, _) = configure(&world, "");
    let check = |extra: &str| {
        let (config, _) = configure(&world, extra);
        keys().arg("--check-config").arg("--config").arg(config).output().unwrap()
    };
    assert_eq!(check("").status.code(), Some(0));
    assert_eq!(
        check("[[mapping]]\nrole = \"practitioner\"\nattribute = \"clinician\"").status.code(),
        Some(0)
    );
    let refused = check("[limits]\nopens_per_hour = 3");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("opens_per_hour"));
    std::fs::write(&config, "[keys]\n").unwrap();
    assert_eq!(keys().arg("--config").arg(&config).output().unwrap().status.code(), Some(2));
    assert_eq!(keys().arg("--config").output().unwrap().status.code(), Some(2));
    assert_eq!(keys().arg("--frobnicate").output().unwrap().status.code(), Some(2));
    let version = keys().arg("--version").output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("consilium-keys "));
}
