//! The HTTP edge: one dispatcher over (method, path), so that every answer, actix's own included, is FHIR.

pub mod auth;
pub mod batch;
pub mod bundle;
pub mod erase;
pub mod exchange;
pub mod metadata;
pub mod read;
pub mod search;
pub mod validate;
pub mod write;

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, FHIR_JSON};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use consilium_fhir::Tape;
use consilium_runtime::propagation;
use futures::StreamExt;
use std::sync::Arc;
use tracing::Instrument;
use validate::Target;

/// What is sent back, before it is HTTP: entries of batches use the same.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// Weak ETag's version.
    pub version: Option<u64>,
    /// Milliseconds of the last update.
    pub updated_ms: Option<u64>,
    pub location: Option<String>,
}

impl Reply {
    pub fn ok(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, body, version: None, updated_ms: None, location: None }
    }

    fn into_response(self, content_type: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, content_type));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(version) = self.version {
            response.insert_header((header::ETAG, format!("W/\"{version}\"")));
        }
        if let Some(ms) = self.updated_ms {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
            response.insert_header((header::LAST_MODIFIED, header::HttpDate::from(time)));
        }
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        response.body(self.body)
    }
}

/// One authenticated request.
pub struct Ctx {
    pub app: Arc<App>,
    pub principal: Principal,
    pub request_id: String,
    /// `Prefer: return=minimal`.
    pub minimal: bool,
    /// `X-Purpose-Of-Use`.
    pub purpose: Option<String>,
}

/// The conditional headers of a request.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub if_none_exist: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
}

