//! `consilium keys`: ceremonies of the keys service, on its own machine or offline.
//!
//! What changes anything is a motion that officers sign (see `approve`); the service carries it out. Private keys
//! of officers, holders and guardians are files with 64 hexadecimal digits that never leave this command.

mod desk;
mod files;
mod gid;
mod guardians;
mod init;

pub(crate) use files::{key, random, write_private};

use crate::output::{Exit, Output};
use anyhow::{Context, Result};
use clap::Subcommand;
use desk::{Desk, DeskArgs};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a private key (of an officer, a holder, a guardian) and print its public key.
    Keygen(files::KeygenArgs),
    /// Make an organisation's authority in a new vault, and print its public key for the genesis.
    Init(init::InitArgs),
    /// Say whether the vault is sealed, and what waits.
    Status(AtArgs),
    /// Give the passphrase to a vault that waits for one.
    Unseal(UnsealArgs),
    /// Take a role from a person, at once and whatever tokens say.
    Withdraw(SubjectArgs),
    /// Take a withdrawal back.
    Restore(SubjectArgs),
    /// Wrap the master key by another method.
    Reseal(ResealArgs),
    /// Make a new master key and seal every file anew.
    RotateMaster(DeskArgs),
    /// Make the authority's next key and print its public half, for the members' motion; the same until that is carried.
    RotateAuthority(DeskArgs),
    /// Give the authority's secret key, sealed to one public key.
    Export(ExportArgs),
    /// Destroy the keys of classes: what was sealed under them is noise from then on.
    Destroy(DestroyArgs),
    /// Replace the list of officers.
    Officers(OfficersArgs),
    /// List the motions that wait for signatures.
    Pending(AtArgs),
    /// Sign a motion that somebody else opened, after reading what it says.
    Approve(ApproveArgs),
    /// Register the key of a person's identity.
    Gid(gid::GidArgs),
    /// Share the authority's key among guardians, check and refresh shares, recover, issue without the service.
    Guardians(guardians::GuardiansArgs),
}

/// Where the service's door is.
#[derive(clap::Args)]
struct AtArgs {
    /// `admin.listen` of the keys service, e.g. through `kubectl port-forward`.
    #[arg(long, default_value = "http://127.0.0.1:9091")]
    at: String,
}

