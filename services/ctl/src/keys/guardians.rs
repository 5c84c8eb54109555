//! Guardians: the authority's key shared among people, t of whom bring it back.
//!
//! Files: `group.json` (public: who may know everything), `share-N.json` (sealed to guardian N's key, harmless
//! without it). Shares are handed over in person or by post; nothing here needs a network but `split`.

mod issue;

use super::desk::{Desk, DeskArgs};
use super::{files, init, pair};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use consilium_abe::guardians::refresh::{self, Deal, Part};
use consilium_abe::guardians::{Group, Share};
use consilium_abe::transit::{TransitKey, seal_to};
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::officers;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct GuardiansArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Have the service share its authority's key; takes two officers. The whole key never leaves the vault.
    Split(SplitArgs),
    /// A guardian checks the share she was handed. Exit 1 when it is not one.
    Verify(ShareArgs),
    /// A guardian deals her part of a refresh.
    Deal(DealArgs),
    /// A guardian makes her new share from all deals, and the new group.
    Refresh(RefreshArgs),
    /// Guardians put the key together again and install it in a new vault.
    Recover(RecoverArgs),
    /// A holder asks guardians for attribute keys, when there is no service to ask.
    Request(issue::RequestArgs),
    /// A guardian gives her part of the attribute keys of a request.
    Issue(issue::IssueArgs),
    /// The holder makes the attribute keys from enough parts, each of them checked.
    Combine(issue::CombineArgs),
}

#[derive(clap::Args)]
struct SplitArgs {
    /// How many guardians act together.
    #[arg(long)]
    threshold: u8,
    /// `NAME=PUBLIC_KEY` of a guardian; repeatable, numbered in this order from 1.
    #[arg(long = "guardian", required = true)]
    guardians: Vec<String>,
    /// New folder for `group.json` and the shares.
    #[arg(long)]
    into: PathBuf,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct ShareArgs {
    #[arg(long)]
    group: PathBuf,
    #[arg(long)]
    share: PathBuf,
    /// The guardian's private key.
    #[arg(long)]
    key: PathBuf,
}

#[derive(clap::Args)]
struct DealArgs {
    #[arg(long)]
    group: PathBuf,
    /// Number of the guardian who deals.
    #[arg(long)]
    guardian: u8,
    /// New file for the deal.
    #[arg(long)]
    out: PathBuf,
}

#[derive(clap::Args)]
struct RefreshArgs {
    #[command(flatten)]
    share: ShareArgs,
    /// Every guardian's deal; the same files for everybody.
    #[arg(long = "deal", required = true)]
    deals: Vec<PathBuf>,
    /// New folder for the new group and the new share. Destroy the old share when all guardians are done.
    #[arg(long)]
    into: PathBuf,
}

#[derive(clap::Args)]
struct RecoverArgs {
    #[arg(long)]
    group: PathBuf,
    /// `SHARE=KEY`: a share's file and its guardian's private key; repeatable.
    #[arg(long = "share", required = true)]
    shares: Vec<String>,
    /// Genesis of the channel, or the member's entry of the motion that changed the key since: what is recovered must
    /// be the key that it names.
    #[arg(long)]
    genesis: PathBuf,
    /// `keys.data_dir` of the new service.
    #[arg(long)]
    data_dir: PathBuf,
    /// `keys.unseal_key_file` of the new service; made when it is not there.
    #[arg(long)]
    unseal_key_file: PathBuf,
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value.get(name).and_then(Value::as_str).with_context(|| format!("`{name}` is missing"))
}

/// The group, and the guardians' public keys in their order.
struct Circle {
    group: Group,
    guardians: Value,
}

impl Circle {
    fn read(path: &Path) -> Result<Self> {
        let value = read(path)?;
        let bytes = hex::decode(text(&value, "group")?).context("`group` must be hexadecimal")?;
        let guardians = value.get("guardians").cloned().context("`guardians` is missing")?;
        Ok(Self { group: Group::from_bytes(&bytes)?, guardians })
    }

    fn to_json(&self) -> Value {
        let group = &self.group;
        json!({
            "channel": group.public_key().channel(),
            "organisation": group.public_key().authority().as_str(),
            "threshold": group.threshold(),
            "generation": group.generation(),
            "guardians": self.guardians,
            "group": hex::encode(group.to_bytes()),
        })
    }