fn header_text(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// The handler of every path.
pub async fn dispatch(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let app = Arc::clone(app.get_ref());
    let start = app.clock.monotonic();
    // Echoed so that a client can find its request in the audit trail; bounded, because it is stored there.
    let request_id = header_text(&request, "x-request-id")
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .unwrap_or_else(|| app.new_id());
    let method = request.method().as_str().to_owned();
    // The caller's trace goes on here and, through the bus, in every service that takes part (W3C Trace Context).
    let span = tracing::info_span!("fhir request", otel.kind = "server", method);
    // Its `tracestate` does not: that is free text of a stranger, and the bus leads to other organisations.
    propagation::extract(&span, |name| {
        let value = request.headers().get(name).filter(|_| name == "traceparent");
        value.and_then(|v| v.to_str().ok())
    });
    let mut response = match route(request, payload, &app, &request_id).instrument(span).await {
        Ok(response) => response,
        Err(error) => error.error_response(),
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(header::HeaderName::from_static("x-request-id"), value);
    }
    let status = response.status().as_u16().to_string();
    app.metrics.requests.observe(&[&method, &status], app.clock.monotonic().saturating_sub(start));
    response
}

async fn route(
    request: HttpRequest,
    payload: web::Payload,
    app: &Arc<App>,
    request_id: &str,
) -> Result<HttpResponse, ApiError> {
    let path = decode_path(request.path())?;
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let query = request.query_string().to_owned();
    let method = request.method().clone();
    let fhir = |reply: Reply| Ok(reply.into_response(FHIR_JSON));
    let json = |body: Vec<u8>| Ok(Reply::ok(body).into_response("application/json"));
    match (&method, segments.as_slice()) {
        (&Method::GET | &Method::HEAD, ["fhir", "metadata"]) => {
            return fhir(Reply::ok(metadata::capability(app)));
        }
        (
            &Method::GET,
            ["fhir", ".well-known", "smart-configuration"] | [".well-known", "smart-configuration"],
        ) => {
            return json(metadata::smart(app));
        }
        (_, ["auth", rest @ ..]) => return auth::route(request, payload, app, rest).await,
        (_, ["fhir", ..] | ["exchange", ..]) => {}
        _ => return Err(no_such_path()),
    }
    let ctx = authenticate(&request, app, request_id).await?;
    let conditions = Conditions {
        if_none_exist: header_text(&request, "if-none-exist"),
        if_match: header_text(&request, "if-match"),
        if_none_match: header_text(&request, "if-none-match"),
    };
    match (&method, segments.as_slice()) {
        (&Method::POST, ["fhir"]) => {
            let body = resource_body(&request, payload, app).await?;
            fhir(bundle::post(&ctx, &body).await?)
        }
        (&Method::POST, ["fhir", target @ .., "$validate"]) if target.len() <= 2 => {
            let body = resource_body(&request, payload, app).await?;
            let target = Target { resource_type: target.first().copied(), id: target.get(1).copied() };
            fhir(validate::post(&ctx, target, &query, Some(&body)).await?)
        }
        // The stored resource itself; the operation changes nothing, so GET may call it.
        (&Method::GET, ["fhir", resource_type, id, "$validate"]) => {
            let target = Target { resource_type: Some(*resource_type), id: Some(*id) };
            fhir(validate::post(&ctx, target, &query, None).await?)
        }
        (&Method::POST, ["fhir", resource_type]) => {
            let mut conditions = conditions;
            if conditions.if_none_exist.is_none() && !query.is_empty() {
                // fhirpy's `get_or_create`: the condition stands in the URL; to ignore it would make duplicates.
                conditions.if_none_exist = Some(query);
            }
            let body = resource_body(&request, payload, app).await?;
            fhir(write::create(&ctx, resource_type, &body, &conditions).await?)
        }
        (&Method::POST, ["fhir", resource_type, "_search"]) => {
            let form = form_body(&request, payload, app).await?;
            let joined = [query.as_str(), form.as_str()]
                .iter()
                .filter(|s| !s.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join("&");
            fhir(search::search(&ctx, resource_type, &joined).await?)
        }
        (&Method::GET | &Method::HEAD, ["fhir", resource_type]) => {
            fhir(search::search(&ctx, resource_type, &query).await?)
        }
        (&Method::GET | &Method::HEAD, ["fhir", resource_type, id]) => {
            let reply = read::read(&ctx, resource_type, id).await?;
            if matches_version(conditions.if_none_match.as_deref(), reply.version) {
                let unchanged = Reply { status: StatusCode::NOT_MODIFIED, body: Vec::new(), ..reply };
                return fhir(unchanged);
            }
            fhir(reply)
        }
        (&Method::PUT, ["fhir", resource_type, id]) => {
            let body = resource_body(&request, payload, app).await?;
            fhir(write::update(&ctx, resource_type, id, &body, &conditions).await?)
        }
        (&Method::DELETE, ["fhir", resource_type, id]) => {
            let why = header_text(&request, erase::GROUND);
            fhir(erase::delete(&ctx, resource_type, id, why.as_deref()).await?)
        }
        (&Method::GET, ["fhir", "Patient", id, "$key-classes"]) => {
            fhir(Reply::ok(erase::classes(&ctx, id).await?))
        }
        (&Method::GET | &Method::HEAD, ["fhir", resource_type, id, "_history"]) => {
            fhir(read::history(&ctx, resource_type, id, &query).await?)
        }
        (&Method::GET | &Method::HEAD, ["fhir", resource_type, id, "_history", version]) => {
            fhir(read::vread(&ctx, resource_type, id, version).await?)
        }
        (&Method::GET, ["fhir", resource_type, id, "_history", version, "$receipt"]) => {
            json(read::receipt(&ctx, resource_type, id, version, &query).await?)
        }
        (&Method::GET, ["exchange", organisation, "fhir", resource_type, id]) => {
            fhir(exchange::read(&ctx, organisation, resource_type, id).await?)
        }
        (&Method::GET, ["exchange", organisation, "fhir", resource_type]) => {
            fhir(exchange::search(&ctx, organisation, resource_type, &query).await?)
        }
        (_, ["fhir", ..]) if known_shape(&segments) => Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "not-supported",
            format!(
                "`{method}` is not possible here: the CapabilityStatement at `{}/metadata` says what is",
                app.base_url
            ),
        )
        .header("Allow", allowed(&segments))),
        _ => Err(no_such_path()),
    }
}

fn no_such_path() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "there is nothing at this path: the FHIR endpoint is at `/fhir`",
    )
}

fn known_shape(segments: &[&str]) -> bool {
    matches!(
        segments,
        ["fhir"]
            | ["fhir", _]
            | ["fhir", _, _]
            | ["fhir", _, _, "$validate"]
            | ["fhir", _, _, "_history"]
            | ["fhir", _, _, "_history", _]
    )
}

fn allowed(segments: &[&str]) -> &'static str {
    match segments {
        ["fhir"] => "POST",
        ["fhir", _] => "GET, HEAD, POST",
        ["fhir", _, "_search" | "$validate"] => "POST",
        ["fhir", _, _, "$validate"] => "GET, POST",
        ["fhir", _, _] => "GET, HEAD, PUT, DELETE",
        _ => "GET, HEAD",
    }
}

/// Percent-decodes a path; refuses what is not UTF-8 or hides a slash or NUL.
fn decode_path(path: &str) -> Result<String, ApiError> {
    let refused = || ApiError::bad_request("the path is not percent-encoded UTF-8");
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(refused);
        let value = u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).map_err(|_| refused())?;
        if value == b'/' || value == 0 {
            return Err(refused());
        }
        out.push(value);
    }
    String::from_utf8(out).map_err(|_| refused())
}

