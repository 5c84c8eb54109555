//! The transit secrets engine of HashiCorp Vault and OpenBao over its HTTP API
//! (developer.hashicorp.com/vault/api-docs/secret/transit, "Encrypt data" and "Decrypt data").

use super::{Master, Seal, SealError, secret_file};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consilium_abe::rand_core::CryptoRngCore;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

const METHOD: &str = "vault-transit";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER: u64 = 64 * 1024;

pub(super) fn default_mount() -> String {
    "transit".to_owned()
}

/// Wraps by a key of the transit engine, of an AEAD type (`aes256-gcm96`, `chacha20-poly1305`), with the context
/// as associated data.
pub struct VaultTransit {
    agent: ureq::Agent,
    /// `<address>/v1/<mount>`
    base: String,
    key: String,
    token_file: PathBuf,
    namespace: Option<String>,
}

impl VaultTransit {
    /// Refuses an address without TLS that leaves the host, and names that would change the path.
    pub fn new(
        address: &str,
        mount: &str,
        key: &str,
        token_file: &Path,
        ca_file: Option<&Path>,
        namespace: Option<String>,
    ) -> Result<Self, SealError> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if !plain(key) {
            return Err(SealError::Invalid { field: "key", rule: "must be letters, digits, `-` or `_`" });
        }
        if !mount.split('/').all(plain) {
            return Err(SealError::Invalid { field: "mount", rule: "must be a path of plain names" });
        }
        let local = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"];
        let secure = address.starts_with("https://");
        if !secure && !local.iter().any(|prefix| address.starts_with(prefix)) {
            return Err(SealError::Invalid {
                field: "address",
                rule: "must be `https://…`, or `http://` on the own host",
            });
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            // A redirect would carry the token to wherever it points.
            .max_redirects(0);
        if secure {
            let path = ca_file.ok_or(SealError::Invalid {
                field: "ca_file",
                rule: "is needed with `https://`: the authorities that sign the server's certificate",
            })?;
            config = config.tls_config(TlsConfig::builder().root_certs(roots(path)?).build());
        }
        Ok(Self {
            agent: config.build().into(),
            base: format!("{}/v1/{mount}", address.trim_end_matches('/')),
            key: key.to_owned(),
            token_file: token_file.to_owned(),
            namespace,
        })
    }

    fn call(&self, verb: &str, body: &Value, field: &str) -> Result<Zeroizing<String>, SealError> {
        let unreachable = |cause: ureq::Error| {
            SealError::Unreachable(format!("the transit engine at {} does not answer: {cause}", self.base))
        };
        let token = secret_file(&self.token_file)?;
        let url = format!("{}/{verb}/{}", self.base, self.key);
        let mut request = self.agent.post(&url).header("x-vault-request", "true");
        request = request.header("x-vault-token", token.as_str());
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace.as_str());
        }
        let body = Zeroizing::new(body.to_string());
        let answer = request.header("content-type", "application/json").send(body.as_bytes());
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER).read_to_string().map_err(unreachable)?;
        let text = Zeroizing::new(text);
        match status {
            200 => {
                let value: Option<Value> = serde_json::from_str(&text).ok();
                let found = value.as_ref().and_then(|v| v.get("data")?.get(field)?.as_str());
                let found = found.map(|text| Zeroizing::new(text.to_owned()));
                found.ok_or_else(|| {
                    SealError::Refused(format!("the transit engine's answer has no `{field}`"))
                })
            }
            // "invalid ciphertext", "cipher: message authentication failed", "encryption key not found".
            400 | 404 => Err(SealError::DoesNotOpen(METHOD)),
            403 => Err(SealError::Refused(format!(
                "the token in `{}` may not use the transit key `{}`",
                self.token_file.display(),
                self.key
            ))),
            // 412, 429, 472, 473 and 5xx: standby, sealed, busy; another node or moment may answer.
            status => Err(SealError::Unreachable(format!("the transit engine answers {status}"))),
        }
    }
}

fn roots(path: &Path) -> Result<RootCerts, SealError> {
    let pem = std::fs::read(path).map_err(|cause| SealError::Read { path: path.to_owned(), cause })?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(SealError::Invalid { field: "ca_file", rule: "holds no certificate in PEM" });
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

impl Seal for VaultTransit {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn wrap(
        &self,
        master: &Master,
        context: &str,
        _rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        let body = json!({
            "plaintext": STANDARD.encode(master.expose()),
            "associated_data": STANDARD.encode(context),
        });
        Ok(self.call("encrypt", &body, "ciphertext")?.as_bytes().to_vec())
    }

    fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Master, SealError> {
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| SealError::DoesNotOpen(METHOD))?;
        let body = json!({"ciphertext": ciphertext, "associated_data": STANDARD.encode(context)});
        let plaintext = self.call("decrypt", &body, "plaintext")?;
        let bytes = STANDARD.decode(plaintext.as_bytes()).map(Zeroizing::new);
        bytes.ok().and_then(|bytes| Master::from_slice(&bytes)).ok_or(SealError::DoesNotOpen(METHOD))
    }
}
