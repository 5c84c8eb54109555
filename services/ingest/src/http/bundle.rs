//! transaction and batch (hl7.org/fhir/R4/http.html#transaction).

use super::write::{Verb, Write, Written, check, execute};
use super::{Ctx, Reply, batch, check_type, parse};
use crate::error::ApiError;
use crate::resource::type_of;
use crate::scope::Interaction;
use actix_web::http::StatusCode;
use consilium_domain::Timestamp;
use consilium_fhir::Tape;
use consilium_fhir::tape::Cursor;

/// One entry's request.
pub(super) struct Request {
    pub method: String,
    pub url: String,
    if_none_exist: Option<String>,
    if_match: Option<String>,
}

fn text(at: Cursor<'_, '_>, key: &str) -> Option<String> {
    at.get(key)?.as_str().map(|s| s.into_owned())
}

/// POST of a Bundle to the base.
pub async fn post(ctx: &Ctx, body: &[u8]) -> Result<Reply, ApiError> {
    let tape = parse(&ctx.app, body)?;
    let root = tape.root();
    if type_of(root).as_deref() != Some("Bundle") {
        return Err(ApiError::bad_request("the base takes a Bundle: send other resources to `/fhir/{type}`")
            .at("resourceType"));
    }
    let entries = root.get("entry").map_or(0, Cursor::count);
    if entries > ctx.app.limits.entries {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-costly",
            format!("a bundle has at most {} entries: send it in parts", ctx.app.limits.entries),
        )
        .at("Bundle.entry"));
    }
    match text(root, "type").as_deref() {
        Some("transaction") => {
            check(ctx, body).await?;
            transaction(ctx, &tape).await
        }
        Some("batch") => batch::post(ctx, &tape).await,
        _ => {
            Err(ApiError::bad_request("`Bundle.type` must be `transaction` or `batch` here")
                .at("Bundle.type"))
        }
    }
}

pub(super) fn request_of(entry: Cursor<'_, '_>, place: &str) -> Result<Request, ApiError> {
    let request = entry
        .get("request")
        .ok_or_else(|| ApiError::bad_request("the entry has no `request`").at(place.to_owned()))?;
    let needed = |key: &str| {
        text(request, key).ok_or_else(|| {
            ApiError::bad_request(format!("`request.{key}` is missing")).at(format!("{place}.request"))
        })
    };
    Ok(Request {
        method: needed("method")?,
        url: needed("url")?,
        if_none_exist: text(request, "ifNoneExist"),
        if_match: text(request, "ifMatch"),
    })
}

/// The path of an entry's URL relative to the base.
pub(super) fn local<'u>(ctx: &Ctx, url: &'u str) -> &'u str {
    let url = url.strip_prefix(ctx.app.base_url.as_str()).unwrap_or(url);
    url.strip_prefix('/').unwrap_or(url)
}

/// A POST or PUT entry as a write.
pub(super) fn write_of(
    ctx: &Ctx,
    entry: Cursor<'_, '_>,
    request: Request,
    place: String,
) -> Result<Write, ApiError> {
    let at = |e: ApiError, what: &str| e.at(format!("{place}.{what}"));
    let resource = entry
        .get("resource")
        .ok_or_else(|| at(ApiError::bad_request("the entry has no `resource`"), "resource"))?;
    let resource_type = type_of(resource)
        .ok_or_else(|| at(ApiError::bad_request("the resource has no `resourceType`"), "resource"))?;
    let url = local(ctx, &request.url);
    let other_type = || ApiError::bad_request("`request.url` is of another type than the resource");
    let verb = match request.method.as_str() {
        "POST" => {
            // `Type?condition` (fhirpy) means the same as `ifNoneExist`.
            let (path, condition) = url.split_once('?').map_or((url, None), |(p, c)| (p, Some(c.to_owned())));
            if path != resource_type {
                return Err(at(other_type(), "request.url"));
            }
            ctx.principal.may(Interaction::Create, &resource_type)?;
            Verb::Create { if_none_exist: request.if_none_exist.or(condition) }
        }
        "PUT" => {
            let (path_type, id) = url.split_once('/').ok_or_else(|| {
                at(
                    ApiError::unsupported(
                        "a PUT entry's url is `Type/id`: conditional updates are not supported",
                    ),
                    "request.url",
                )
            })?;
            if path_type != resource_type {
                return Err(at(other_type(), "request.url"));
            }
            ctx.principal.may(Interaction::Update, &resource_type)?;
            Verb::Update { id: id.to_owned(), if_match: request.if_match }
        }
        _ => {
            return Err(at(
                ApiError::unsupported("entries use POST, PUT or, in a batch, GET"),
                "request.method",
            ));
        }
    };
    check_type(&ctx.app, &resource_type)
        .map_err(|e| ApiError::unsupported(e.text).at(format!("{place}.resource")))?;
    Ok(Write { resource_type, node: resource.id(), full_url: text(entry, "fullUrl"), place, verb })
}

async fn transaction(ctx: &Ctx, tape: &Tape<'_>) -> Result<Reply, ApiError> {
    let mut writes = Vec::new();
    for (i, entry) in tape.root().get("entry").into_iter().flat_map(Cursor::children).enumerate() {
        let place = format!("Bundle.entry[{i}]");
        let request = request_of(entry, &place)?;
        writes.push(write_of(ctx, entry, request, place)?);
    }
    let written = execute(ctx, tape, writes).await?;
    let entries: Vec<String> = written.iter().map(|w| entry_of(ctx, w)).collect();
    Ok(response(ctx, "transaction-response", &entries))
}

pub(super) fn entry_of(ctx: &Ctx, w: &Written) -> String {
    let resource = if ctx.minimal || w.content.is_empty() {
        String::new()
    } else {
        format!("\"resource\":{},", String::from_utf8_lossy(&w.content))
    };
    format!(
        "{{\"fullUrl\":\"{base}/{t}/{id}\",{resource}\"response\":{{\"status\":\"{status}\",\"location\":\"{base}/{location}\",\
         \"etag\":\"W/\\\"{version}\\\"\",\"lastModified\":\"{modified}\"}}}}",
        base = ctx.app.base_url,
        t = w.resource_type,
        id = w.id,
        status = status_text(w.status),
        location = w.location(),
        version = w.version,
        modified = Timestamp(w.updated_ms).to_instant()
    )
}

pub(super) fn status_text(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

pub(super) fn response(ctx: &Ctx, kind: &str, entries: &[String]) -> Reply {
    let entry =
        if entries.is_empty() { String::new() } else { format!(",\"entry\":[{}]", entries.join(",")) };
    let body =
        format!("{{\"resourceType\":\"Bundle\",\"id\":\"{}\",\"type\":\"{kind}\"{entry}}}", ctx.app.new_id());
    Reply::ok(body.into_bytes())
}
