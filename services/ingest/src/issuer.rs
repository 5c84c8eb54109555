//! The development issuer: gives tokens to whoever asks, so that a laptop needs no identity provider.
//!
//! It exists only with `organisation.profile = "demo"` (see `config.rs`); a production release is pointed at the
//! hospital's own authorisation server by `auth.jwks_file`.

use crate::auth::{Keys, TokenError, check_audience, check_times};
use crate::scope::within;
use consilium_domain::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::path::Path;

/// Grant that asks for nothing but a name: for demonstrations.
pub const DEMO_GRANT: &str = "urn:consilium:grant:demo";
/// RFC 7523 §2.2.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds for which an access token is valid.
const LIFETIME: u64 = 3600;
/// Longest life of a client's assertion, in seconds (SMART Backend Services: "no more than five minutes").
const ASSERTION_LIFETIME: u64 = 300;
const KID: &str = "development";

/// A client that may authenticate with an assertion.
pub struct IssuerClient {
    pub id: String,
    pub keys: Keys,
    pub scope: String,
}

/// The issuer and its key.
pub struct Issuer {
    key: EncodingKey,
    public: JwkSet,
    clients: Vec<IssuerClient>,
    pub issuer: String,
    pub audience: String,
    pub token_url: String,
}

/// An OAuth error (RFC 6749 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthError {
    pub error: &'static str,
    pub description: &'static str,
}

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    pub grant_type: String,
    pub scope: String,
    pub assertion_type: String,
    pub assertion: String,
    /// Demo grant only: claims of the token.
    pub subject: String,
    pub fhir_user: String,
    pub patient: String,
    pub roles: Vec<String>,
    /// Demo grant only: seconds of life, for showing an expired token.
    pub lifetime: Option<u64>,
}

/// An assertion that verified, and under which id it must be remembered until when.
pub struct Accepted {
    pub client: String,
    pub jti: String,
    /// Seconds since the epoch.
    pub expires: u64,
}

impl Issuer {
    /// Reads the key. `clients` come with their key sets.
    pub fn open(
        key_file: &Path,
        clients: Vec<IssuerClient>,
        issuer: &str,
        audience: &str,
        token_url: &str,
    ) -> anyhow::Result<Self> {
        let pem = std::fs::read(key_file)
            .map_err(|e| anyhow::anyhow!("cannot read `{}`: {e}", key_file.display()))?;
        let key = EncodingKey::from_ec_pem(&pem)
            .map_err(|e| anyhow::anyhow!("`{}` is no PKCS#8 PEM of an EC key: {e}", key_file.display()))?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES384)
            .map_err(|e| anyhow::anyhow!("`{}` is no P-384 key: {e}", key_file.display()))?;
        jwk.common.key_id = Some(KID.to_owned());
        Ok(Self {
            key,
            public: JwkSet { keys: vec![jwk] },
            clients,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            token_url: token_url.to_owned(),
        })
    }

    /// The public keys.
    pub fn jwks(&self) -> &JwkSet {
        &self.public
    }

    /// Verifies a client's assertion (RFC 7523 §3): signature by a key of that client, `iss` = `sub` = client,
    /// `aud` = the token endpoint, a `jti`, at most five minutes of life. Whether the `jti` is new is the caller's.
    pub fn accept(&self, request: &TokenRequest, now: Timestamp) -> Result<Accepted, TokenError> {
        if request.assertion_type != ASSERTION_TYPE {
            return Err(TokenError::Malformed);
        }
        let unverified = request.assertion.split('.').nth(1).ok_or(TokenError::Malformed)?;
        let client = self.client_named_in(unverified)?;
        let claims = client.keys.claims(&request.assertion)?;
        let exp = check_times(&claims, now)?;
        if exp > now.0 / 1000 + ASSERTION_LIFETIME + 30 {
            return Err(TokenError::TooLong);
        }
        for name in ["iss", "sub"] {
            if claims.get(name).and_then(Value::as_str) != Some(client.id.as_str()) {
                return Err(TokenError::Issuer);
            }
        }
        check_audience(&claims, &self.token_url)?;
        let jti = claims
            .get("jti")
            .and_then(Value::as_str)
            .filter(|j| !j.is_empty())
            .ok_or(TokenError::Claim("jti"))?;
        if !within(&request.scope, &client.scope) {
            return Err(TokenError::Claim("scope"));
        }
        Ok(Accepted { client: client.id.clone(), jti: jti.to_owned(), expires: exp })
    }

    /// The client whose key set the signature will be checked with; the claim is not trusted for anything else.
    fn client_named_in(&self, payload: &str) -> Result<&IssuerClient, TokenError> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| TokenError::Malformed)?;
        let claims: Value = serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)?;
        let id = claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Claim("sub"))?;
        self.clients.iter().find(|c| c.id == id).ok_or(TokenError::UnknownKey)
    }

    /// A token for a client that authenticated.
    pub fn for_client(&self, client: &str, scope: &str, jti: &str, now: Timestamp) -> Option<Value> {
        self.token(
            json!({ "sub": client, "client_id": client, "scope": scope, "jti": jti }),
            scope,
            LIFETIME,
            now,
        )
    }

    /// A token with the claims asked for.
    pub fn for_demo(&self, request: &TokenRequest, jti: &str, now: Timestamp) -> Result<Value, OAuthError> {
        let refused = |description| OAuthError { error: "invalid_request", description };
        if request.subject.is_empty() {
            return Err(refused("`sub` is missing"));
        }
        if request.scope.split(' ').any(|s| crate::scope::Scope::parse(s).is_none()) {
            return Err(OAuthError {
                error: "invalid_scope",
                description: "each scope is like `user/Patient.rs`",
            });
        }
        let mut claims =
            json!({ "sub": request.subject, "client_id": "demo", "scope": request.scope, "jti": jti });
        if let Some(object) = claims.as_object_mut() {
            if !request.fhir_user.is_empty() {
                object.insert("fhirUser".to_owned(), json!(request.fhir_user));
            }
            if !request.patient.is_empty() {
                object.insert("patient".to_owned(), json!(request.patient));
            }
            if !request.roles.is_empty() {
                object.insert("roles".to_owned(), json!(request.roles));
            }
        }
        let lifetime = request.lifetime.unwrap_or(LIFETIME).min(24 * LIFETIME);
        self.token(claims, &request.scope, lifetime, now)
            .ok_or(OAuthError { error: "server_error", description: "the token could not be signed" })
    }

    fn token(&self, mut claims: Value, scope: &str, lifetime: u64, now: Timestamp) -> Option<Value> {
        let now = now.0 / 1000;
        let object = claims.as_object_mut()?;
        object.insert("iss".to_owned(), json!(self.issuer));
        object.insert("aud".to_owned(), json!(self.audience));
        object.insert("iat".to_owned(), json!(now));
        object.insert("exp".to_owned(), json!(now + lifetime));
        let mut header = Header::new(Algorithm::ES384);
        header.kid = Some(KID.to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &self.key).ok()?;
        Some(json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime, "scope": scope }))
    }
}