#[derive(clap::Args)]
struct UnsealArgs {
    #[command(flatten)]
    at: AtArgs,
    /// Read the passphrase from a file instead of the standard input.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

#[derive(clap::Args)]
struct SubjectArgs {
    /// The person, as the audit trail names her: `fhirUser` of her tokens, else `sub`.
    #[arg(long)]
    subject: String,
    /// The role; without it, every role.
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct ResealArgs {
    /// TOML file with the new `[seal]` table, as the service's configuration will have it.
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct ExportArgs {
    /// Public key of the recipient, as `keygen` prints it.
    #[arg(long)]
    recipient: String,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct DestroyArgs {
    /// `class`, or `patient` for all classes of one.
    #[arg(long, default_value = "class")]
    scope: String,
    /// Why, for the ledger: `request` of the person, `retention` over, `mistake`, or `order` of a court.
    #[arg(long)]
    ground: String,
    /// Class id in hexadecimal; repeatable. `GET …/fhir/Patient/ID/$key-classes` lists those of a patient.
    #[arg(long = "class", required = true)]
    classes: Vec<String>,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct OfficersArgs {
    /// `NAME=PUBLIC_KEY`; repeatable.
    #[arg(long = "officer", required = true)]
    officers: Vec<String>,
    #[command(flatten)]
    desk: DeskArgs,
}

#[derive(clap::Args)]
struct ApproveArgs {
    /// Id of the motion.
    id: String,
    #[command(flatten)]
    desk: DeskArgs,
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').with_context(|| format!("`{text}` must be NAME=VALUE"))
}

pub fn run(args: &KeysArgs, out: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Keygen(a) => files::keygen(a, out),
        Verb::Init(a) => init::run(a, out),
        Verb::Status(a) => status(a, out),
        Verb::Unseal(a) => unseal(a, out),
        Verb::Withdraw(a) => subject("withdraw", a, out),
        Verb::Restore(a) => subject("restore", a, out),
        Verb::Reseal(a) => reseal(a, out),
        Verb::RotateMaster(a) => Desk::new(a).carry(&json!({"verb": "rotate-master"}), out),
        Verb::RotateAuthority(a) => {
            let action = json!({"verb": "rotate-authority"});
            let Some(result) = Desk::new(a).carry_and_take(&action, out)? else { return Ok(Exit::Refused) };
            let key = result.get("authority").and_then(Value::as_str).context("no key came")?;
            out.result(key, &result);
            Ok(Exit::Good)
        }
        Verb::Export(a) => {
            Desk::new(&a.desk).carry(&json!({"verb": "export", "recipient": a.recipient}), out)
        }
        Verb::Destroy(a) => {
            let action = json!({
                "verb": "destroy", "scope": a.scope, "ground": a.ground, "classes": a.classes
            });
            Desk::new(&a.desk).carry(&action, out)
        }
        Verb::Officers(a) => {
            let officers = a.officers.iter().map(|text| {
                let (name, key) = pair(text)?;
                Ok(json!({"name": name, "public_key": key}))
            });
            let officers = officers.collect::<Result<Vec<Value>>>()?;
            Desk::new(&a.desk).carry(&json!({"verb": "officers", "officers": officers}), out)
        }
        Verb::Pending(a) => pending(a, out),
        Verb::Approve(a) => Desk::new(&a.desk).approve(&a.id, out),
        Verb::Gid(a) => gid::run(a, out),
        Verb::Guardians(a) => guardians::run(a, out),
    }
}

fn subject(verb: &str, args: &SubjectArgs, out: &mut Output) -> Result<Exit> {
    let action = json!({"verb": verb, "subject": args.subject, "role": args.role});
    Desk::new(&args.desk).carry(&action, out)
}

fn reseal(args: &ResealArgs, out: &mut Output) -> Result<Exit> {
    let text = std::fs::read_to_string(&args.to).with_context(|| format!("read {}", args.to.display()))?;
    let mut table: toml::Table = toml::from_str(&text).context("`--to` is no TOML file")?;
    let seal = table.remove("seal").context("`--to` has no `[seal]` table")?;
    Desk::new(&args.desk).carry(&json!({"verb": "reseal", "seal": serde_json::to_value(seal)?}), out)
}

fn status(args: &AtArgs, out: &mut Output) -> Result<Exit> {
    let status = desk::get(&args.at, "/v1/status")?;
    let sealed = status.get("sealed").and_then(Value::as_bool).unwrap_or(true);
    let method = status.get("seal").and_then(Value::as_str).unwrap_or("?");
    let text = if sealed { "sealed" } else { "open" };
    out.result(&format!("the vault is {text} (`{method}`)"), &status);
    Ok(if sealed { Exit::Refused } else { Exit::Good })
}

fn unseal(args: &UnsealArgs, out: &mut Output) -> Result<Exit> {
    let mut passphrase = match &args.passphrase_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?,
        None => {
            out.note("passphrase:");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("read the passphrase")?;
            line
        }
    };
    passphrase.truncate(passphrase.trim_end_matches(['\r', '\n']).len());
    match desk::post(&args.at.at, "/v1/unseal", &json!({"passphrase": passphrase}))? {
        Ok(_) => {
            out.result("the vault is open", &json!({"sealed": false}));
            Ok(Exit::Good)
        }
        Err(refused) => {
            out.problem(&refused);
            Ok(Exit::Refused)
        }
    }
}

fn pending(args: &AtArgs, out: &mut Output) -> Result<Exit> {
    let motions = desk::get(&args.at, "/v1/motions")?;
    for motion in motions.as_array().into_iter().flatten() {
        let text = |name: &str| motion.get(name).and_then(Value::as_str).unwrap_or("?");
        out.note(&format!("{}  {}", text("id"), text("action")));
    }
    let waiting = motions.as_array().map_or(0, Vec::len);
    out.result(&format!("{waiting} motions wait"), &motions);
    Ok(Exit::Good)
}
