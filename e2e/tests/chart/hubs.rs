//! Four organisations, each with the message server that the chart gives it, two of them hubs of the
//! consortium and leaves of each other: what one says reaches all over both, each copy with the label of its hub.
//! Services drop the second copy. TLS is taken out here: there are no certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use regex::Regex;

use crate::helm::{chart, parse, ready, succeed, tool};
use crate::nats::{PASSWORD, Running};

/// Each member and the hubs that it is a leaf of: all but its own.
const MEMBERS: [(&str, &[&str]); 4] = [
    ("hilltop", &["lakeside"]),
    ("lakeside", &["hilltop"]),
    ("riverside", &["lakeside", "hilltop"]),
    ("seaside", &["lakeside", "hilltop"]),
];

const HUBS: [&str; 2] = ["hilltop", "lakeside"];

/// How often everything is said again before the test gives up; a round lasts more than a second.
const ROUNDS: usize = 25;

/// Ports of one server.
#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    leaf: u16,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn render(member: &str, remotes: &[&str]) -> String {
    let mut command = tool("bin/helm");
    command.args(["template", "north"]).arg(chart());
    command.args(["--set", &format!("organisation={member},channel=north")]);
    if HUBS.contains(&member) {
        let names = MEMBERS.map(|(name, _)| name).join(",");
        command.args(["--set", &format!("nats.hub.enabled=true,nats.hub.members={{{names}}}")]);
    }
    for (index, hub) in remotes.iter().enumerate() {
        let remote = format!("nats.leaf.remotes[{index}]");
        let url = format!("tls://{hub}.example:7422");
        command
            .args(["--set", &format!("{remote}.hub={hub},{remote}.url={url},{remote}.existingSecret={hub}")]);
    }
    let objects = parse(&succeed(&mut command));
    let conf = objects.iter().find_map(|object| object["data"]["nats.conf"].as_str());
    conf.unwrap_or_else(|| panic!("no configuration for {member}")).to_owned()
}

fn start(member: &str, remotes: &[&str], ports: &BTreeMap<&str, Ports>) -> Running {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hubs-{member}"));
    fs::create_dir_all(&folder).unwrap();
    let conf = render(member, remotes)
        .replace("0.0.0.0:4222", &format!("127.0.0.1:{}", ports[member].client))
        .replace("0.0.0.0:7422", &format!("127.0.0.1:{}", ports[member].leaf))
        .replace("0.0.0.0:8222", "127.0.0.1:-1")
        .replace("/run/nats/nats.pid", &folder.join("pid").to_string_lossy());
    let conf = Regex::new(r"(?m)^ *tls \{.*\}$").unwrap().replace_all(&conf, "").into_owned();
    let path = folder.join("nats.conf");
    fs::write(&path, &conf).unwrap();
    let mut server = tool("bin/nats-server");
    for variable in Regex::new(r"\$([A-Z0-9_]+)").unwrap().captures_iter(&conf) {
        let name = &variable[1];
        let value = match name.strip_prefix("LEAF_").and_then(|rest| rest.strip_suffix("_URL")) {
            Some(index) => {
                let hub = remotes[index.parse::<usize>().unwrap()];
                format!("\"nats-leaf://{member}:{PASSWORD}@127.0.0.1:{}\"", ports[hub].leaf)
            }
            None if name == "POD_NAME" => format!("\"{member}-nats-0\""),
            None => format!("\"{PASSWORD}\""),
        };
        server.env(name, value);
    }
    Running(server.arg("-c").arg(path).arg("-l").arg(folder.join("log")).spawn().unwrap())
}

/// A client that speaks the text protocol.
struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16, user: &str) -> Self {
        let mut tries = 0;
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(tries < 200, "{user}: {error}"),
            }
            tries += 1;
            thread::sleep(Duration::from_millis(50));
        };
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self { stream, lines };
        client.say(&format!(
            "CONNECT {{\"user\":\"{user}\",\"pass\":\"{PASSWORD}\",\"verbose\":false,\"headers\":true}}\r\n"
        ));
        client
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that has come until 300 ms pass in silence.
    fn hear(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(length) if length > 0 => {
                    assert!(!line.starts_with("-ERR"), "{line}");
                    heard.push(line.trim().to_owned());
                }
                _ => return heard,
            }
        }
    }
}

#[test]
fn members_hear_each_other_over_two_hubs() {
    if !ready() {
        return;
    }
    let ports: BTreeMap<&str, Ports> =
        MEMBERS.iter().map(|(name, _)| (*name, Ports { client: free_port(), leaf: free_port() })).collect();
    let _servers: Vec<_> = MEMBERS.iter().map(|(name, remotes)| start(name, remotes, &ports)).collect();

    let mut gossips: Vec<_> = MEMBERS
        .iter()
        .map(|(name, _)| (*name, Client::connect(ports[name].client, &format!("{name}.consensus"))))
        .collect();
    let mut heard: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (_, client) in &mut gossips {
        client.say("SUB consilium.north.*.consensus.gossip 1\r\n");
        client.say("SUB consilium.north.*.consensus.gossip.via.* 2\r\n");
    }
    // Leaf connections and interest take a moment to spread: say it again until all have heard all, the others over
    // both hubs.
    let mut rounds = 0;
    while heard.values().map(BTreeSet::len).sum::<usize>() < 4 + 4 * 3 * HUBS.len() {
        assert!(rounds < ROUNDS, "not everybody heard everybody: {heard:?}");
        rounds += 1;
        for (name, client) in &mut gossips {
            client.say(&format!("PUB consilium.north.{name}.consensus.gossip {}\r\n{name}\r\n", name.len()));
        }
        for (name, client) in &mut gossips {
            let lines = client.hear();
            let said = lines.iter().filter_map(|line| line.strip_prefix("MSG ")?.split(' ').next());
            heard.entry(*name).or_default().extend(said.map(str::to_owned));
        }
    }
    for (name, _) in MEMBERS {
        let own = format!("consilium.north.{name}.consensus.gossip");
        let others = MEMBERS.iter().filter(|(other, _)| *other != name).flat_map(|(other, _)| {
            HUBS.map(|hub| format!("consilium.north.{other}.consensus.gossip.via.{hub}"))
        });
        assert_eq!(heard[name], others.chain([own]).collect(), "what {name} heard");
    }

    let mut answering: Vec<_> = MEMBERS
        .iter()
        .map(|(name, _)| (*name, Client::connect(ports[name].client, &format!("{name}.validate"))))
        .collect();
    for (name, client) in &mut answering {
        client.say(&format!("SUB consilium.north.{name}.validate.attest workers 1\r\n"));
    }
    let mut asking = Client::connect(ports["seaside"].client, "seaside.ingest");
    asking.say("SUB _INBOX.ingest.> 1\r\n");
    let mut answered = BTreeSet::new();
    let mut rounds = 0;
    while answered.len() < MEMBERS.len() {
        assert!(rounds < ROUNDS, "only {answered:?} answered");
        rounds += 1;
        for (name, _) in MEMBERS {
            asking
                .say(&format!("PUB consilium.north.{name}.validate.attest _INBOX.ingest.{name} 1\r\n?\r\n"));
        }
        for (name, client) in &mut answering {
            for line in client.hear() {
                let words: Vec<_> = line.split(' ').collect();
                if words[0] == "MSG" || words[0] == "HMSG" {
                    client.say(&format!("PUB {} {}\r\n{name}\r\n", words[3], name.len()));
                }
            }
        }
        let said = asking.hear().into_iter().filter(|line| MEMBERS.iter().any(|(member, _)| line == member));
        answered.extend(said);
    }
}
