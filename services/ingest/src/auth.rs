//! Bearer tokens: JWTs signed with ES384 or RS384 (SMART Backend Services), verified against a key set that was
//! configured, never against anything that the token itself names.

use crate::error::ApiError;
use crate::scope::{Context, Interaction, Scope, parse_all};
use actix_web::http::StatusCode;
use consilium_domain::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use thiserror::Error;

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;
/// Seconds by which clocks may differ.
const LEEWAY: u64 = 30;

/// Why a token is not accepted. Said to the client as `invalid_token`, in full in the audit event.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TokenError {
    #[error("there is no bearer token")]
    Missing,
    #[error("the token is no signed JWT of at most {MAX_TOKEN} bytes")]
    Malformed,
    #[error(
        "the token's header names a key of its own or an extension: keys come from the configuration only"
    )]
    Header,
    #[error("no configured key has the token's `kid`")]
    UnknownKey,
    #[error("the token's `alg` is not the one of its key")]
    Algorithm,
    #[error("the token's signature does not verify")]
    Signature,
    #[error("the token's `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is by another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the assertion lives longer than five minutes")]
    TooLong,
    #[error("the assertion was used before")]
    Replayed,
}

impl From<TokenError> for ApiError {
    fn from(e: TokenError) -> Self {
        // RFC 6750 §3.1: a request without a token gets no error code.
        let challenge = match e {
            TokenError::Missing => "Bearer realm=\"fhir\"".to_owned(),
            _ => format!(
                "Bearer realm=\"fhir\", error=\"invalid_token\", error_description=\"{}\"",
                e.to_string().replace('"', "'")
            ),
        };
        Self::new(
            StatusCode::UNAUTHORIZED,
            "login",
            format!("{e}: send `Authorization: Bearer …` with a token of this server's issuer"),
        )
        .header("WWW-Authenticate", challenge)
    }
}

/// A key set with the algorithm of each key pinned.
pub struct Keys(Vec<(String, Algorithm, DecodingKey)>);

impl Keys {
    /// Takes the keys with a `kid` that are EC P-384 (ES384) or RSA (RS384); others verify nothing.
    pub fn new(set: &JwkSet) -> Self {
        Self(set.keys.iter().filter_map(Self::key).collect())
    }

    fn key(jwk: &Jwk) -> Option<(String, Algorithm, DecodingKey)> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Algorithm::ES384,
            AlgorithmParameters::RSA(_) => Algorithm::RS384,
            _ => return None,
        };
        Some((jwk.common.key_id.clone()?, algorithm, DecodingKey::from_jwk(jwk).ok()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Claims of a token whose signature verifies. Nothing about its time, issuer or audience is checked here.
    pub fn claims(&self, token: &str) -> Result<Value, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 §4.1: jku, jwk, x5u and x5c would let the sender choose the key; unknown `crit` must be refused.
        let named =
            header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if named || header.extras.inner().contains_key("crit") {
            return Err(TokenError::Header);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let (_, algorithm, key) = self.0.iter().find(|(k, _, _)| *k == kid).ok_or(TokenError::UnknownKey)?;
        if header.alg != *algorithm {
            return Err(TokenError::Algorithm);
        }
        let mut validation = Validation::new(*algorithm);
        // Times are checked against our clock, issuer and audience by the caller.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Value>(token, key, &validation)
            .map(|d| d.claims)
            .map_err(|_| TokenError::Signature)
    }
}

fn text<'v>(claims: &'v Value, name: &str) -> Option<&'v str> {
    claims.get(name).and_then(Value::as_str)
}

/// Checks `exp`, `nbf` and `iat`; gives `exp` in seconds.
pub fn check_times(claims: &Value, now: Timestamp) -> Result<u64, TokenError> {
    let now = now.0 / 1000;
    let exp = claims.get("exp").and_then(Value::as_u64).ok_or(TokenError::Claim("exp"))?;
    if exp.saturating_add(LEEWAY) < now {
        return Err(TokenError::Expired);
    }
    for name in ["nbf", "iat"] {
        if let Some(value) = claims.get(name)
            && value.as_u64().ok_or(TokenError::Claim("nbf"))? > now.saturating_add(LEEWAY)
        {
            return Err(TokenError::NotYet);
        }
    }
    Ok(exp)
}

