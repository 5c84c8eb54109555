//! Motions of the officers (ADR 0016): one writes it down, each organisation's officer reads and signs the file, one
//! brings it to the ledger.

use super::At;
use crate::keys::key;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use consilium_domain::genesis::Member;
use consilium_domain::governance::{Action, Governance, Motion, Sanction};
use consilium_domain::tx::{TxBody, UnsignedTx};
use consilium_domain::{Canonical, ChannelId, Digest, Height, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const FORMAT: &str = "consilium-motion/1";

/// The file that goes round.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// [`FORMAT`].
    format: String,
    channel: ChannelId,
    #[serde(flatten)]
    governance: Governance,
}

#[derive(clap::Args)]
pub(super) struct ProposeArgs {
    #[command(subcommand)]
    action: Proposed,
}

#[derive(Subcommand)]
enum Proposed {
    /// A new organisation joins.
    Admit(MemberArgs),
    /// An organisation leaves.
    Remove(NamedArgs),
    /// A member gets other keys: its whole entry is replaced.
    Rotate(MemberArgs),
    /// A member's batches and attestations do not count for a while.
    Sanction(SanctionArgs),
}

#[derive(clap::Args)]
struct PaperArgs {
    /// File to write the motion to.
    #[arg(long, default_value = "motion.json")]
    out: PathBuf,
    /// Blocks until it lapses.
    #[arg(long, default_value_t = 100_000)]
    blocks: u64,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
struct MemberArgs {
    /// JSON file of the member's entry, in the form of the genesis file.
    member: PathBuf,
    #[command(flatten)]
    paper: PaperArgs,
}

#[derive(clap::Args)]
struct NamedArgs {
    /// Name of the organisation.
    #[arg(value_parser = super::organisation)]
    organisation: OrgId,
    #[command(flatten)]
    paper: PaperArgs,
}

#[derive(clap::Args)]
struct SanctionArgs {
    /// Name of the organisation.
    #[arg(value_parser = super::organisation)]
    organisation: OrgId,
    /// First height at which it is over; one that is not ahead lifts it.
    #[arg(long)]
    until: u64,
    /// Id of the transaction that gave the grounds (evidence, dispute), if they are on the ledger.
    #[arg(long)]
    grounds: Option<String>,
    #[command(flatten)]
    paper: PaperArgs,
}

#[derive(clap::Args)]
pub(super) struct SignArgs {
    /// The motion's file.
    file: PathBuf,
    /// Organisation for which to approve.
    #[arg(long, value_parser = super::organisation)]
    organisation: OrgId,
    /// File with its governance key: 64 hexadecimal digits.
    #[arg(long)]
    key: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct SubmitArgs {
    /// The motion's file.
    file: PathBuf,
    /// Organisation in whose name it is sent.
    #[arg(long, value_parser = super::organisation)]
    organisation: OrgId,
    /// File with its governance key.
    #[arg(long)]
    key: PathBuf,
    #[command(flatten)]
    at: At,
}

pub(super) fn propose(args: &ProposeArgs, out: &mut Output) -> Result<Exit> {
    let (action, paper) = match &args.action {
        Proposed::Admit(a) => (Action::Admit(entry(&a.member)?), &a.paper),
        Proposed::Rotate(a) => (Action::Rotate(entry(&a.member)?), &a.paper),
        Proposed::Remove(a) => (Action::Remove(a.organisation.clone()), &a.paper),
        Proposed::Sanction(a) => {
            let grounds = match &a.grounds {
                None => Digest::default(),
                Some(id) => hex::decode(id)
                    .ok()
                    .and_then(|bytes| Digest::from_slice(&bytes))
                    .context("`--grounds` is a transaction id: 64 hexadecimal digits")?,
            };
            let sanction = Sanction { organisation: a.organisation.clone(), until: Height(a.until), grounds };
            (Action::Sanction(sanction), &a.paper)
        }
    };
    let desk = paper.at.desk()?;
    let (found, status) = (desk.json("/ledger/api/members")?, desk.json("/ledger/api/status")?);
    let number = |name: &str| {
        found.get(name).and_then(Value::as_u64).with_context(|| format!("the answer has no `{name}`"))
    };
    let motion = Motion {
        sequence: number("motions")? + 1,
        expires: Height(number("height")?.saturating_add(paper.blocks)),
        action,
    };
    let channel = status.get("channel").and_then(Value::as_str).context("the answer has no `channel`")?;
    let text = words(&motion);
    let file = File {
        format: FORMAT.to_owned(),
        channel: ChannelId::new(channel)?,
        governance: Governance { motion, approvals: Vec::new() },
    };
    save(&paper.out, &file)?;
    let need = status.get("quorum").and_then(Value::as_u64).unwrap_or(0);
    let more = format!("{need} organisations must sign it: `consilium ledger sign {}`", paper.out.display());
    out.result(
        &format!("motion {}: {text}\n{more}", file.governance.motion.sequence),
        &json!({
            "out": paper.out, "sequence": file.governance.motion.sequence, "text": text, "needed": need,
        }),
    );
    Ok(Exit::Good)
}

pub(super) fn sign(args: &SignArgs, out: &mut Output) -> Result<Exit> {
    let mut file = load(&args.file)?;
    let approval = key(&args.key)?.approve(&file.channel, &args.organisation, &file.governance.motion);
    let approvals = &mut file.governance.approvals;
    approvals.retain(|a| a.organisation != args.organisation);
    approvals.push(approval);
    approvals.sort_by(|a, b| a.organisation.cmp(&b.organisation));
    let count = approvals.len();
    save(&args.file, &file)?;
    let text = words(&file.governance.motion);
    out.result(
        &format!("{} approves: {text}; {count} have signed", args.organisation),
        &json!({"organisation": args.organisation, "text": text, "approvals": count}),
    );
    Ok(Exit::Good)
}

pub(super) fn submit(args: &SubmitArgs, out: &mut Output) -> Result<Exit> {
    let file = load(&args.file)?;
    let text = words(&file.governance.motion);
    let body = TxBody::Governance(file.governance);
    let unsigned = UnsignedTx { sender: args.organisation.clone(), body };
    let tx = key(&args.key)?.sign_tx(&file.channel, unsigned).to_canonical();
    let answer = args.at.desk()?.submit(&tx)?;
    let (status, id) = (super::cell(&answer, "status"), super::cell(&answer, "id"));
    out.result(&format!("{status}: {text}\n  transaction {id}"), &answer);
    Ok(if status == "committed" { Exit::Good } else { Exit::Refused })
}

/// What an officer puts her name to.
fn words(motion: &Motion) -> String {
    let what = match &motion.action {
        Action::Admit(m) => format!("admit {} ({})", m.organisation, keys(m)),
        Action::Remove(organisation) => format!("remove {organisation}"),
        Action::Rotate(m) => format!("give {} new keys ({})", m.organisation, keys(m)),
        Action::Sanction(s) => format!("suspend {} until block {}", s.organisation, s.until),
    };
    format!("{what}, if carried by block {}", motion.expires)
}

/// Every key by its first digits: whoever approves compares them with what the organisation has told.
fn keys(member: &Member) -> String {
    let named = [
        ("consensus", member.consensus),
        ("validate", member.validate),
        ("ingest", member.ingest),
        ("audit", member.audit),
        ("governance", member.governance),
        ("cosign", member.cosign),
    ];
    let short = |key: String| key.get(..16).map(str::to_owned).unwrap_or(key);
    named.map(|(name, key)| format!("{name} {}…", short(key.to_string()))).join(", ")
}

fn entry(path: &Path) -> Result<Member> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| {
        format!("{} is no member: it needs what `members` of the genesis file has for each", path.display())
    })
}

fn load(path: &Path) -> Result<File> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let file: File = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is no motion: `consilium ledger propose` writes one", path.display()))?;
    if file.format != FORMAT {
        bail!("{} is a motion of another version", path.display());
    }
    Ok(file)
}

fn save(path: &Path, file: &File) -> Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(file)?)
        .with_context(|| format!("write {}", path.display()))
}