    /// The public key of a guardian, by number.
    fn key_of(&self, guardian: u8) -> Result<[u8; 32]> {
        let at = usize::from(guardian).checked_sub(1).context("guardians are numbered from 1")?;
        let entry = self.guardians.get(at).context("there is no such guardian")?;
        files::public(text(entry, "public_key")?)
    }

    fn share(&self, share: &Path, key: &Path) -> Result<Share> {
        let value = read(share)?;
        let sealed = hex::decode(text(&value, "sealed")?).context("`sealed` must be hexadecimal")?;
        let number = value.get("guardian").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let context = share_context(&self.group, number.context("`guardian` is missing")?);
        let opened = TransitKey::from_seed(&files::seed(key)?).open(&context, &sealed);
        let opened = opened.with_context(|| format!("{} is sealed to another key", share.display()))?;
        Ok(Share::from_bytes(&opened)?)
    }

    fn write_share(&self, share: &Share, path: &Path) -> Result<()> {
        let (number, context) = (share.guardian(), share_context(&self.group, share.guardian()));
        let sealed = seal_to(&self.key_of(number)?, &context, &share.to_bytes(), &mut files::rng()?)?;
        let value = json!({"guardian": number, "sealed": hex::encode(sealed)});
        files::write_private(path, serde_json::to_string_pretty(&value)?.as_bytes())
    }
}

fn share_context(group: &Group, guardian: u8) -> Vec<u8> {
    let key = group.public_key();
    officers::share_context(key.channel(), key.authority().as_str(), group.generation(), guardian)
}

fn part_context(group: &Group, dealer: u8, guardian: u8) -> Vec<u8> {
    let digest = hex::encode(group.digest());
    format!("consilium/v1/guardian refresh/{digest}/{dealer}/{guardian}").into_bytes()
}

pub(super) fn run(args: &GuardiansArgs, out: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Split(a) => split(a, out),
        Verb::Verify(a) => verify(a, out),
        Verb::Deal(a) => deal(a, out),
        Verb::Refresh(a) => refreshed(a, out),
        Verb::Recover(a) => recover(a, out),
        Verb::Request(a) => issue::request(a, out),
        Verb::Issue(a) => issue::issue(a, out),
        Verb::Combine(a) => issue::combine(a, out),
    }
}

fn split(args: &SplitArgs, out: &mut Output) -> Result<Exit> {
    let guardians = args.guardians.iter().map(|text| {
        let (name, key) = pair(text)?;
        files::public(key)?;
        Ok(json!({"name": name, "public_key": key}))
    });
    let guardians: Vec<Value> = guardians.collect::<Result<_>>()?;
    let action = json!({"verb": "guardians-split", "threshold": args.threshold, "guardians": guardians});
    let Some(result) = Desk::new(&args.desk).carry_and_take(&action, out)? else { return Ok(Exit::Refused) };
    let bytes = hex::decode(text(&result, "group")?).context("`group` must be hexadecimal")?;
    let circle = Circle { group: Group::from_bytes(&bytes)?, guardians: Value::Array(guardians) };
    let group = serde_json::to_string_pretty(&circle.to_json())?;
    files::write_private(&args.into.join("group.json"), group.as_bytes())?;
    for share in result.get("shares").and_then(Value::as_array).context("no shares came")? {
        let number = share.get("guardian").and_then(Value::as_u64).context("`guardian` is missing")?;
        let path = args.into.join(format!("share-{number}.json"));
        files::write_private(&path, serde_json::to_string_pretty(share)?.as_bytes())?;
    }
    let n = args.guardians.len();
    out.result(
        &format!(
            "{n} shares and `group.json` are in {}: any {} recover",
            args.into.display(),
            args.threshold
        ),
        &json!({"into": args.into, "guardians": n, "threshold": args.threshold}),
    );
    Ok(Exit::Good)
}

fn verify(args: &ShareArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    let checked = circle.share(&args.share, &args.key).and_then(|share| {
        circle.group.verify(&share)?;
        Ok(share)
    });
    match checked {
        Ok(share) => {
            let (guardian, generation) = (share.guardian(), share.generation());
            let text = format!("share {guardian} of generation {generation} is good");
            out.result(&text, &json!({"good": true, "guardian": guardian, "generation": generation}));
            Ok(Exit::Good)
        }
        Err(error) => {
            out.problem(&format!("{error:#}"));
            Ok(Exit::Refused)
        }
    }
}

