//! The development issuer's endpoints.

use super::{media_type, pairs, read_body};
use crate::app::App;
use crate::audit_event::{Audit, Event};
use crate::auth::TokenError;
use crate::error::ApiError;
use crate::issuer::{DEMO_GRANT, OAuthError, TokenRequest};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::sync::Arc;

fn answer(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        // RFC 6749 §5.1.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body.to_string())
}

fn refuse(error: &OAuthError) -> HttpResponse {
    let status =
        if error.error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    answer(status, &json!({ "error": error.error, "error_description": error.description }))
}

/// Routes below `/auth`.
pub async fn route(
    request: HttpRequest,
    payload: web::Payload,
    app: &Arc<App>,
    rest: &[&str],
) -> Result<HttpResponse, ApiError> {
    let Some(issuer) = &app.issuer else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "this organisation's tokens come from its own authorisation server",
        ));
    };
    match (request.method(), rest) {
        (&Method::GET, ["jwks.json"]) => Ok(answer(StatusCode::OK, &json!(issuer.jwks()))),
        (&Method::POST, ["token"]) => token(request, payload, app).await,
        (_, ["jwks.json" | "token"]) => Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "not-supported",
            "use GET for `jwks.json` and POST for `token`",
        )),
        _ => Err(super::no_such_path()),
    }
}

async fn token(
    request: HttpRequest,
    payload: web::Payload,
    app: &Arc<App>,
) -> Result<HttpResponse, ApiError> {
    let invalid = |description| refuse(&OAuthError { error: "invalid_request", description });
    if media_type(&request) != "application/x-www-form-urlencoded" {
        return Ok(invalid("send `Content-Type: application/x-www-form-urlencoded`"));
    }
    let body = read_body(&request, payload, 64 * 1024).await?;
    let Ok(form) = String::from_utf8(body) else { return Ok(invalid("the form is not UTF-8")) };
    let mut asked = TokenRequest::default();
    for (name, value) in pairs(&form)? {
        match name.as_str() {
            "grant_type" => asked.grant_type = value,
            "scope" => asked.scope = value,
            "client_assertion_type" => asked.assertion_type = value,
            "client_assertion" => asked.assertion = value,
            "sub" => asked.subject = value,
            "fhirUser" => asked.fhir_user = value,
            "patient" => asked.patient = value,
            "roles" => asked.roles = value.split_whitespace().map(str::to_owned).collect(),
            "expires_in" => match value.parse() {
                Ok(seconds) => asked.lifetime = Some(seconds),
                Err(_) => return Ok(invalid("`expires_in` is a number of seconds")),
            },
            _ => {}
        }
    }
    let Some(issuer) = &app.issuer else { return Err(super::no_such_path()) };
    match asked.grant_type.as_str() {
        DEMO_GRANT => Ok(match issuer.for_demo(&asked, &app.new_id(), app.now()) {
            Ok(token) => answer(StatusCode::OK, &token),
            Err(error) => refuse(&error),
        }),
        "client_credentials" => client_token(app, &asked).await,
        _ => Ok(refuse(&OAuthError {
            error: "unsupported_grant_type",
            description: "use `client_credentials`",
        })),
    }
}

async fn client_token(app: &Arc<App>, asked: &TokenRequest) -> Result<HttpResponse, ApiError> {
    let Some(issuer) = &app.issuer else { return Err(super::no_such_path()) };
    let accepted = match issuer.accept(asked, app.now()) {
        Ok(accepted) => {
            let value = app.blind.once("assertion", &accepted.client, &accepted.jti);
            // Remembered until the assertion would be refused as expired anyway, leeway included.
            let fresh = app.seen.first_use(&value, (accepted.expires + 60) * 1000).await?;
            if fresh { Ok(accepted) } else { Err(TokenError::Replayed) }
        }
        Err(refusal) => Err(refusal),
    };
    match accepted {
        Err(refusal) => {
            audit_refusal(app, &refusal.to_string(), &app.new_id()).await?;
            let error =
                if refusal == TokenError::Claim("scope") { "invalid_scope" } else { "invalid_client" };
            Ok(answer(
                if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST },
                &json!({ "error": error, "error_description": refusal.to_string() }),
            ))
        }
        Ok(accepted) => match issuer.for_client(&accepted.client, &asked.scope, &app.new_id(), app.now()) {
            Some(token) => Ok(answer(StatusCode::OK, &token)),
            None => Err(ApiError::internal("a token could not be signed")),
        },
    }
}

/// Notes a refused token.
pub async fn audit_refusal(app: &App, reason: &str, request_id: &str) -> Result<(), ApiError> {
    let event = Audit {
        id: app.new_id(),
        event: Event::Refusal,
        recorded: app.now(),
        organisation: &app.organisation,
        outcome: 4,
        reason: Some(reason.to_owned()),
        subject: "unknown",
        fhir_user: None,
        partner: None,
        purpose: None,
        records: Vec::new(),
        patients: Vec::new(),
        query: None,
        request_id: Some(request_id),
        consents: Vec::new(),
        height: None,
        erasure: None,
    };
    app.audit(vec![event.to_json()]).await
}
