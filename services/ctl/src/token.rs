//! `consilium token`: an access token of the development issuer of a local consortium.

use crate::client::Client;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct TokenArgs {
    /// Organisation whose issuer to ask.
    #[arg(long, default_value = "hospital-a")]
    org: String,
    /// Folder of the consortium.
    #[arg(long, default_value = ".demo")]
    dir: PathBuf,
    /// Who the token is for.
    #[arg(long, default_value = "demo")]
    sub: String,
    /// SMART scopes, separated by spaces.
    #[arg(long, default_value = "system/*.cruds")]
    scope: String,
    /// Roles of the person, e.g. `clinician`.
    #[arg(long = "role")]
    roles: Vec<String>,
    /// Logical id of the patient that `patient/` scopes are limited to.
    #[arg(long)]
    patient: Option<String>,
    /// `fhirUser`, e.g. `Practitioner/17`.
    #[arg(long)]
    user: Option<String>,
    /// Seconds until it expires.
    #[arg(long)]
    lifetime: Option<u64>,
}

pub fn run(args: &TokenArgs, out: &mut Output) -> Result<Exit> {
    let url = crate::cluster::token_url(&args.dir, &args.org)?;
    let mut form = vec![
        ("grant_type", "urn:consilium:grant:demo".to_owned()),
        ("sub", args.sub.clone()),
        ("scope", args.scope.clone()),
    ];
    if !args.roles.is_empty() {
        form.push(("roles", args.roles.join(" ")));
    }
    form.extend(args.patient.clone().map(|p| ("patient", p)));
    form.extend(args.user.clone().map(|u| ("fhirUser", u)));
    form.extend(args.lifetime.map(|l| ("expires_in", l.to_string())));
    let body = form.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect::<Vec<_>>().join("&");
    let answer = Client::new(None).post(&url, "application/x-www-form-urlencoded", body.as_bytes())?;
    if !answer.is_success() {
        bail!("the issuer refused: {} {}", answer.status, answer.body);
    }
    let token = answer.json()?;
    let token =
        token.get("access_token").and_then(Value::as_str).context("the issuer's answer has no token")?;
    out.result(token, &json!({"access_token": token}));
    Ok(Exit::Good)
}

/// application/x-www-form-urlencoded.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// A token from `--token`, `@FILE` or $CONSILIUM_TOKEN.
pub fn given(argument: Option<&str>) -> Result<Option<String>> {
    let text = match argument {
        Some(t) => Some(t.to_owned()),
        None => std::env::var("CONSILIUM_TOKEN").ok(),
    };
    match text {
        None => Ok(None),
        Some(t) => match t.strip_prefix('@') {
            None => Ok(Some(t)),
            Some(file) => {
                let token = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
                Ok(Some(token.trim().to_owned()))
            }
        },
    }
}
