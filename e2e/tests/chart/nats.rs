//! The message server's configuration: accepted by the real nats-server, with the permissions of the one
//! subject table, and with passwords that are taken as text.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use std::{fs, thread};

use consilium_contracts::subjects::{Grants, Participant, Reach, Subjects, VERBS};
use consilium_domain::{ChannelId, OrgId};
use regex::Regex;

use crate::helm::{RENDERED, Rendered, ready, rendered, run, text, tool};

/// A password that nats-server would read as a number if the chart did not quote it.
pub const PASSWORD: &str = "12e4567890123456";

fn conf(render: &Rendered) -> Option<&str> {
    Some(text(&render.find("ConfigMap", "-nats")?["data"]["nats.conf"]))
}

/// The configuration with paths of this machine, and its variables as Kubernetes would set them.
fn prepared(conf: &str, name: &str, server: &mut Command) -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{name}"));
    fs::create_dir_all(&scratch).unwrap();
    // No certificate here; the line is asserted where it is removed.
    let tls = Regex::new(r#"(?m)^ *tls \{ cert_file: "/run/secrets/nats/tls/tls.crt", .*\}$"#).unwrap();
    assert_eq!(tls.is_match(conf), conf.contains("listen: \"0.0.0.0:7422\""));
    let ca = Regex::new(r#"(?m)^ *tls \{ ca_file: "/etc/nats-ca/ca.crt" \}$"#).unwrap();
    assert_eq!(ca.find_iter(conf).count(), conf.matches("_URL, account:").count(), "a hub without a CA");
    let conf = ca.replace_all(conf, "");
    let here = tls.replace(&conf, "").replace("/run/nats/nats.pid", &scratch.join("pid").to_string_lossy());
    for variable in Regex::new(r"\$([A-Z0-9_]+)").unwrap().captures_iter(&here) {
        let value = match &variable[1] {
            name if name.ends_with("_URL") => {
                format!("\"tls://u:p@{}.example:7422\"", name.to_lowercase().replace('_', "-"))
            }
            name if name.ends_with("_PASSWORD") => format!("\"{PASSWORD}\""),
            _ => "\"north-consilium-nats-0\"".to_owned(),
        };
        server.env(&variable[1], value);
    }
    let path = scratch.join("nats.conf");
    fs::write(&path, here).unwrap();
    path
}

#[test]
fn the_real_server_accepts_every_configuration() {
    if !ready() {
        return;
    }
    let mut accepted = 0;
    for render in RENDERED.iter() {
        let Some(conf) = conf(render) else { continue };
        let mut server = tool("bin/nats-server");
        let path = prepared(conf, &render.values, &mut server);
        let (ok, out, error) = run(server.arg("-t").arg("-c").arg(path));
        assert!(ok, "{}: {out}{error}", render.values);
        accepted += 1;
    }
    assert!(accepted >= 4, "only {accepted} renders hold a message server");
}

#[test]
fn variables_reach_the_server_as_quoted_text() {
    if !ready() {
        return;
    }
    let read = Regex::new(r"\$([A-Z0-9_]+)").unwrap();
    let expanded = Regex::new(r"\$\(([A-Z0-9_]+)\)").unwrap();
    for render in RENDERED.iter() {
        let Some(conf) = conf(render) else { continue };
        let server = render.find("StatefulSet", "-nats").unwrap();
        let env = server["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        for variable in read.captures_iter(conf) {
            let entry = env.iter().find(|entry| entry["name"] == variable[1]);
            let value = text(&entry.unwrap_or_else(|| panic!("`{}` is not set", &variable[1]))["value"]);
            assert!(value.starts_with("\"") && value.ends_with('"'), "{}: {value}", &variable[1]);
            for used in expanded.captures_iter(value) {
                let own = env.iter().position(|entry| entry["name"] == variable[1]).unwrap();
                let source = env.iter().position(|entry| entry["name"] == used[1]);
                assert!(source.is_some_and(|at| at < own), "`{}` must be set before its use", &used[1]);
            }
        }
    }
}

/// Subjects in `name: { allow: [...] }` of one user's entry, sorted.
fn allowed(entry: &str, name: &str) -> Vec<String> {
    let list = Regex::new(&format!(r"{name}: \{{ allow: \[(.*?)\] \}}")).unwrap();
    let mut subjects: Vec<String> = list.captures(entry).unwrap()[1]
        .split(", ")
        .map(|subject| subject.trim_matches('"').to_owned())
        .collect();
    subjects.sort();
    subjects
}

#[test]
fn permissions_are_those_of_the_subject_table() {
    if !ready() {
        return;
    }
    let render = rendered("riverside.yaml");
    let conf = conf(render).unwrap();
    let subjects = Subjects::new(ChannelId::new("north").unwrap(), OrgId::new("riverside").unwrap());
    for participant in Participant::ALL {
        let user = format!("{{ user: \"riverside.{participant}\", password: ");
        let entry = conf.split(&user).nth(1).unwrap_or_else(|| panic!("no user for {participant}"));
        let Grants { mut publish, mut subscribe } = subjects.grants(participant);
        publish.sort();
        subscribe.sort();
        assert_eq!(allowed(entry, "publish"), publish, "{participant} publishes");
        assert_eq!(allowed(entry, "subscribe"), subscribe, "{participant} subscribes");
    }
    let mut inside: Vec<String> = VERBS
        .iter()
        .filter(|verb| verb.reach == Reach::Inside)
        .map(|verb| format!("consilium.north.riverside.{}.{}", verb.owner, verb.name))
        .collect();
    inside.sort();
    for key in ["deny_imports", "deny_exports"] {
        let lists: Vec<_> = Regex::new(&format!(r"{key}: \[(.*?)\]"))
            .unwrap()
            .captures_iter(conf)
            .map(|found| {
                let mut list: Vec<String> =
                    found[1].split(", ").map(|s| s.trim_matches('"').to_owned()).collect();
                list.sort();
                list
            })
            .collect();
        // From each hub comes only its own label.
        let expected = ["hilltop", "lakeside"].map(|other| {
            let label = format!("consilium.north.*.consensus.gossip.via.{other}");
            let mut list: Vec<String> =
                inside.iter().cloned().chain((key == "deny_imports").then_some(label)).collect();
            list.sort();
            list
        });
        assert_eq!(lists, expected, "{key} at both hubs");
    }
}

#[test]
fn a_hub_exports_and_imports_what_crosses() {
    if !ready() {
        return;
    }
    let conf = conf(rendered("hub.yaml")).unwrap();
    let members = ["hilltop", "lakeside", "riverside", "seaside"];
    for member in members {
        let subjects = Subjects::new(ChannelId::new("north").unwrap(), OrgId::new(member).unwrap());
        let exports = subjects.exports();
        let others: Vec<_> = members.iter().filter(|other| **other != member).collect();
        for (kind, list) in [("service", &exports.services), ("stream", &exports.streams)] {
            for subject in list {
                let accounts = format!("{others:?}");
                assert!(
                    conf.contains(&format!("{{ {kind}: \"{subject}\", accounts: {accounts} }}")),
                    "{subject}"
                );
                let label = match kind {
                    "stream" => format!(", to: \"{subject}.via.lakeside\""),
                    _ => String::new(),
                };
                let import =
                    format!("{{ {kind}: {{ account: \"{member}\", subject: \"{subject}\" }}{label} }}");
                assert_eq!(conf.matches(&import).count(), 3, "{import}");
            }
        }
    }
    let crossing = conf.matches("accounts: [").count();
    assert_eq!(crossing, 4 * 5, "four members export five subjects each");
}

/// A running server; ended when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says `lines` after connecting as `user`, then PING; everything the server says up to PONG or its end.
fn converse(port: u16, user: &str, password: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let connect = format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false}}");
    stream.write_all(format!("{connect}\r\n{lines}PING\r\n").as_bytes()).unwrap();
    let mut said = String::new();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        said.push_str(&line);
        said.push('\n');
        if line == "PONG" {
            break;
        }
    }
    said
}