/// Checks `aud` (a string or an array of strings, RFC 7519 §4.1.3).
pub fn check_audience(claims: &Value, audience: &str) -> Result<(), TokenError> {
    let ok = match claims.get("aud").ok_or(TokenError::Claim("aud"))? {
        Value::String(one) => one == audience,
        Value::Array(many) => many.iter().any(|a| a.as_str() == Some(audience)),
        _ => return Err(TokenError::Claim("aud")),
    };
    if ok { Ok(()) } else { Err(TokenError::Audience) }
}

/// Who is calling, as the token says.
#[derive(Debug, Clone)]
pub struct Principal {
    pub subject: String,
    pub scopes: Vec<Scope>,
    /// `Patient` id of a token for a patient.
    pub patient: Option<String>,
    /// Reference such as `Practitioner/17`.
    pub fhir_user: Option<String>,
    pub roles: Vec<String>,
}

/// What a principal may see of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Only this patient's compartment.
    pub patient: Option<String>,
}

impl Principal {
    /// Whether and how far the scopes allow an interaction on a type; 403 otherwise.
    ///
    /// A missing claim denies: a `patient/` scope needs `patient`, a `user/` scope needs `fhirUser`.
    pub fn may(&self, interaction: Interaction, resource_type: &str) -> Result<Access, ApiError> {
        let covering: Vec<&Scope> =
            self.scopes.iter().filter(|s| s.covers(interaction, resource_type)).collect();
        let whole = covering.iter().any(|s| match s.context {
            Context::System => true,
            Context::User => self.fhir_user.is_some(),
            Context::Patient => false,
        });
        if whole {
            return Ok(Access { patient: None });
        }
        let narrow = covering.iter().any(|s| s.context == Context::Patient);
        // A patient's own writes would need a rule for what a patient may write; there is none.
        let reading = matches!(interaction, Interaction::Read | Interaction::Search);
        match &self.patient {
            Some(id) if narrow && reading => Ok(Access { patient: Some(id.clone()) }),
            _ => Err(ApiError::forbidden(self.lacks(&covering, interaction, resource_type))
                .header("WWW-Authenticate", "Bearer realm=\"fhir\", error=\"insufficient_scope\"")),
        }
    }

    /// What would have to be different for the interaction to be allowed.
    fn lacks(&self, covering: &[&Scope], interaction: Interaction, resource_type: &str) -> String {
        let has = |context| covering.iter().any(|s| s.context == context);
        if has(Context::User) {
            return "the token has a fitting `user/` scope but no claim `fhirUser`: it must name the person"
                .to_owned();
        }
        if has(Context::Patient) {
            return match self.patient {
                None => "the token has a fitting `patient/` scope but no claim `patient`: it must name the patient",
                Some(_) => "a `patient/` scope allows to read here, not to write",
            }
            .to_owned();
        }
        let letter = match interaction {
            Interaction::Create => "c",
            Interaction::Read => "r",
            Interaction::Update => "u",
            Interaction::Delete => "d",
            Interaction::Search => "s",
        };
        format!(
            "the token's scopes do not allow this on `{resource_type}`: ask for e.g. `user/{resource_type}.{letter}`"
        )
    }
}

/// Verifies access tokens of one issuer for one audience.
pub struct Verifier {
    pub keys: Keys,
    pub issuer: String,
    pub audience: String,
}

impl Verifier {
    /// The principal of an `Authorization` header.
    pub fn verify(&self, authorization: Option<&str>, now: Timestamp) -> Result<Principal, TokenError> {
        let header = authorization.ok_or(TokenError::Missing)?;
        let (scheme, token) = header.split_once(' ').ok_or(TokenError::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::Missing);
        }
        let token = token.trim();
        let claims = self.keys.claims(token)?;
        check_times(&claims, now)?;
        if text(&claims, "iss").ok_or(TokenError::Claim("iss"))? != self.issuer {
            return Err(TokenError::Issuer);
        }
        check_audience(&claims, &self.audience)?;
        let subject = text(&claims, "sub").ok_or(TokenError::Claim("sub"))?.to_owned();
        let scope = text(&claims, "scope").ok_or(TokenError::Claim("scope"))?;
        let optional = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s.clone())),
            // Two patients in one token: whose would it be?
            Some(_) => Err(TokenError::Claim(name)),
        };
        let roles = match claims.get("roles") {
            None => Vec::new(),
            Some(Value::Array(all)) => all
                .iter()
                .map(|r| r.as_str().map(str::to_owned).ok_or(TokenError::Claim("roles")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(TokenError::Claim("roles")),
        };
        Ok(Principal {
            subject,
            scopes: parse_all(scope),
            patient: optional("patient")?,
            fhir_user: optional("fhirUser")?,
            roles,
        })
    }
}