fn deal(args: &DealArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    let mut rng = files::rng()?;
    let (deal, parts) = refresh::deal(&circle.group, args.guardian, &mut rng)?;
    let mut sealed = Vec::new();
    for part in &parts {
        let context = part_context(&circle.group, part.dealer(), part.guardian());
        let to = circle.key_of(part.guardian())?;
        sealed.push(hex::encode(seal_to(&to, &context, &part.to_bytes(), &mut rng)?));
    }
    let value = json!({"dealer": args.guardian, "deal": hex::encode(deal.to_bytes()), "parts": sealed});
    files::write_private(&args.out, serde_json::to_string_pretty(&value)?.as_bytes())?;
    out.result(&format!("the deal is in {}", args.out.display()), &json!({"out": args.out}));
    Ok(Exit::Good)
}

fn refreshed(args: &RefreshArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.share.group)?;
    let share = circle.share(&args.share.share, &args.share.key)?;
    let key = TransitKey::from_seed(&files::seed(&args.share.key)?);
    let (mut deals, mut parts) = (Vec::new(), Vec::new());
    for path in &args.deals {
        let value = read(path)?;
        let bytes = hex::decode(text(&value, "deal")?).context("`deal` must be hexadecimal")?;
        let deal = Deal::from_bytes(&circle.group, &bytes)?;
        let at = usize::from(share.guardian()).saturating_sub(1);
        let sealed = value.get("parts").and_then(|parts| parts.get(at)?.as_str());
        let sealed =
            hex::decode(sealed.context("a part is missing")?).context("a part must be hexadecimal")?;
        let context = part_context(&circle.group, deal.dealer(), share.guardian());
        let opened = key.open(&context, &sealed);
        let opened = opened.with_context(|| format!("{} has no part for this key", path.display()))?;
        parts.push(Part::from_bytes(&opened)?);
        deals.push(deal);
    }
    let next = refresh::refreshed(&circle.group, &share, &deals, &parts)?;
    let group = refresh::apply(&circle.group, &deals)?;
    group.verify(&next)?;
    let circle = Circle { group, guardians: circle.guardians };
    let number = next.guardian();
    let text = serde_json::to_string_pretty(&circle.to_json())?;
    files::write_private(&args.into.join("group.json"), text.as_bytes())?;
    circle.write_share(&next, &args.into.join(format!("share-{number}.json")))?;
    let generation = circle.group.generation();
    out.result(
        &format!(
            "share {number} of generation {generation} is in {}: destroy the old one",
            args.into.display()
        ),
        &json!({"guardian": number, "generation": generation, "into": args.into}),
    );
    Ok(Exit::Good)
}

/// Makes sure that a group is of the authority that a genesis, or a member's entry, names.
fn named(circle: &Circle, path: &Path) -> Result<()> {
    let value = read(path)?;
    let members = match serde_json::from_value::<Member>(value.clone()) {
        Ok(member) => vec![member],
        Err(_) => {
            let genesis = serde_json::from_value::<Genesis>(value);
            genesis.context("`--genesis` is neither a genesis file nor a member's entry")?.members
        }
    };
    let public = circle.group.public_key();
    let named = members.iter().find(|m| m.organisation.as_str() == public.authority().as_str());
    if named.is_none_or(|member| member.authority != public.to_bytes()) {
        bail!("the group is not of the authority that {} names", path.display());
    }
    Ok(())
}

fn recover(args: &RecoverArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    named(&circle, &args.genesis)?;
    let mut shares = Vec::new();
    for given in &args.shares {
        let (share, key) = pair(given)?;
        shares.push(circle.share(Path::new(share), Path::new(key))?);
    }
    let recovered = match circle.group.recover(&shares) {
        Ok(recovered) => recovered,
        Err(error) => {
            out.problem(&error.to_string());
            return Ok(Exit::Refused);
        }
    };
    let (public, secret) = (circle.group.public_key(), recovered.secret.to_bytes());
    init::install(&args.data_dir, &args.unseal_key_file, &secret)?;
    out.result(
        &format!("the authority of {} is in {}", public.authority(), args.data_dir.display()),
        &json!({"organisation": public.authority().as_str(), "data_dir": args.data_dir, "bad_shares": recovered.misbehaved}),
    );
    Ok(Exit::Good)
}
