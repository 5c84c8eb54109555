//! Every subject of the bus, in one table, and the permissions that follow from it.
//!
//! `consilium.<channel>.<organisation>.<service>.<verb>`; blobs are at
//! `consilium.<channel>.<organisation>.blob.<service>.<instance>`.

use consilium_domain::{ChannelId, OrgId};
use std::fmt;
use std::ops::Deref;

/// A process that has a user in its organisation's NATS account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Participant {
    Ingest,
    Validate,
    Consensus,
    Keys,
    Audit,
}

impl Participant {
    /// All five, in the order in which the documents list them.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Validate, Self::Consensus, Self::Keys, Self::Audit];

    /// The token that stands in subjects and user names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Validate => "validate",
            Self::Consensus => "consensus",
            Self::Keys => "keys",
            Self::Audit => "audit",
        }
    }

    /// The participant of that name (a service's `NAME`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a subject reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Never leaves the organisation's account.
    Inside,
    /// Exported from the organisation's account and imported by every other member's.
    Across,
}

/// What travels on a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Others send requests, the owner answers each once.
    Request,
    /// The owner publishes, others listen.
    Publish,
}

/// Stands between a published subject and the name of the hub that handed it over.
pub const VIA: &str = "via";

/// One row of the table in `proto/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb {
    /// The service that answers (request) or publishes.
    pub owner: Participant,
    /// Last token of the subject.
    pub name: &'static str,
    pub pattern: Pattern,
    pub reach: Reach,
    /// Who sends the requests or listens. With [`Reach::Across`]: these services of every member.
    pub others: &'static [Participant],
}

use Participant::{Audit, Consensus, Ingest, Keys, Validate};
use Pattern::{Publish, Request};
use Reach::{Across, Inside};

const fn verb(
    owner: Participant,
    name: &'static str,
    pattern: Pattern,
    reach: Reach,
    others: &'static [Participant],
) -> Verb {
    Verb { owner, name, pattern, reach, others }
}

/// Every verb of the bus, blobs aside.
pub const VERBS: &[Verb] = &[
    verb(Validate, "check", Request, Inside, &[Ingest]),
    verb(Validate, "attest", Request, Across, &[Ingest]),
    verb(Validate, "schema", Request, Inside, &[Ingest]),
    verb(Consensus, "submit", Request, Inside, &[Ingest, Audit]),
    verb(Consensus, "find", Request, Inside, &[Ingest, Audit]),
    verb(Consensus, "state", Request, Inside, &[Ingest, Validate, Keys, Audit]),
    verb(Consensus, "head", Request, Inside, &[Ingest, Validate, Consensus, Keys, Audit]),
    verb(Consensus, "block", Request, Inside, &[Audit]),
    verb(Consensus, "tile", Request, Inside, &[Audit]),
    verb(Consensus, "checkpoint", Request, Inside, &[Audit]),
    verb(Consensus, "sync", Request, Across, &[Consensus]),
    verb(Consensus, "gossip", Publish, Across, &[Consensus]),
    verb(Consensus, "committed", Publish, Inside, &[Ingest, Audit]),
    verb(Keys, "class", Request, Inside, &[Ingest]),
    verb(Keys, "policy", Request, Inside, &[Ingest]),
    verb(Keys, "open", Request, Inside, &[Ingest]),
    verb(Keys, "erased", Request, Inside, &[Ingest]),
    verb(Audit, "append", Request, Inside, &[Ingest, Keys, Validate, Consensus]),
    verb(Ingest, "exchange", Request, Across, &[Ingest]),
];

/// A subject built here; dereferences to `str`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

impl Deref for Subject {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// What one user may do; subjects may hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

/// Builds the subjects of one organisation on one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    channel: ChannelId,
    organisation: OrgId,
}

