//! What is implemented, in one table, and the documents made from it: CapabilityStatement
//! (hl7.org/fhir/R4/capabilitystatement.html) and SMART configuration.

use crate::app::App;
use crate::content::SUBJECTS;
use crate::issuer::DEMO_GRANT;
use serde_json::{Value, json};

/// Types that are not kept here: audit events go to the audit service, the others are messages, not records.
const NOT_KEPT: [&str; 4] = ["AuditEvent", "OperationOutcome", "Parameters", "Bundle"];
const INTERACTIONS: [&str; 7] =
    ["create", "read", "vread", "update", "delete", "history-instance", "search-type"];
/// Search parameters of every type: name, type.
const COMMON: [(&str, &str); 2] = [("_id", "token"), ("_lastUpdated", "date")];

/// Whether resources of this type are kept.
pub fn serves(app: &App, resource_type: &str) -> bool {
    !NOT_KEPT.contains(&resource_type) && app.schema.resource_type(resource_type).is_some()
}

/// The filters that a type's search knows: name and type.
pub fn filters(app: &App, resource_type: &str) -> Vec<(&'static str, &'static str)> {
    let mut out = COMMON.to_vec();
    let Some(id) = app.schema.resource_type(resource_type) else { return out };
    let has = |key: &str| app.schema.member(id, key).is_some();
    if has("identifier") {
        out.push(("identifier", "token"));
    }
    if resource_type != "Patient" {
        if SUBJECTS.iter().any(|s| has(s)) || resource_type == "Provenance" {
            out.push(("patient", "reference"));
        }
        if has("subject") {
            out.push(("subject", "reference"));
        }
    }
    out
}

/// The CapabilityStatement as JSON.
pub fn capability(app: &App) -> Vec<u8> {
    let resources: Vec<Value> = app
        .schema
        .resource_types()
        .filter(|t| serves(app, t))
        .map(|t| {
            json!({
                "type": t,
                "interaction": INTERACTIONS.iter().map(|i| json!({ "code": i })).collect::<Vec<_>>(),
                "versioning": "versioned-update",
                "readHistory": true,
                "updateCreate": true,
                "conditionalCreate": true,
                "conditionalRead": "not-match",
                "referencePolicy": ["literal", "local"],
                "searchParam": filters(app, t)
                    .iter()
                    .map(|(name, kind)| json!({ "name": name, "type": kind }))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut security = json!({
        "service": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR"
        }] }]
    });
    // The extension's definition wants both addresses; who has no `authorize` finds the other one in
    // `.well-known/smart-configuration`.
    let addresses = app.token_endpoint.as_ref().zip(app.authorize_endpoint.as_ref());
    if let (Some((token, authorize)), Some(object)) = (addresses, security.as_object_mut()) {
        object.insert(
            "extension".to_owned(),
            json!([{
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    { "url": "authorize", "valueUri": authorize },
                    { "url": "token", "valueUri": token }
                ]
            }]),
        );
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": app.now().to_date(),
        "kind": "instance",
        "software": { "name": "Consilium ingest", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": format!("FHIR endpoint of {}", app.organisation), "url": app.base_url },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "security": security,
            "resource": resources,
            "interaction": [{ "code": "transaction" }, { "code": "batch" }],
            "operation": [{
                "name": "validate",
                "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate"
            }]
        }]
    })
    .to_string()
    .into_bytes()
}

/// `.well-known/smart-configuration` (hl7.org/fhir/smart-app-launch/conformance.html).
pub fn smart(app: &App) -> Vec<u8> {
    let mut out = json!({
        "issuer": app.verifier.issuer,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.cruds", "user/*.cruds", "patient/*.rs"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2", "permission-patient", "permission-user"]
    });
    if let Some(object) = out.as_object_mut() {
        if let Some(authorize) = &app.authorize_endpoint {
            object.insert("authorization_endpoint".to_owned(), json!(authorize));
        }
        if let Some(token) = &app.token_endpoint {
            object.insert("token_endpoint".to_owned(), json!(token));
        }
        if app.issuer.is_some() {
            object.insert("jwks_uri".to_owned(), json!(format!("{}/jwks.json", app.verifier.issuer)));
            object.insert("grant_types_supported".to_owned(), json!(["client_credentials", DEMO_GRANT]));
        }
    }
    out.to_string().into_bytes()
}
