//! `$validate` on the base, a type or an instance (hl7.org/fhir/R4/resource-operation-validate.html).
//!
//! The answer is 200 with an OperationOutcome whenever the question could be answered, also when that answer is no.

use super::{Ctx, Reply, check_type, pairs, parse, read};
use crate::error::{ApiError, issue};
use crate::resource::{id_of, type_of};
use crate::scope::Interaction;
use consilium_fhir::Tape;
use consilium_fhir::tape::Cursor;
use serde_json::Value;

/// What the resource is checked for (hl7.org/fhir/R4/valueset-resource-validation-mode.html).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Its content alone.
    Content,
    Create,
    Update,
    Delete,
    /// The stored resource, against a profile.
    Profile,
}

impl Mode {
    fn parse(code: &str) -> Result<Self, ApiError> {
        match code {
            "create" => Ok(Self::Create),
            "update" => Ok(Self::Update),
            "delete" => Ok(Self::Delete),
            "profile" => Ok(Self::Profile),
            _ => Err(ApiError::bad_request("`mode` is `create`, `update`, `delete` or `profile`")),
        }
    }
}

/// Where the operation was called.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    pub resource_type: Option<&'a str>,
    pub id: Option<&'a str>,
}

struct Asked<'t, 's> {
    mode: Mode,
    profiles: Vec<String>,
    resource: Option<Cursor<'t, 's>>,
}

fn asked<'t, 's>(query: &str, tape: Option<&'t Tape<'s>>) -> Result<Asked<'t, 's>, ApiError> {
    let mut asked = Asked { mode: Mode::Content, profiles: Vec::new(), resource: None };
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "profile" => asked.profiles.push(value),
            "mode" => asked.mode = Mode::parse(&value)?,
            other if other.starts_with('_') => {}
            _ => return Err(ApiError::bad_request("`$validate` takes `mode`, `profile` and a resource")),
        }
    }
    let Some(tape) = tape else { return Ok(asked) };
    let root = tape.root();
    if type_of(root).as_deref() != Some("Parameters") {
        asked.resource = Some(root);
        return Ok(asked);
    }
    for parameter in root.get("parameter").into_iter().flat_map(Cursor::children) {
        let named = |name| parameter.get("name").is_some_and(|n| n.str_is(name));
        let value = |keys: &[&str]| keys.iter().find_map(|k| Some(parameter.get(k)?.as_str()?.into_owned()));
        if named("resource") {
            asked.resource = parameter.get("resource");
        } else if named("profile") {
            asked.profiles.extend(value(&["valueUri", "valueCanonical"]));
        } else if named("mode") {
            let code = value(&["valueCode", "valueString"]).unwrap_or_default();
            asked.mode = Mode::parse(&code)?;
        }
    }
    Ok(asked)
}

pub async fn post(
    ctx: &Ctx,
    target: Target<'_>,
    query: &str,
    body: Option<&[u8]>,
) -> Result<Reply, ApiError> {
    let tape = body.map(|b| parse(&ctx.app, b)).transpose()?;
    let asked = asked(query, tape.as_ref())?;
    if let Some(resource_type) = target.resource_type {
        check_type(&ctx.app, resource_type)?;
        let found = asked.resource.and_then(type_of);
        if found.is_some_and(|found| found != resource_type) {
            return Err(
                ApiError::bad_request("the resource is of another type than the URL").at("resourceType")
            );
        }
    }
    let mut issues = Vec::new();
    let instance = target.resource_type.zip(target.id);
    let stored;
    let bytes = match (asked.mode, asked.resource, instance) {
        (Mode::Delete, _, None) => {
            return Err(ApiError::bad_request("`mode=delete` is asked of `/fhir/{type}/{id}/$validate`"));
        }
        (Mode::Delete, _, Some((resource_type, _))) => {
            let (severity, code, text) = if resource_type == "Consent" {
                (
                    "error",
                    "business-rule",
                    "a delete would be refused: set the Consent's `status` to `inactive`",
                )
            } else {
                (
                    "information",
                    "informational",
                    "a delete destroys the keys of all versions for good; `X-Erasure-Ground` has to say why",
                )
            };
            let mut issues = vec![issue(severity, code, text, None)];
            if let Err(e) = ctx.principal.may(Interaction::Delete, resource_type) {
                issues.push(issue("error", e.code, &e.text, e.expression.as_deref()));
            }
            return Ok(Reply::ok(crate::error::outcome(&issues)));
        }
        (Mode::Profile, None, None) => {
            return Err(ApiError::bad_request("`mode=profile` is asked of `/fhir/{type}/{id}/$validate`"));
        }
        (Mode::Profile, Some(_), _) => {
            return Err(ApiError::bad_request("`mode=profile` checks the stored resource: send none"));
        }
        (Mode::Update, _, None) => {
            return Err(ApiError::bad_request("`mode=update` is asked of `/fhir/{type}/{id}/$validate`"));
        }
        (Mode::Content | Mode::Profile, None, Some((resource_type, id))) => {
            stored = read::read(ctx, resource_type, id).await?.body;
            stored.as_slice()
        }
        (_, None, _) => {
            return Err(ApiError::bad_request(
                "`Parameters` holds no parameter `resource`, and the URL no id",
            ));
        }
        (mode, Some(resource), _) => {
            issues = acceptable(ctx, mode, resource, target);
            resource.token().as_bytes()
        }
    };
    let outcome = ctx.app.peers.check(bytes, &asked.profiles).await?.outcome;
    Ok(Reply::ok(with(outcome, issues)?))
}

/// What besides its content would stop a create or update.
fn acceptable(ctx: &Ctx, mode: Mode, resource: Cursor<'_, '_>, target: Target<'_>) -> Vec<Value> {
    let interaction = match mode {
        Mode::Create => Interaction::Create,
        Mode::Update => Interaction::Update,
        Mode::Content | Mode::Delete | Mode::Profile => return Vec::new(),
    };
    let resource_type = type_of(resource).unwrap_or_default();
    let mut refusals = Vec::new();
    refusals.extend(ctx.principal.may(interaction, &resource_type).err());
    refusals.extend(check_type(&ctx.app, &resource_type).err());
    if mode == Mode::Update && id_of(resource).as_deref() != target.id {
        refusals.push(
            ApiError::bad_request("the resource's `id` must be there and equal the URL's")
                .at(format!("{resource_type}.id")),
        );
    }
    refusals.iter().map(|e| issue("error", e.code, &e.text, e.expression.as_deref())).collect()
}

/// An outcome of the validator with more issues.
fn with(outcome: Vec<u8>, issues: Vec<Value>) -> Result<Vec<u8>, ApiError> {
    if issues.is_empty() {
        return Ok(outcome);
    }
    let mut outcome: Value = serde_json::from_slice(&outcome).map_err(ApiError::internal)?;
    let list = outcome.get_mut("issue").and_then(Value::as_array_mut);
    let list = list.ok_or_else(|| ApiError::internal("an OperationOutcome without issues"))?;
    // All that the validator finds bears a code of its own; what does not says that nothing was found.
    list.retain(|found| found.pointer("/details/coding").is_some());
    list.extend(issues);
    Ok(outcome.to_string().into_bytes())
}
