//! Attribute keys without the authority's key: a holder asks, guardians each give a part, the holder puts enough parts
//! together. For the days on which the keys service is gone; the authority's key is in one place at no time.
//!
//! Files: `request.json` (public, signed by the holder), `part-N.json` (sealed to the holder's key), the attribute keys
//! (secret, for the holder alone).

use super::super::{files, gid};
use super::{Circle, named, read};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail, ensure};
use consilium_abe::guardians::issue::{self, KeyPart};
use consilium_abe::transit::{TransitKey, seal_to};
use consilium_abe::{AccessPolicy, Attribute, AttributeKey, Gid, KemContext, PublicKeys, kem};
use consilium_domain::{Digest, Encoder, PublicKey, Signature};
use consilium_ledger::sign;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Attributes of one request.
const MOST: usize = 64;

#[derive(clap::Args)]
pub(super) struct RequestArgs {
    #[arg(long)]
    group: PathBuf,
    /// The holder's private key: her identity is its public half.
    #[arg(long)]
    key: PathBuf,
    /// `NAME=VALUE#WEEK` or `NAME#WEEK`, e.g. `clinician#2026W49`; repeatable.
    #[arg(long = "attribute", required = true)]
    attributes: Vec<String>,
    /// Why, for the guardians.
    #[arg(long)]
    reason: String,
    /// New file for the request.
    #[arg(long)]
    out: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct IssueArgs {
    #[arg(long)]
    group: PathBuf,
    #[arg(long)]
    share: PathBuf,
    /// The guardian's private key.
    #[arg(long)]
    key: PathBuf,
    #[arg(long)]
    request: PathBuf,
    /// The holder's public key, as she gave it by another way than the file.
    #[arg(long)]
    holder: String,
    /// What the guardian grants, by what she knows herself; repeatable. The request must ask for just that.
    #[arg(long = "grant", required = true)]
    grants: Vec<String>,
    /// New file for the part.
    #[arg(long)]
    out: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct CombineArgs {
    #[arg(long)]
    group: PathBuf,
    /// Genesis of the channel, or the member's entry of the motion that changed the key since.
    #[arg(long)]
    genesis: PathBuf,
    #[arg(long)]
    request: PathBuf,
    /// The holder's private key.
    #[arg(long)]
    key: PathBuf,
    /// A guardian's part; repeatable.
    #[arg(long = "part", required = true)]
    parts: Vec<PathBuf>,
    /// New file for the attribute keys.
    #[arg(long)]
    out: PathBuf,
}

/// What a holder asks for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Digest of the group.
    group: String,
    holder: PublicKey,
    attributes: Vec<String>,
    reason: String,
    signature: Signature,
}

impl Request {
    fn signed_bytes(group: &str, holder: &PublicKey, attributes: &[String], reason: &str) -> Vec<u8> {
        let mut out = Encoder::default();
        out.str("consilium/v1/attribute request").str(group).value(holder).str(reason);
        attributes.iter().fold(&mut out, |out, attribute| out.str(attribute));
        out.into_bytes()
    }

    /// Reads a request that its holder has signed for this group.
    fn read(path: &std::path::Path, circle: &Circle) -> Result<Self> {
        let request: Self = serde_json::from_value(read(path)?).context("`--request` is no request")?;
        let bytes = Self::signed_bytes(&request.group, &request.holder, &request.attributes, &request.reason);
        ensure!(
            request.group == hex::encode(circle.group.digest()),
            "the request is for another group or generation"
        );
        ensure!(
            sign::verify(&request.holder, &bytes, &request.signature),
            "the request is not signed by the holder that it names"
        );
        Ok(request)
    }

    fn gid(&self) -> Result<Gid> {
        Ok(Gid::new(&gid::did_key(&self.holder.0))?)
    }

    fn attributes(&self) -> Result<Vec<Attribute>> {
        parse(&self.attributes)
    }

