//! A hospital gone bad: whoever has hospital B's disk and its unseal key is hospital B's authority.

use super::World;
use super::keys::copy;
use crate::cluster::Hospital;
use anyhow::{Context, Result, bail, ensure};
use consilium_abe::sealing::AUTHORITY_FILE;
use consilium_abe::{AccessPolicy, Attribute, AuthoritySecretKey, Gid, Secret32, authority};
use consilium_contracts::v1::{ClassRequest, ClassResponse};
use consilium_contracts::{Message, Participant, Subjects};
use consilium_domain::genesis::Genesis;
use consilium_domain::{ChannelId, OrgId};
use consilium_keys::KeysError;
use consilium_keys::class::{ClassHeader, ClassName};
use consilium_keys::post_quantum::PostQuantum;
use consilium_keys::seal::{Files, KeyFile};
use consilium_keys::vault::{Folder, Vault};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One request of hospital A's own ingest to its keys service, by the rules of the bus
/// (docs.nats.io/reference/reference-protocols/nats-protocol).
fn class(world: &World, a: &Hospital, channel: &ChannelId, request: &ClassRequest) -> Result<ClassResponse> {
    let password = std::fs::read_to_string(world.cluster.secret(&a.name, "ingest.nats"))?;
    let subjects = Subjects::new(channel.clone(), OrgId::new(a.name.as_str())?);
    let inbox = format!("{}.story", Subjects::inbox_prefix(Participant::Ingest));
    let mut stream = TcpStream::connect(("127.0.0.1", world.cluster.bus()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let login = serde_json::json!({
        "user": format!("{}.ingest", a.name), "pass": password.trim(), "verbose": false, "lang": "story", "version": "1"
    });
    let body = request.encode_to_vec();
    write!(
        stream,
        "CONNECT {login}\r\nSUB {inbox} 1\r\nPUB {} {inbox} {}\r\n",
        &*subjects.keys_class(),
        body.len()
    )?;
    stream.write_all(&body)?;
    stream.write_all(b"\r\nPING\r\n")?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the message server has hung up");
        let words: Vec<&str> = line.split_whitespace().collect();
        let (header, length) = match words.as_slice() {
            ["-ERR", ..] => bail!("the message server says {line}"),
            ["MSG", _, _, length] => (0, length.parse::<usize>()?),
            ["HMSG", _, _, header, length] => (header.parse()?, length.parse()?),
            _ => continue,
        };
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload)?;
        let answer = ClassResponse::decode(payload.get(header..).context("a short message")?)?;
        if let Some(failure) = answer.failure {
            bail!("hospital A's keys service refuses: {}", failure.text);
        }
        return Ok(answer);
    }
}

/// What whoever has a vault's folder and its unseal key can open with.
struct Thief {
    genesis: Genesis,
    authority: AuthoritySecretKey,
    post_quantum: PostQuantum,
}

impl Thief {
    fn new(world: &World, b: &Hospital) -> Result<Self> {
        let genesis: Genesis = serde_json::from_slice(&std::fs::read(world.cluster.genesis())?)?;
        let folder = world.file("corrupt");
        copy(&world.cluster.dir().join(&b.name).join("data/keys"), &folder)?;
        let rng = &mut consilium_testkit::seeded(1);
        let key = KeyFile::new(&world.cluster.secret(&b.name, "unseal.key"));
        let files = Files::new(&folder, format!("{}/{}", genesis.channel, b.name));
        let unlocked = files.unlock(&key, None, rng)?;
        let vault: Vault = Folder::take(&folder)?.open(unlocked.master.sealing_key()?, unlocked.previous);
        let secret = vault.read(AUTHORITY_FILE)?.context("the vault has no authority")?;
        let organisation = OrgId::new(b.name.as_str())?;
        Ok(Self {
            authority: AuthoritySecretKey::from_bytes(&secret)?,
            post_quantum: PostQuantum::load(&vault, None, &genesis, &organisation, rng)?,
            genesis,
        })
    }

    /// Mints whatever the policy asks for, for any person, as far as an authority can, and opens.
    fn open(&self, name: &ClassName, answer: &ClassResponse) -> Result<Vec<u8>, KeysError> {
        let header = ClassHeader::decode(&answer.header)?;
        let gid = Gid::new("hospital-a/dr-a")?;
        let wanted: Vec<Attribute> =
            header.policy().terms().into_iter().map(|term| term.attribute().clone()).collect();
        let minted = authority::issue_all(&self.authority, &gid, &wanted, &mut consilium_testkit::seeded(2));
        let keys = consilium_keys::authority::public_keys(&self.genesis)?;
        let reject = Secret32::from_bytes(&[0; 32]);
        let secret = header.open_envelope(name, &keys, &gid, &minted, &reject)?;
        Ok(header.class_key(name, answer.epoch, &self.post_quantum, &secret)?.expose().to_vec())
    }
}

/// A class that needs an attribute of each of two hospitals, and as a control one that either of them opens.
pub fn authority(world: &mut World) -> Result<String> {
    let (a, b) = (world.a()?.clone(), world.b()?);
    let thief = Thief::new(world, &b)?;
    let channel = thief.genesis.channel.clone();
    let mut opened = Vec::new();
    for (id, gate) in [([0xc0; 32], "AND"), ([0xc1; 32], "OR")] {
        let policy = format!("clinician@{} {gate} clinician@{}", a.name, b.name);
        AccessPolicy::parse(&policy)?;
        let name = ClassName::new(&channel, &OrgId::new(a.name.as_str())?, &id)?;
        let request = ClassRequest { class_id: id.to_vec(), epoch: 0, policy };
        let answer = class(world, &a, &channel, &request)?;
        opened.push(match thief.open(&name, &answer) {
            Ok(key) => key == answer.kek,
            Err(KeysError::Denied) => false,
            Err(error) => return Err(error.into()),
        });
    }
    match opened.as_slice() {
        [false, true] => Ok(
            "hospital B's authority key and vault, taken: a class of hospital A that needs both hospitals' \
             attributes does not open; the control, one that hospital B's alone opens, does"
                .to_owned(),
        ),
        [true, ..] => bail!("hospital B's authority alone opened what needs two"),
        _ => {
            bail!("the control failed: hospital B's authority does not open what its attribute is enough for")
        }
    }
}