macro_rules! builders {
    ($($(#[$doc:meta])* $function:ident = $owner:ident $name:literal;)*) => {
        impl Subjects {
            $($(#[$doc])* pub fn $function(&self) -> Subject {
                self.of(Participant::$owner, $name)
            })*
        }

        /// The subjects that have a builder, for the test that holds them against [`VERBS`].
        #[cfg(test)]
        fn built(subjects: &Subjects) -> Vec<Subject> {
            vec![$(subjects.$function()),*]
        }
    };
}

builders! {
    /// `CheckRequest` → `CheckResponse`; queue group; inside.
    validate_check = Validate "check";
    /// `AttestRequest` → `AttestResponse`; queue group; across.
    validate_attest = Validate "attest";
    /// `SchemaRequest` → `SchemaResponse`; inside.
    validate_schema = Validate "schema";
    /// `SubmitRequest` → `SubmitResponse`; inside.
    consensus_submit = Consensus "submit";
    /// `FindRequest` → `FindResponse`; inside.
    consensus_find = Consensus "find";
    /// `StateRequest` → `StateResponse`; inside.
    consensus_state = Consensus "state";
    /// `HeadRequest` → `HeadResponse`; inside.
    consensus_head = Consensus "head";
    /// `BlockRequest` → `BlockResponse`; inside.
    consensus_block = Consensus "block";
    /// `TileRequest` → `TileResponse`; inside.
    consensus_tile = Consensus "tile";
    /// `CheckpointRequest` → `CheckpointResponse`; inside.
    consensus_checkpoint = Consensus "checkpoint";
    /// Canonical bytes of bft, request and answer; across.
    consensus_sync = Consensus "sync";
    /// Canonical bytes of bft, published by the organisation's own consensus; across. Listen at
    /// [`Subjects::consensus_gossip_of_all`].
    consensus_gossip = Consensus "gossip";
    /// `Committed`, published after each block; inside.
    consensus_committed = Consensus "committed";
    /// `ClassRequest` → `ClassResponse`; inside.
    keys_class = Keys "class";
    /// `PolicyRequest` → `ClassResponse`; inside.
    keys_policy = Keys "policy";
    /// `OpenRequest` → `OpenResponse`; inside.
    keys_open = Keys "open";
    /// `ErasedRequest` → `ErasedResponse`; inside.
    keys_erased = Keys "erased";
    /// `AppendRequest` → `AppendResponse`; inside.
    audit_append = Audit "append";
    /// `ExchangeRequest` → `ExchangeResponse`; queue group; across.
    ingest_exchange = Ingest "exchange";
}

impl Subjects {
    pub fn new(channel: ChannelId, organisation: OrgId) -> Self {
        Self { channel, organisation }
    }

    pub fn channel(&self) -> &ChannelId {
        &self.channel
    }

    pub fn organisation(&self) -> &OrgId {
        &self.organisation
    }

    /// The subjects of another member of the same channel.
    pub fn at(&self, organisation: &OrgId) -> Self {
        Self { channel: self.channel.clone(), organisation: organisation.clone() }
    }

    fn of(&self, owner: Participant, verb: &str) -> Subject {
        Subject(format!("consilium.{}.{}.{owner}.{verb}", self.channel, self.organisation))
    }

    fn of_all(&self, owner: Participant, verb: &str) -> Subject {
        Subject(format!("consilium.{}.*.{owner}.{verb}", self.channel))
    }

    /// Wildcards over every member's gossip, the own included: as it was published, and as hubs hand it over.
    pub fn consensus_gossip_of_all(&self) -> [Subject; 2] {
        let all = self.of_all(Participant::Consensus, "gossip");
        let labelled = Subject(format!("{all}.{VIA}.*"));
        [all, labelled]
    }

    /// A subject as it was published, and the hub whose label it came with. Only what is published across has one:
    /// each hub appends `.via.<organisation that runs it>`, and the receiver's own server takes a label only from
    /// the hub of that name.
    pub fn split_label(subject: &str) -> (&str, Option<&str>) {
        let label = subject.rsplit_once('.').and_then(|(rest, hub)| Some((rest.strip_suffix(VIA)?, hub)));
        match label.and_then(|(rest, hub)| Some((rest.strip_suffix('.')?, hub))) {
            Some((published, hub)) if published.split('.').count() == 5 => (published, Some(hub)),
            _ => (subject, None),
        }
    }

    /// Whether what is published at a subject may come from, or go to, other organisations, and so over several hubs.
    pub fn reaches_across(subject: &str) -> bool {
        let inside = |v: &Verb| v.reach == Inside;
        let mut tokens = subject.split('.').skip(3);
        let (owner, name, end) = (tokens.next(), tokens.next(), tokens.next());
        let verb = |v: &&Verb| Some(v.owner.as_str()) == owner && Some(v.name) == name && end.is_none();
        !VERBS.iter().find(verb).is_some_and(inside)
    }

    /// Where the process `instance` of a service answers `BlobRequest`s; across.
    ///
    /// `instance` is one subject token: letters, digits, `-` or `_`.
    pub fn blob(&self, owner: Participant, instance: &str) -> Subject {
        Subject(format!("consilium.{}.{}.blob.{owner}.{instance}", self.channel, self.organisation))
    }

    /// Whether `subject` is a blob subject of some member of this channel: one that a receiver may be told
    /// to send requests to. An offer that names any other subject is refused.
    pub fn is_blob(&self, subject: &str) -> bool {
        let mut tokens = subject.split('.');
        let plain =
            |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        tokens.next() == Some("consilium")
            && tokens.next() == Some(self.channel.as_str())
            && tokens.next().is_some_and(|t| OrgId::new(t).is_ok())
            && tokens.next() == Some("blob")
            && tokens.next().is_some_and(|t| Participant::from_name(t).is_some())
            && tokens.next().is_some_and(plain)
            && tokens.next().is_none()
    }

    /// The organisation that a subject of this channel belongs to (its third token).
    pub fn owner_of(&self, subject: &str) -> Option<OrgId> {
        let mut tokens = subject.split('.');
        if tokens.next() != Some("consilium") || tokens.next() != Some(self.channel.as_str()) {
            return None;
        }
        OrgId::new(tokens.next()?).ok()
    }

    /// Prefix of the reply subjects of one service: no other user may listen there.
    pub fn inbox_prefix(participant: Participant) -> String {
        format!("_INBOX.{participant}")
    }

    /// What a service of this organisation may publish and subscribe to. Answers need no grant: nats-server
    /// opens each request's reply subject once (`allow_responses`).
    pub fn grants(&self, participant: Participant) -> Grants {
        let mut grants = Grants {
            publish: vec![format!("consilium.{}.*.blob.*.*", self.channel)],
            subscribe: vec![
                self.blob(participant, "*").into(),
                format!("{}.>", Self::inbox_prefix(participant)),
            ],
        };
        for verb in VERBS {
            let own: String = self.of(verb.owner, verb.name).into();
            let theirs = match verb.reach {
                Inside => own.clone(),
                Across => self.of_all(verb.owner, verb.name).into(),
            };
            let (owner, others) = match verb.pattern {
                Request => (&mut grants.subscribe, false),
                Publish => (&mut grants.publish, true),
            };
            if verb.owner == participant {
                owner.push(own);
            }
            if verb.others.contains(&participant) {
                match (others, verb.reach) {
                    (true, Across) => {
                        grants.subscribe.push(format!("{theirs}.{VIA}.*"));
                        grants.subscribe.push(theirs);
                    }
                    (true, Inside) => grants.subscribe.push(theirs),
                    (false, _) => grants.publish.push(theirs),
                }
            }
        }
        grants
    }

    /// The subjects that this organisation's account exports, with wildcards: request-reply ones (NATS
    /// *services*) and published ones (NATS *streams*).
    pub fn exports(&self) -> Exports {
        let mut exports = Exports { services: vec![self.blob_of_any_service()], streams: Vec::new() };
        for verb in VERBS.iter().filter(|v| v.reach == Across) {
            let subject = self.of(verb.owner, verb.name).into();
            match verb.pattern {
                Request => exports.services.push(subject),
                Publish => exports.streams.push(subject),
            }
        }
        exports
    }

    fn blob_of_any_service(&self) -> String {
        format!("consilium.{}.{}.blob.*.*", self.channel, self.organisation)
    }
}

/// See [`Subjects::exports`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exports {
    pub services: Vec<String>,
    pub streams: Vec<String>,
}

#[cfg(test)]
#[path = "subjects_test.rs"]
mod tests;
