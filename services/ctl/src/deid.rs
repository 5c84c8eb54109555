//! `consilium deid`: records without what tells whom they are about, and what a projection of them still proves.

use crate::output::{Exit, Output, line};
use anyhow::{Context as _, Result, bail};
use consilium_fhir::deid::{Action, Policy, Secrets};
use consilium_fhir::leaves::leaves;
use consilium_fhir::projection::{ProjectedLeaf, project, project_with};
use consilium_fhir::tape::{Cursor, Kind};
use consilium_fhir::{Limits, Options, Schema, Tape, Validator};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct DeidArgs {
    /// FHIR resources (JSON); of a Bundle every entry.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Rules in the format of the Microsoft tools; without them Safe Harbor (45 CFR 164.514(b)(2)).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Key of pseudonyms and shifts (64 hexadecimal digits): who has it can link what two runs write. Without it a new
    /// one is made and forgotten.
    #[arg(long)]
    key: Option<PathBuf>,
    /// The day (YYYY-MM-DD) against which ages over 89 are told; today without it.
    #[arg(long)]
    today: Option<String>,
    /// Show nothing: count what a projection, as attesters see it, keeps and which share of the rules stays decidable.
    #[arg(long)]
    projection: bool,
    /// Folder where `make setup` put the core package (in `fhir/`).
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
}

pub fn run(args: &DeidArgs, out: &mut Output) -> Result<Exit> {
    let policy = match &args.config {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            Some(Policy::parse(&bytes).with_context(|| format!("read {}", path.display()))?)
        }
    };
    let schema = Arc::new(crate::schema::load(&args.tools, &[], &[])?);
    if args.projection {
        return shares(args, &schema, policy.as_ref(), out);
    }
    let policy = match policy {
        Some(policy) => policy,
        None => Policy::safe_harbor()?,
    };
    let key = key(args.key.as_deref())?;
    let today = match &args.today {
        Some(today) => today.clone(),
        None => crate::clock::now().to_instant().chars().take(10).collect(),
    };
    for file in &args.files {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let tape = parsed(file, &bytes)?;
        let secrets = Secrets { key: &key, today: &today, file: &file.to_string_lossy() };
        let record =
            policy.export(&schema, &tape, &secrets).with_context(|| format!("export {}", file.display()))?;
        // As the engine writes it: a detour through another JSON library would drop a decimal's digits.
        if out.is_json() {
            line(format_args!("{{\"file\":{},\"record\":{record}}}", json!(file)));
        } else {
            line(record);
        }
    }
    Ok(Exit::Good)
}

fn parsed<'b>(file: &Path, bytes: &'b [u8]) -> Result<Tape<'b>> {
    match Tape::parse(bytes, &Limits::default()) {
        Ok(tape) => Ok(tape),
        Err(e) => bail!("{}: {e}", file.display()),
    }
}

fn key(file: Option<&Path>) -> Result<Vec<u8>> {
    let Some(path) = file else {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
        return Ok(bytes);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    match hex::decode(text.trim()) {
        Ok(bytes) if bytes.len() == 32 => Ok(bytes),
        _ => bail!("{}: a key is 64 hexadecimal digits; `openssl rand -hex 32` makes one", path.display()),
    }
}

/// What a projection keeps and proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Leaves of the record, and those that the projection shows.
    pub leaves: u64,
    pub shown: u64,
    /// Constraints and bindings decided on the record, and on its projection.
    pub rules: u64,
    pub decided: u64,
    /// The projection breaks a rule that shows.
    pub errors: u64,
}

impl Share {
    /// Of 100, with one digit.
    fn percent(part: u64, whole: u64) -> String {
        let tenths = (part * 1000).checked_div(whole).unwrap_or(1000);
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn shares(args: &DeidArgs, schema: &Arc<Schema>, policy: Option<&Policy>, out: &mut Output) -> Result<Exit> {
    let validator = Validator::new(Arc::clone(schema));
    let mut exit = Exit::Good;
    for file in &args.files {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let share = share(&validator, &parsed(file, &bytes)?, policy)?;
        let (shown, decided) =
            (Share::percent(share.shown, share.leaves), Share::percent(share.decided, share.rules));
        let text = format!(
            "{}: {} of {} leaves shown ({shown} %), {} of {} rules decided ({decided} %), {} errors",
            file.display(),
            share.shown,
            share.leaves,
            share.decided,
            share.rules,
            share.errors
        );
        let line = json!({"file": file, "leaves": share.leaves, "shown": share.shown, "rules": share.rules,
            "decided": share.decided, "errors": share.errors});
        out.result(&text, &line);
        if share.errors > 0 {
            exit = Exit::Refused;
        }
    }
    Ok(exit)
}

/// Of one document; of a Bundle each entry on its own, as records are committed.
pub fn share(validator: &Validator, tape: &Tape<'_>, policy: Option<&Policy>) -> Result<Share> {
    let root = tape.root();
    let entries: Vec<Cursor<'_, '_>> = match root.get("entry").filter(|e| e.kind() == Kind::Array) {
        Some(entries) => entries.children().filter_map(|e| e.get("resource")).collect(),
        None => vec![root],
    };
    let options = Options::default();
    let mut sum = Share::default();
    for resource in entries {
        let own = Tape::parse(resource.token().as_bytes(), &Limits::default())?;
        sum.rules += validator.validate(&own, &options).evaluated;
        let actions = match policy {
            Some(policy) => project_with(tape, resource.id(), validator.schema(), policy),
            None => project(tape, resource.id(), validator.schema()),
        };
        let projected: Vec<ProjectedLeaf> = leaves(resource)
            .into_iter()
            .zip(&actions)
            .map(|(leaf, (_, action))| ProjectedLeaf {
                path: leaf.path,
                kind: leaf.kind,
                token: (*action == Action::Keep).then(|| leaf.token.to_owned()),
            })
            .collect();
        let report = validator.validate_projection(&projected, &options)?;
        sum.leaves += projected.len() as u64;
        sum.shown += projected.iter().filter(|leaf| leaf.token.is_some()).count() as u64;
        sum.decided += report.evaluated;
        sum.errors += report.errors() as u64;
    }
    Ok(sum)
}

#[cfg(test)]
#[path = "deid_tests.rs"]
mod tests;
