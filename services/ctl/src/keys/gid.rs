//! Registering an identity: the service challenges, the holder signs at her own machine, an officer registers.

use super::desk::{self, Desk, DeskArgs};
use super::{AtArgs, files};
use crate::output::{Exit, Output};
use anyhow::{Context, Result};
use clap::Subcommand;
use consilium_abe::{AuthorityName, Gid, GidChallenge};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct GidArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Ask the service for a challenge.
    Challenge(AtArgs),
    /// Sign a challenge with the holder's private key; needs no connection.
    Sign(SignArgs),
    /// Register the holder.
    Register(RegisterArgs),
}

#[derive(clap::Args)]
struct SignArgs {
    /// File with the challenge, as `gid challenge --json` prints it.
    #[arg(long)]
    challenge: PathBuf,
    /// The holder's private key.
    #[arg(long)]
    key: PathBuf,
}

#[derive(clap::Args)]
struct RegisterArgs {
    /// The person, as the audit trail names her.
    #[arg(long)]
    subject: String,
    /// File with the proof, as `gid sign --json` prints it.
    #[arg(long)]
    proof: PathBuf,
    #[command(flatten)]
    desk: DeskArgs,
}

fn read(path: &PathBuf) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn field<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value.get(name).and_then(Value::as_str).with_context(|| format!("`{name}` is missing"))
}

pub(super) fn run(args: &GidArgs, out: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Challenge(a) => match desk::post(&a.at, "/v1/challenges", &json!({}))? {
            Ok(challenge) => out.result(&challenge.to_string(), &challenge),
            Err(refused) => {
                out.problem(&refused);
                return Ok(Exit::Refused);
            }
        },
        Verb::Sign(a) => {
            let proof = sign(a)?;
            out.result(&proof.to_string(), &proof);
        }
        Verb::Register(a) => {
            let proof = read(&a.proof)?;
            let action = json!({
                "verb": "register",
                "subject": a.subject,
                "public_key": field(&proof, "public_key")?,
                "nonce": field(&proof, "nonce")?,
                "signature": field(&proof, "signature")?,
            });
            return Desk::new(&a.desk).carry(&action, out);
        }
    }
    Ok(Exit::Good)
}

fn sign(args: &SignArgs) -> Result<Value> {
    let challenge = read(&args.challenge)?;
    let key = files::key(&args.key)?;
    let mut nonce = [0; 32];
    hex::decode_to_slice(field(&challenge, "nonce")?, &mut nonce).context("`nonce` must be 64 digits")?;
    let asked = GidChallenge {
        channel: field(&challenge, "channel")?.to_owned(),
        authority: AuthorityName::new(field(&challenge, "authority")?)?,
        epoch: field(&challenge, "epoch")?.to_owned(),
        nonce,
    };
    let gid = Gid::new(&did_key(&key.public().0))?;
    let signature = key.sign(&asked.signing_bytes(&gid));
    let nonce = hex::encode(nonce);
    Ok(json!({"public_key": key.public(), "gid": gid.as_str(), "nonce": nonce, "signature": signature}))
}

/// `did:key` of an Ed25519 key (w3c-ccg.github.io/did-key-spec): `z`, then 0xed01 and the key in base58btc.
pub(super) fn did_key(key: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for octet in [0xed, 0x01].iter().chain(key) {
        let mut carry = u32::from(*octet);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let text = digits.iter().rev().filter_map(|digit| ALPHABET.get(usize::from(*digit)));
    format!("did:key:z{}", text.map(|c| char::from(*c)).collect::<String>())
}
