//! HTTP as an EHR would speak it: plain requests, nothing retried.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::Duration;

/// Media type of FHIR JSON.
pub const FHIR_JSON: &str = "application/fhir+json";

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub location: Option<String>,
    pub etag: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: the answer is not JSON: {}", self.status, self.head()))
    }

    /// The start of the body, for messages.
    pub fn head(&self) -> String {
        String::from_utf8_lossy(self.body.get(..400).unwrap_or(&self.body)).into_owned()
    }

    /// This answer, if it has the wanted status.
    pub fn expect(self, status: u16, what: &str) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        bail!("{what}: wanted {status}, got {}: {}", self.status, self.head())
    }

    /// The issues, if the body is an OperationOutcome that says something (hl7.org/fhir/R4/operationoutcome.html).
    pub fn issues(&self) -> Result<Vec<Issue>> {
        let outcome = self.json()?;
        if outcome.get("resourceType").and_then(Value::as_str) != Some("OperationOutcome") {
            bail!("{}: the body is no OperationOutcome: {}", self.status, self.head());
        }
        let issues =
            outcome.get("issue").and_then(Value::as_array).context("an OperationOutcome without issues")?;
        if issues.is_empty() {
            bail!("an OperationOutcome without issues");
        }
        let text = |i: &Value, at: &str| i.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(issues
            .iter()
            .map(|i| Issue {
                severity: text(i, "/severity"),
                code: text(i, "/code"),
                text: [text(i, "/details/text"), text(i, "/diagnostics")].join(" "),
                expression: text(i, "/expression/0"),
            })
            .collect())
    }
}

/// One issue of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub severity: String,
    pub code: String,
    pub text: String,
    /// FHIRPath, or nothing.
    pub expression: String,
}

/// A client.
#[derive(Clone)]
pub struct Http {
    agent: ureq::Agent,
}

impl Default for Http {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(900)))
            .max_idle_connections_per_host(8)
            .build();
        Self { agent: config.into() }
    }
}

/// Headers of a request.
pub type Headers<'h> = &'h [(&'h str, &'h str)];

impl Http {
    /// GET with a bearer token, or without one.
    pub fn get(&self, url: &str, token: Option<&str>, headers: Headers<'_>) -> Result<Answer> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read(request.call().with_context(|| format!("GET {url}"))?)
    }

    /// POST.
    pub fn post(&self, url: &str, token: Option<&str>, content_type: &str, body: &[u8]) -> Result<Answer> {
        self.post_with(url, token, &[], content_type, body)
    }

    /// POST with more headers.
    pub fn post_with(
        &self,
        url: &str,
        token: Option<&str>,
        headers: Headers<'_>,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer> {
        let mut request = self.agent.post(url).header("content-type", content_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read(request.send(body).with_context(|| format!("POST {url}"))?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (location, etag) = (header("location"), header("etag"));
    let body = response.body_mut().with_config().limit(512 << 20).read_to_vec().context("read the answer")?;
    Ok(Answer { status, body, location, etag })
}

/// Text as a part of `application/x-www-form-urlencoded` or of a query.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