/// Whether `If-None-Match` names this version: `W/"3"`, `"3"` or bare `3` (fhirpy sends it bare).
fn matches_version(header: Option<&str>, version: Option<u64>) -> bool {
    header.is_some_and(|h| h.split(',').any(|one| parse_version(one).is_some_and(|v| Some(v) == version)))
}

/// The version of an ETag in any of its spellings.
pub fn parse_version(etag: &str) -> Option<u64> {
    let text = etag.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    text.parse().ok()
}

async fn authenticate(request: &HttpRequest, app: &Arc<App>, request_id: &str) -> Result<Ctx, ApiError> {
    let authorization = header_text(request, "authorization");
    let principal = match app.verifier.verify(authorization.as_deref(), app.now()) {
        Ok(principal) => principal,
        Err(refusal) => {
            if refusal != crate::auth::TokenError::Missing {
                auth::audit_refusal(app, &refusal.to_string(), request_id).await?;
            }
            return Err(refusal.into());
        }
    };
    Ok(Ctx {
        app: Arc::clone(app),
        principal,
        request_id: request_id.to_owned(),
        minimal: header_text(request, "prefer")
            .is_some_and(|p| p.split(',').any(|x| x.trim() == "return=minimal")),
        purpose: header_text(request, "x-purpose-of-use"),
    })
}

/// Reads a body up to the limit, piece by piece: a claimed or real excess is refused before it is in memory.
pub async fn read_body(
    request: &HttpRequest,
    mut payload: web::Payload,
    limit: usize,
) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-costly",
            format!("the body is larger than {limit} bytes: send it in smaller parts"),
        )
        .header("Connection", "close")
    };
    if request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "send the body without `Content-Encoding`",
        ));
    }
    let claimed =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(claimed.unwrap_or(0));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("the body ended too early"))?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn media_type(request: &HttpRequest) -> String {
    header_text(request, "content-type")
        .map(|t| t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .unwrap_or_default()
}

/// A JSON body. `fhirVersion` of another major version is refused, 4.x is taken.
async fn resource_body(request: &HttpRequest, payload: web::Payload, app: &App) -> Result<Vec<u8>, ApiError> {
    let unsupported = |text: &str| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text);
    if !matches!(media_type(request).as_str(), "application/fhir+json" | "application/json" | "text/json") {
        return Err(unsupported("send `Content-Type: application/fhir+json`"));
    }
    let parameters = header_text(request, "content-type").unwrap_or_default().to_ascii_lowercase();
    if let Some((_, version)) = parameters.split_once("fhirversion=")
        && !version.trim_start_matches('"').starts_with('4')
    {
        return Err(unsupported("this server speaks FHIR R4 (`fhirVersion=4.0`)"));
    }
    if let Some((_, charset)) = parameters.split_once("charset=")
        && !charset.trim_start_matches('"').starts_with("utf-8")
    {
        return Err(unsupported("send UTF-8"));
    }
    let body = read_body(request, payload, app.limits.body_bytes).await?;
    if body.is_empty() {
        return Err(ApiError::bad_request("the body is empty: send one resource as JSON"));
    }
    Ok(body)
}

async fn form_body(request: &HttpRequest, payload: web::Payload, app: &App) -> Result<String, ApiError> {
    let body = read_body(request, payload, app.limits.body_bytes.min(64 * 1024)).await?;
    if !body.is_empty() && media_type(request) != "application/x-www-form-urlencoded" {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "send `Content-Type: application/x-www-form-urlencoded`",
        ));
    }
    String::from_utf8(body).map_err(|_| ApiError::bad_request("the form is not UTF-8"))
}

/// Parses a body as JSON within the limits.
pub fn parse<'a>(app: &App, body: &'a [u8]) -> Result<Tape<'a>, ApiError> {
    Tape::parse(body, &app.tape_limits()).map_err(|e| {
        ApiError::new(StatusCode::BAD_REQUEST, "structure", format!("the body is not one JSON document: {e}"))
    })
}

/// The pairs of a query string or form, decoded (`+` is a blank there).
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let decode = |text: &str| {
        let spaced = text.replace('+', "%20").replace("%2F", "/").replace("%2f", "/");
        decode_path(&spaced).map_err(|_| ApiError::bad_request("the query is not percent-encoded UTF-8"))
    };
    query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Percent-encodes a query component (RFC 3986 §2.3: all but unreserved characters).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Refuses types that this server does not keep.
pub fn check_type(app: &App, resource_type: &str) -> Result<(), ApiError> {
    if metadata::serves(app, resource_type) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        "not-supported",
        format!(
            "this server keeps no resources of such a type: `{}/metadata` lists those it keeps",
            app.base_url
        ),
    ))
}