    /// What a part is sealed for.
    fn context(&self, guardian: u8) -> Vec<u8> {
        let bytes = Self::signed_bytes(&self.group, &self.holder, &self.attributes, &self.reason);
        let digest = Digest::sha256(&[&bytes]);
        format!("consilium/v1/guardian issue/{digest}/{guardian}").into_bytes()
    }
}

/// Attributes, each in a week: a key for one without would never end.
fn parse(texts: &[String]) -> Result<Vec<Attribute>> {
    ensure!(texts.len() <= MOST, "one request asks for {MOST} attributes at most");
    let mut out = Vec::with_capacity(texts.len());
    for text in texts {
        let attribute = Attribute::parse(text)?;
        ensure!(!attribute.epoch().is_empty(), "`{text}` names no week: write `{text}#2026W49`");
        ensure!(!out.contains(&attribute), "`{text}` is asked for twice");
        out.push(attribute);
    }
    Ok(out)
}

pub(super) fn request(args: &RequestArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    let key = files::key(&args.key)?;
    let (holder, group) = (key.public(), hex::encode(circle.group.digest()));
    parse(&args.attributes)?;
    let bytes = Request::signed_bytes(&group, &holder, &args.attributes, &args.reason);
    let (attributes, reason) = (args.attributes.clone(), args.reason.clone());
    let request = Request { group, holder, attributes, reason, signature: key.sign(&bytes) };
    files::write_private(&args.out, serde_json::to_string_pretty(&request)?.as_bytes())?;
    out.result(
        &format!("the request is in {}; tell the guardians {holder}", args.out.display()),
        &json!({"out": args.out, "holder": holder}),
    );
    Ok(Exit::Good)
}

pub(super) fn issue(args: &IssueArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    let request = Request::read(&args.request, &circle)?;
    ensure!(
        request.holder.0 == files::public(&args.holder)?,
        "the request is of {}, not of the holder: nothing was issued",
        request.holder
    );
    let (asked, granted) = (request.attributes()?, parse(&args.grants)?);
    if asked.len() != granted.len() || !asked.iter().all(|attribute| granted.contains(attribute)) {
        bail!(
            "the request asks for {}, not for what is granted: nothing was issued",
            request.attributes.join(", ")
        );
    }
    let share = circle.share(&args.share, &args.key)?;
    circle.group.verify(&share)?;
    let mut rng = files::rng()?;
    let parts = issue::issue_parts(&circle.group, &share, &request.gid()?, &asked, &mut rng)?;
    let context = request.context(share.guardian());
    let sealed = parts
        .iter()
        .map(|part| Ok(hex::encode(seal_to(&request.holder.0, &context, &part.to_bytes(), &mut rng)?)));
    let sealed: Vec<String> = sealed.collect::<Result<_>>()?;
    let value = json!({"guardian": share.guardian(), "parts": sealed});
    files::write_private(&args.out, serde_json::to_string_pretty(&value)?.as_bytes())?;
    let text = format!(
        "part {} of {} for {} ({}) is in {}",
        share.guardian(),
        request.attributes.join(", "),
        request.holder,
        request.reason,
        args.out.display()
    );
    out.result(&text, &json!({"guardian": share.guardian(), "out": args.out}));
    Ok(Exit::Good)
}

pub(super) fn combine(args: &CombineArgs, out: &mut Output) -> Result<Exit> {
    let circle = Circle::read(&args.group)?;
    named(&circle, &args.genesis)?;
    let request = Request::read(&args.request, &circle)?;
    let key = TransitKey::from_seed(&files::seed(&args.key)?);
    let (attributes, gid) = (request.attributes()?, request.gid()?);
    let mut by_attribute: Vec<Vec<KeyPart>> = attributes.iter().map(|_| Vec::new()).collect();
    for path in &args.parts {
        let value = read(path)?;
        let number = value.get("guardian").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let context = request.context(number.context("`guardian` is missing")?);
        let sealed = value.get("parts").and_then(Value::as_array).context("`parts` is missing")?;
        ensure!(sealed.len() == attributes.len(), "{} is for another request", path.display());
        for (list, sealed) in by_attribute.iter_mut().zip(sealed) {
            let sealed =
                hex::decode(sealed.as_str().unwrap_or_default()).context("a part must be hexadecimal")?;
            let opened = key.open(&context, &sealed);
            let opened =
                opened.with_context(|| format!("{} is not for this key and request", path.display()))?;
            list.push(KeyPart::from_bytes(&opened)?);
        }
    }
    let (mut keys, mut misbehaved) = (Vec::new(), Vec::new());
    for (attribute, parts) in attributes.iter().zip(&by_attribute) {
        let combined = match issue::combine(&circle.group, &gid, attribute, parts) {
            Ok(combined) => combined,
            Err(error) => {
                out.problem(&error.to_string());
                return Ok(Exit::Refused);
            }
        };
        combined.key.verify(circle.group.public_key())?;
        misbehaved.extend(combined.misbehaved);
        keys.push(combined.key);
    }
    misbehaved.sort_unstable();
    misbehaved.dedup();
    tried(&circle, &gid, &keys)?;
    let listed: Vec<Value> = request
        .attributes
        .iter()
        .zip(&keys)
        .map(|(attribute, key)| json!({"attribute": attribute, "key": hex::encode(key.to_bytes())}))
        .collect();
    let organisation = circle.group.public_key().authority().as_str();
    let value = json!({"gid": gid.as_str(), "organisation": organisation, "keys": listed});
    files::write_private(&args.out, serde_json::to_string_pretty(&value)?.as_bytes())?;
    let text = match misbehaved.as_slice() {
        [] => String::new(),
        bad => format!("; left out, because they do not verify: the parts of guardians {bad:?}"),
    };
    out.result(
        &format!("{} attribute keys of {gid} are in {}{text}", keys.len(), args.out.display()),
        &json!({"gid": gid.as_str(), "keys": keys.len(), "bad_parts": misbehaved, "out": args.out}),
    );
    Ok(Exit::Good)
}

/// Seals a secret for whoever has all of the attributes and opens it with the keys: what they are for.
fn tried(circle: &Circle, gid: &Gid, keys: &[AttributeKey]) -> Result<()> {
    let public = circle.group.public_key();
    let terms = keys.iter().map(|key| AccessPolicy::term(key.term().clone())).collect();
    let (policy, known) = (AccessPolicy::all_of(terms)?, PublicKeys::from_iter([public.clone()]));
    let context = KemContext::new(public.channel(), "self-check", 0)?;
    let (header, secret) = kem::encapsulate(&policy, &known, &context, &mut files::rng()?)?;
    let opened = kem::decapsulate(&header, &context, &known, gid, keys, &files::random()?)?;
    ensure!(opened.ct_eq(&secret), "the attribute keys do not open what is sealed for them");
    Ok(())
}