#[test]
fn a_service_may_do_its_own_and_no_other() {
    if !ready() {
        return;
    }
    let mut server = tool("bin/nats-server");
    let conf = conf(rendered("minimal.yaml")).unwrap();
    let conf = conf.replace("0.0.0.0:4222", "127.0.0.1:-1").replace("0.0.0.0:8222", "127.0.0.1:-1");
    let path = prepared(&conf, "running", &mut server);
    let ports = path.with_file_name("ports");
    let _ = fs::remove_dir_all(&ports);
    fs::create_dir_all(&ports).unwrap();
    let _running = Running(
        server
            .arg("-c")
            .arg(&path)
            .arg("-l")
            .arg(path.with_file_name("log"))
            .arg("--ports_file_dir")
            .arg(&ports)
            .spawn()
            .unwrap(),
    );
    let address = Regex::new(r#""nats":\s*\[\s*"nats://127.0.0.1:(\d+)""#).unwrap();
    let mut port = None;
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(50));
        let file = fs::read_dir(&ports).unwrap().flatten().next();
        let content = file.and_then(|file| fs::read_to_string(file.path()).ok()).unwrap_or_default();
        if let Some(found) = address.captures(&content) {
            port = found[1].parse().ok();
            break;
        }
    }
    let port: u16 = port.unwrap_or_else(|| panic!("nats-server did not start"));

    let own = "PUB consilium.main.north.keys.open 1\r\nx\r\n";
    let said = converse(port, "north.ingest", PASSWORD, own);
    assert!(said.contains("PONG") && !said.contains("-ERR"), "{said}");
    assert!(converse(port, "north.ingest", "1200000", own).contains("Authorization Violation"));
    assert!(converse(port, "north.nobody", PASSWORD, own).contains("Authorization Violation"));
    let foreign = converse(port, "north.validate", PASSWORD, own);
    assert!(foreign.contains("Permissions Violation for Publish"), "{foreign}");
    let inbox = converse(port, "north.audit", PASSWORD, "SUB _INBOX.ingest.> 1\r\n");
    assert!(inbox.contains("Permissions Violation for Subscription"), "{inbox}");
}
