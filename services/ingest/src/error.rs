//! Errors of the FHIR edge: every one becomes an OperationOutcome (hl7.org/fhir/R4/operationoutcome.html).
//!
//! Texts name elements and say what to do; they never hold a value of a resource.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use consilium_runtime::BusError;
use consilium_store::StoreError;
use serde_json::{Value, json};
use std::fmt;

/// MIME type of what is answered.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// An answer that is not the one hoped for.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub status: StatusCode,
    /// IssueType code, e.g. `not-found` (hl7.org/fhir/R4/valueset-issue-type.html).
    pub code: &'static str,
    pub text: String,
    /// FHIRPath of the element, where there is one.
    pub expression: Option<String>,
    /// A ready OperationOutcome (the validator's), in place of one made of the fields above.
    pub outcome: Option<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), expression: None, outcome: None, headers: Vec::new() }
    }
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", text)
    }
    /// The same for what is absent and for what the caller may not know of.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such resource")
    }
    /// It was here, and its keys were destroyed.
    pub fn gone() -> Self {
        Self::new(
            StatusCode::GONE,
            "deleted",
            "the keys of this record were destroyed: nobody can read it any more",
        )
    }
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not-supported", text)
    }
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", text)
    }
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", text)
    }
    pub fn precondition(text: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "conflict", text)
    }
    pub fn unprocessable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "processing", text)
    }
    /// The validator's own OperationOutcome.
    pub fn invalid(outcome: Vec<u8>) -> Self {
        let mut e = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the resource is not valid");
        e.outcome = Some(outcome);
        e
    }
    /// Something that this service needs does not answer; nothing was changed unless the text says so.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text).header("Retry-After", "2")
    }
    /// A fault of ours. The cause goes to the log, not to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "an internal error: the log has the details",
        )
    }
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.expression = Some(expression.into());
        self
    }
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The OperationOutcome as JSON.
    pub fn body(&self) -> Vec<u8> {
        match &self.outcome {
            Some(outcome) => outcome.clone(),
            None => outcome(&[issue("error", self.code, &self.text, self.expression.as_deref())]),
        }
    }
}

/// One issue of an OperationOutcome.
pub fn issue(severity: &str, code: &str, text: &str, expression: Option<&str>) -> Value {
    let mut issue = json!({ "severity": severity, "code": code, "details": { "text": text } });
    if let (Some(expression), Some(object)) = (expression, issue.as_object_mut()) {
        object.insert("expression".to_owned(), json!([expression]));
    }
    issue
}

/// An OperationOutcome with these issues.
pub fn outcome(issues: &[Value]) -> Vec<u8> {
    json!({ "resourceType": "OperationOutcome", "issue": issues }).to_string().into_bytes()
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.text)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, FHIR_JSON));
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.insert_header((*name, value));
            }
        }
        response.body(self.body())
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Database(_) => {
                tracing::warn!(cause = %e, "the database failed");
                Self::unavailable("the store does not answer: try again")
            }
            other => Self::internal(other),
        }
    }
}

impl From<BusError> for ApiError {
    fn from(e: BusError) -> Self {
        tracing::warn!(cause = %e, "a service did not answer");
        Self::unavailable("a service of this organisation does not answer: try again")
    }
}
