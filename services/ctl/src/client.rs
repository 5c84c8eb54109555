//! HTTP to a FHIR endpoint: plain requests, status and body, nothing retried behind the caller's back.

use anyhow::{Context, Result};
use std::time::Duration;

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).context("the server's answer is not JSON")
    }
    /// The first text of an OperationOutcome, or the status alone.
    pub fn complaint(&self) -> String {
        let outcome = self.json().ok();
        let issue = outcome.as_ref().and_then(|o| o.pointer("/issue/0"));
        let text = issue.and_then(|i| i.pointer("/details/text").or_else(|| i.get("diagnostics")));
        match text.and_then(|t| t.as_str()) {
            Some(t) => format!("{}: {t}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// A client with one token, or one user.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    /// The header's value.
    authorization: Option<String>,
}

impl Client {
    pub fn new(token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(300)))
            .build();
        Self { agent: config.into(), authorization: token.map(|t| format!("Bearer {t}")) }
    }

    /// Signs in by HTTP Basic (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Self {
        let encoded = consilium_ledger::checkpoint::base64(format!("{user}:{password}").as_bytes());
        Self { authorization: Some(format!("Basic {encoded}")), ..Self::new(None) }
    }

    /// The octets at an address; `None` for 404.
    pub fn octets(&self, url: &str) -> Result<Option<Vec<u8>>> {
        let mut request = self.agent.get(url);
        if let Some(a) = self.authorization() {
            request = request.header("authorization", a);
        }
        let mut response = request.call().with_context(|| format!("GET {url}"))?;
        match response.status().as_u16() {
            200 => Ok(Some(response.body_mut().with_config().limit(64 * 1024 * 1024).read_to_vec()?)),
            404 => Ok(None),
            status => anyhow::bail!("GET {url}: {status}"),
        }
    }

    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut request = self.agent.get(url);
        for (k, v) in headers
            .iter()
            .copied()
            .chain(self.authorization().as_ref().map(|a| ("authorization", a.as_str())))
        {
            request = request.header(k, v);
        }
        read(request.call().with_context(|| format!("GET {url}"))?)
    }

    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        self.write(self.agent.post(url), url, content_type, body)
    }

    pub fn put(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        self.write(self.agent.put(url), url, content_type, body)
    }

    fn write(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        url: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer> {
        if let Some(a) = self.authorization() {
            request = request.header("authorization", a);
        }
        let response = request.header("content-type", content_type).send(body);
        read(response.with_context(|| format!("request to {url}"))?)
    }

    fn authorization(&self) -> Option<String> {
        self.authorization.clone()
    }
}

/// Content type of FHIR JSON.
pub const FHIR_JSON: &str = "application/fhir+json";

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(256 * 1024 * 1024).read_to_string()?;
    Ok(Answer { status, body })
}
