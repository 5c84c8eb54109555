//! The process with each sealing method: the first start, a restart without a person or with one.

use crate::harness::{World, files, write_secret};
use crate::process::program::{Running, configure, free_port, get, post, start, wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

mod methods {
    use super::*;

    /// Takes the key file out of a configuration.
    pub fn without_key_file(config: &Path) {
        let text = std::fs::read_to_string(config).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("unseal_key_file")).collect();
        std::fs::write(config, kept.join("\n")).unwrap();
    }

    pub fn method(world: &World) -> String {
        let text = std::fs::read_to_string(world.folder.join("a/master.seal")).unwrap();
        let sealed: serde_json::Value = serde_json::from_str(&text).unwrap();
        sealed["method"].as_str().unwrap().to_owned()
    }

    /// SoftHSM's module and a token of ours in a folder; nothing where it is not installed.
    pub fn soft_hsm(folder: &Path) -> Option<(PathBuf, String)> {
        let module = PathBuf::from("/usr/lib/softhsm/libsofthsm2.so");
        let util = Command::new("softhsm2-util").arg("--version").output().is_ok();
        if !(util && module.exists()) {
            assert!(
                std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() != Ok("1"),
                "SoftHSM is missing: `scripts/setup.sh test` installs it"
            );
            eprintln!("skipped: SoftHSM is not installed (Debian package softhsm2)");
            return None;
        }
        let tokens = folder.join("tokens");
        std::fs::create_dir_all(&tokens).unwrap();
        let conf = folder.join("softhsm2.conf").display().to_string();
        std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
            .unwrap();
        run_util(
            &conf,
            &["--init-token", "--free", "--label", "consilium", "--so-pin", "12345678", "--pin", "87654321"],
        );
        Some((module, conf))
    }

    /// Puts an AES-256 key into the token.
    pub fn import(conf: &str, folder: &Path, octet: u8, label: &str) {
        let file = folder.join("aes");
        std::fs::write(&file, [octet; 32]).unwrap();
        let path = file.display().to_string();
        run_util(
            conf,
            &[
                "--import",
                &path,
                "--aes",
                "--token",
                "consilium",
                "--pin",
                "87654321",
                "--label",
                label,
                "--id",
                "01",
            ],
        );
        std::fs::remove_file(&file).unwrap();
    }

    fn run_util(conf: &str, arguments: &[&str]) {
        let output =
            Command::new("softhsm2-util").env("SOFTHSM2_CONF", conf).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

use methods::{import, method, soft_hsm, without_key_file};

#[test]
fn a_token_unseals_without_a_person() {
    let world = World::new();
    let Some((module, conf)) = soft_hsm(&world.folder) else { return };
    import(&conf, &world.folder, 0x5a, "master-wrap");
    let pin = world.folder.join("pin");
    write_secret(&pin, "87654321\n");
    let seal = format!(
        "[seal]\nmethod = \"pkcs11\"\nmodule = \"{}\"\ntoken = \"consilium\"\npin_file = \"{}\"\nkey = \"master-wrap\"\n",
        module.display(),
        pin.display()
    );
    let (config, port) = configure(&world, &seal);
    let (log, env) = (world.folder.join("log"), [("SOFTHSM2_CONF", conf.as_str())]);
    let running = start(&config, &log, &env);
    wait(|| Running::is_open(port));
    running.stop();
    assert_eq!(method(&world), "pkcs11");
    std::fs::remove_file(world.folder.join("a.unseal")).unwrap();
    without_key_file(&config);
    let running = start(&config, &log, &env);
    wait(|| Running::is_open(port));
    running.stop();
    // The disk with another token opens nothing.
    let second = world.folder.join("second");
    std::fs::create_dir_all(&second).unwrap();
    let (_, other) = soft_hsm(&second).unwrap();
    import(&other, &second, 0x5b, "master-wrap");
    let mut running = start(&config, &log, &[("SOFTHSM2_CONF", other.as_str())]);
    let mut status = None;
    wait(|| {
        status = running.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("the master key does not open by `pkcs11`"), "{log}");
    assert!(!log.contains("87654321"), "the PIN is in the log");
}

#[test]
fn a_passphrase_is_asked_of_a_person_once_per_start() {
    const WORDS: &str = "six words of a long diceware list";
    let world = World::new();
    let door = free_port();
    let settings = format!(
        "[seal]\nmethod = \"passphrase\"\nmemory_kib = 19456\npasses = 2\n[admin]\nlisten = \"127.0.0.1:{door}\"\n"
    );
    let (config, port) = configure(&world, &settings);
    let log = world.folder.join("log");
    for round in ["first start", "restart"] {
        let running = start(&config, &log, &[]);
        wait(|| get(port, "/readyz").is_some_and(|(_, body)| body.contains("vault: sealed: a person")));
        let status = get(door, "/v1/status").unwrap().1;
        assert!(status.contains("\"sealed\":true") && status.contains("passphrase"), "{status}");
        let (code, body) = post(door, "/v1/motions", &json!({"verb": "rotate-master"}));
        assert_eq!((code, body["code"].as_str()), (403, Some("refused")), "{body}");
        if round == "restart" {
            let (code, body) =
                post(door, "/v1/unseal", &json!({"passphrase": "six words of another diceware list"}));
            assert_eq!(code, 403, "{body}");
            assert!(body["error"].as_str().unwrap().contains("does not open"), "{body}");
        }
        let (code, body) = post(door, "/v1/unseal", &json!({"passphrase": WORDS}));
        assert_eq!((code, &body["sealed"]), (200, &json!(false)), "{round}: {body}");
        wait(|| Running::is_open(port));
        running.stop();
    }
    assert_eq!(method(&world), "passphrase");
    assert!(!std::fs::read_to_string(&log).unwrap().contains("diceware"), "the passphrase is in the log");
    for path in files(&world.folder.join("a")) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"diceware"), "{path:?}");
    }
}

#[test]
fn a_service_waits_for_what_unseals_it_and_a_loose_key_file_is_refused() {
    let world = World::new();
    let token = world.folder.join("token");
    write_secret(&token, "hvs.x");
    let closed = free_port();
    let settings = format!(
        "[seal]\nmethod = \"vault-transit\"\naddress = \"http://127.0.0.1:{closed}\"\nkey = \"consilium\"\ntoken_file = \"{}\"\n",
        token.display()
    );
    let (config, port) = configure(&world, &settings);
    let log = world.folder.join("log");
    let running = start(&config, &log, &[]);
    wait(|| get(port, "/readyz").is_some_and(|(_, body)| body.contains("vault: sealed: the transit engine")));
    assert_eq!(get(port, "/livez").unwrap().0, 200, "it waits, it does not die");
    running.stop();

    let (config, _) = configure(&world, "");
    let key = world.folder.join("a.unseal");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut running = start(&config, &log, &[]);
    let mut status = None;
    wait(|| {
        status = running.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("may be read by everybody") && log.contains("644"), "{log}");
}
