//! A tap on the bus: services connect to it, it passes every byte on to nats-server and keeps what leaves an
//! organisation.
//!
//! NATS accounts are walls: what a client publishes reaches another account only through an export of its own account
//! (gossip), through an import of another's (a request to `consilium.<channel>.<other>.…`), or as the answer to such a
//! request (`_R_.…`, the reply subject that nats-server makes for service imports). Those three are "across"; all else
//! stays among the services of one organisation.

use crate::frames::{ClientStream, Published};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Messages and bytes of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub messages: u64,
    pub bytes: u64,
}

struct Kept {
    across: BufWriter<File>,
    subjects: BufWriter<File>,
    tallies: BTreeMap<String, Tally>,
    inside: Tally,
    failure: Option<std::io::Error>,
}

/// The tap. It runs until the process ends.
pub struct Recorder {
    kept: Arc<Mutex<Kept>>,
    across: PathBuf,
    subjects: PathBuf,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Recorder {
    /// Listens on `port` and connects to `server`; both on loopback. Files go to `dir`.
    pub fn start(port: u16, server: u16, dir: &Path) -> Result<Self> {
        let (across, subjects) = (dir.join("bus-across.bin"), dir.join("bus-subjects.txt"));
        let kept = Arc::new(Mutex::new(Kept {
            across: BufWriter::new(File::create(&across)?),
            subjects: BufWriter::new(File::create(&subjects)?),
            tallies: BTreeMap::new(),
            inside: Tally::default(),
            failure: None,
        }));
        let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("listen on {port}"))?;
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let kept = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A connection that cannot be made is closed: the client tries again, as with a server that is away.
                    if let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) {
                        let _ = pass_on(client, upstream, &kept);
                    }
                });
            }
        });
        Ok(Self { kept, across, subjects })
    }

    /// Where everything that went across lies: for each message a line with user and subject, then its bytes.
    pub fn across(&self) -> &Path {
        &self.across
    }

    /// Where the subject of every message lies, inside or across.
    pub fn subjects(&self) -> &Path {
        &self.subjects
    }

    /// Flushes the files and says what was seen: across by kind, and inside in total.
    pub fn tallies(&self) -> Result<(BTreeMap<String, Tally>, Tally)> {
        let mut kept = lock(&self.kept);
        if let Some(e) = kept.failure.take() {
            return Err(e).context("the tap could not write what it saw");
        }
        kept.across.flush()?;
        kept.subjects.flush()?;
        Ok((kept.tallies.clone(), kept.inside))
    }
}

fn pass_on(client: TcpStream, server: TcpStream, kept: &Mutex<Kept>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut stream = ClientStream::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = from_client.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else { break };
        to_server.write_all(bytes)?;
        for message in stream.feed(bytes) {
            keep(kept, &stream.user, &message);
        }
    }
    to_server.shutdown(Shutdown::Both)
}

/// The kind of a message that leaves its sender's organisation; `None` for one that stays.
fn across(user: &str, subject: &str) -> Option<String> {
    if subject.starts_with("_R_.") {
        return Some("answers".to_owned());
    }
    let own = user.split('.').next().unwrap_or_default();
    let mut tokens = subject.split('.');
    if tokens.next() != Some("consilium") {
        return None;
    }
    let (organisation, service, verb) = (tokens.nth(1)?, tokens.next()?, tokens.next()?);
    let exported = (service, verb) == ("consensus", "gossip");
    (organisation != own || exported).then(|| format!("{service}.{verb}"))
}

fn keep(kept: &Mutex<Kept>, user: &str, message: &Published) {
    let size = message.body.len() as u64;
    let mut kept = lock(kept);
    let mut written =
        writeln!(kept.subjects, "{user} {} {}", message.subject, message.reply.as_deref().unwrap_or("-"));
    match across(user, &message.subject) {
        None => {
            kept.inside.messages += 1;
            kept.inside.bytes += size;
        }
        Some(kind) => {
            let tally = kept.tallies.entry(kind).or_default();
            tally.messages += 1;
            tally.bytes += size;
            written = written
                .and_then(|()| writeln!(kept.across, "{user} {} {size}", message.subject))
                .and_then(|()| kept.across.write_all(&message.body))
                .and_then(|()| kept.across.write_all(b"\n"));
        }
    }
    if let Err(e) = written {
        kept.failure = Some(e);
    }
}

#[cfg(test)]
mod tests {
    use super::across;

    #[test]
    fn what_leaves_an_organisation_is_told_from_what_stays() {
        let user = "hospital-a.ingest";
        assert_eq!(
            across(user, "consilium.care.hospital-b.validate.attest").as_deref(),
            Some("validate.attest")
        );
        assert_eq!(
            across(user, "consilium.care.hospital-a.consensus.gossip").as_deref(),
            Some("consensus.gossip")
        );
        assert_eq!(across(user, "consilium.care.hospital-b.blob.ingest.x").as_deref(), Some("blob.ingest"));
        assert_eq!(across(user, "_R_.abc.def").as_deref(), Some("answers"));
        assert_eq!(across(user, "consilium.care.hospital-a.validate.check"), None);
        assert_eq!(across(user, "_INBOX.ingest.1"), None);
    }
}
