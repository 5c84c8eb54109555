//! Talking to the service: opening motions and signing them.

use super::{AtArgs, files, pair};
use crate::client::Client;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_domain::officers::motion_bytes;
use consilium_domain::{ChannelId, OrgId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What every signed verb takes.
#[derive(clap::Args)]
pub(super) struct DeskArgs {
    #[command(flatten)]
    at: AtArgs,
    /// `NAME=FILE`: an officer and her private key; repeatable where several are in the room. Officers who are
    /// elsewhere use `consilium keys approve`.
    #[arg(long = "sign")]
    sign: Vec<String>,
    /// Write the result here, readable by its owner only.
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

/// One service's door.
pub(super) struct Desk<'a> {
    args: &'a DeskArgs,
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value.get(name).and_then(Value::as_str).with_context(|| format!("the service's answer has no `{name}`"))
}

pub(super) fn get(at: &str, path: &str) -> Result<Value> {
    let answer = Client::new(None).get(&format!("{at}{path}"), &[])?;
    if !answer.is_success() {
        bail!("the keys service refuses: {}", refusal(&answer.body));
    }
    answer.json()
}

/// The answer, or why it was refused.
pub(super) fn post(at: &str, path: &str, body: &Value) -> Result<Result<Value, String>> {
    let bytes = body.to_string();
    let answer = Client::new(None).post(&format!("{at}{path}"), "application/json", bytes.as_bytes())?;
    if answer.is_success() { Ok(Ok(answer.json()?)) } else { Ok(Err(refusal(&answer.body))) }
}

fn refusal(body: &str) -> String {
    let value: Option<Value> = serde_json::from_str(body).ok();
    value.as_ref().and_then(|v| v.get("error")?.as_str()).unwrap_or(body).to_owned()
}

impl<'a> Desk<'a> {
    pub(super) fn new(args: &'a DeskArgs) -> Self {
        Self { args }
    }

    /// Opens a motion and signs it with the keys that are here. Exit 1 when it waits for more.
    pub(super) fn carry(&self, action: &Value, out: &mut Output) -> Result<Exit> {
        Ok(match self.carry_and_take(action, out)? {
            None => Exit::Refused,
            Some(result) => {
                self.show(&result, out)?;
                Exit::Good
            }
        })
    }

    /// The same, for whoever does more with the result; nothing when it was refused or waits.
    pub(super) fn carry_and_take(&self, action: &Value, out: &mut Output) -> Result<Option<Value>> {
        let motion = match post(&self.args.at.at, "/v1/motions", action)? {
            Ok(motion) => motion,
            Err(refused) => {
                out.problem(&refused);
                return Ok(None);
            }
        };
        // Signed is what the service says it understood: it has to be what was asked for.
        let understood: Value =
            serde_json::from_str(text(&motion, "action")?).context("the motion's action")?;
        for (name, asked) in action.as_object().into_iter().flatten() {
            if understood.get(name).unwrap_or(&Value::Null) != asked && name != "seal" {
                bail!("the service understood `{understood}`: nothing was signed");
            }
        }
        self.sign(&motion, out)
    }

    /// Signs a motion that waits.
    pub(super) fn approve(&self, id: &str, out: &mut Output) -> Result<Exit> {
        let motions = get(&self.args.at.at, "/v1/motions")?;
        let found = motions.as_array().into_iter().flatten();
        let motion = found.into_iter().find(|m| m.get("id").and_then(Value::as_str) == Some(id));
        let motion = motion.context("no such motion waits: it was carried out, or has expired")?;
        out.note(&format!("signing: {}", text(motion, "action")?));
        Ok(match self.sign(motion, out)? {
            None => Exit::Refused,
            Some(result) => {
                self.show(&result, out)?;
                Exit::Good
            }
        })
    }

    fn sign(&self, motion: &Value, out: &mut Output) -> Result<Option<Value>> {
        let status = get(&self.args.at.at, "/v1/status")?;
        let (id, action) = (text(motion, "id")?, text(motion, "action")?);
        let expires = motion.get("expires_ms").and_then(Value::as_u64).context("the motion never expires")?;
        let bytes = motion_bytes(
            &ChannelId::new(text(&status, "channel")?)?,
            &OrgId::new(text(&status, "organisation")?)?,
            id,
            expires,
            action,
        );
        for signer in &self.args.sign {
            let (name, file) = pair(signer)?;
            let signature = files::key(Path::new(file))?.sign(&bytes);
            let body = json!({"officer": name, "signature": signature});
            match post(&self.args.at.at, &format!("/v1/motions/{id}/approvals"), &body)? {
                Err(refused) => {
                    out.problem(&refused);
                    return Ok(None);
                }
                Ok(answer) if answer.get("done").and_then(Value::as_bool) == Some(true) => {
                    return Ok(answer.get("result").cloned());
                }
                Ok(_) => {}
            }
        }
        out.result(&format!("the motion {id} waits for another officer"), motion);
        Ok(None)
    }

    fn show(&self, result: &Value, out: &mut Output) -> Result<()> {
        match &self.args.out {
            Some(path) => {
                files::write_private(path, serde_json::to_string_pretty(result)?.as_bytes())?;
                out.result(&format!("done; the result is in {}", path.display()), &json!({"out": path}));
            }
            None => out.result(&format!("done: {result}"), result),
        }
        Ok(())
    }
}
