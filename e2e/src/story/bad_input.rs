//! What no server should swallow. Each gets a clear 4xx, changes nothing, and the next request is answered.

use super::World;
use super::refusal::{stock, unchanged};
use crate::clock::epoch_seconds;
use crate::cluster::CLIENT;
use crate::http::{Answer, FHIR_JSON};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The log of what was refused and how.
#[derive(Default)]
struct Refused(Vec<String>);

impl Refused {
    /// A FHIR answer: one of the wanted statuses, with an OperationOutcome that says something.
    fn fhir(&mut self, world: &World, what: &str, answer: &Answer, wanted: &[u16]) -> Result<()> {
        if !wanted.contains(&answer.status) {
            bail!("{what}: wanted one of {wanted:?}, got {}: {}", answer.status, answer.head());
        }
        let issues = answer.issues().with_context(|| what.to_owned())?;
        let first = issues.first().map(|i| i.text.trim().to_owned()).unwrap_or_default();
        if first.is_empty() {
            bail!("{what}: the OperationOutcome says nothing");
        }
        self.0.push(format!("{} {what}: {}", answer.status, first.chars().take(110).collect::<String>()));
        alive(world, what)
    }

    /// An OAuth answer (RFC 6749 §5.2).
    fn oauth(&mut self, world: &World, what: &str, answer: &Answer, wanted: &str) -> Result<()> {
        let error = answer.json()?.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !(400..500).contains(&answer.status) || error != wanted {
            bail!("{what}: wanted {wanted}, got {}: {}", answer.status, answer.head());
        }
        self.0.push(format!("{} {what}: {error}", answer.status));
        alive(world, what)
    }
}

fn alive(world: &World, after: &str) -> Result<()> {
    let url = format!("{}/Patient?_summary=count", world.a()?.fhir());
    world.http.get(&url, Some(&world.ehr), &[])?.expect(200, &format!("a search after {after}")).map(|_| ())
}

pub fn all(world: &mut World) -> Result<String> {
    let before = stock(world)?;
    let mut refused = Refused::default();
    bodies(world, &mut refused)?;
    references(world, &mut refused)?;
    huge(world, &mut refused)?;
    tokens(world, &mut refused)?;
    assertions(world, &mut refused)?;
    unchanged(world, &before)?;
    Ok(refused.0.join("\n"))
}

fn bodies(world: &World, refused: &mut Refused) -> Result<()> {
    let base = world.a()?.fhir();
    let post = |path: &str, body: &[u8]| {
        world.http.post(&format!("{base}{path}"), Some(&world.ehr), FHIR_JSON, body)
    };
    let whole = br#"{"resourceType":"Patient","active":true}"#;
    refused.fhir(world, "truncated JSON", &post("/Patient", whole.get(..25).unwrap_or_default())?, &[400])?;
    let deep =
        format!("{{\"resourceType\":\"Patient\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused.fhir(world, "100,000 levels of nesting", &post("/Patient", deep.as_bytes())?, &[400])?;
    let twice = br#"{"resourceType":"Patient","active":true,"active":false}"#;
    refused.fhir(world, "a duplicate key", &post("/Patient", twice)?, &[400, 422])?;
    refused.fhir(
        world,
        "invalid UTF-8",
        &post("/Patient", b"{\"resourceType\":\"Patient\",\"id\":\"\xff\xfe\"}")?,
        &[400],
    )?;
    refused.fhir(
        world,
        "an unknown resource type",
        &post("/Kangaroo", br#"{"resourceType":"Kangaroo"}"#)?,
        &[400, 404, 422],
    )?;
    refused.fhir(
        world,
        "another type than the URL's",
        &post("/Patient", br#"{"resourceType":"Observation"}"#)?,
        &[400, 422],
    )?;
    refused.fhir(world, "no JSON at all", &post("/Patient", b"hello")?, &[400])?;
    refused.fhir(world, "an empty body", &post("/Patient", b"")?, &[400])?;
    let xml = world.http.post(
        &format!("{base}/Patient"),
        Some(&world.ehr),
        "application/fhir+xml",
        b"<Patient/>",
    )?;
    refused.fhir(world, "XML", &xml, &[415])
}

fn references(world: &World, refused: &mut Refused) -> Result<()> {
    let base = world.a()?.fhir();
    let bundle = |subject: &str| {
        let observation = json!({
            "resourceType": "Observation", "status": "final", "code": { "text": "x" }, "subject": { "reference": subject }
        });
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [{
            "fullUrl": "urn:uuid:5ffa1ea9-0000-4000-8000-000000000009", "resource": observation,
            "request": { "method": "POST", "url": "Observation" }
        }] })
    };
    let post = |subject: &str| {
        world.http.post(&base, Some(&world.ehr), FHIR_JSON, bundle(subject).to_string().as_bytes())
    };
    refused.fhir(
        world,
        "a reference into an empty bundle",
        &post("urn:uuid:5ffa1ea9-0000-4000-8000-00000000dead")?,
        &[400, 422],
    )?;
    refused.fhir(
        world,
        "a reference to a type that may not stand there",
        &post("Medication/1")?,
        &[400, 422],
    )?;
    refused.fhir(
        world,
        "a conditional reference without a match",
        &post("Patient?identifier=urn:x|nobody")?,
        &[400, 404, 412, 422],
    )
}

/// 200 MB: claimed at once, and streamed without a claim.
fn huge(world: &World, refused: &mut Refused) -> Result<()> {
    const SIZE: usize = 200 << 20;
    let a = world.a()?;
    let head = |framing: &str| {
        format!(
            "POST /fhir/Patient HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: {FHIR_JSON}\r\n{framing}\r\n\r\n",
            a.port(),
            world.ehr
        )
    };
    let claimed = raw(a.port(), head(&format!("Content-Length: {SIZE}")).as_bytes(), false, SIZE)?;
    refused.fhir(world, "a body of 200 MB", &claimed, &[413])?;
    let streamed = raw(a.port(), head("Transfer-Encoding: chunked").as_bytes(), true, SIZE)?;
    refused.fhir(world, "200 MB in chunks", &streamed, &[413])
}

/// Sends a request on a bare connection and reads the answer while sending, as the server may answer early.
fn raw(port: u16, head: &[u8], chunked: bool, size: usize) -> Result<Answer> {
    let mut out = TcpStream::connect(("127.0.0.1", port))?;
    let mut back = out.try_clone()?;
    back.set_read_timeout(Some(Duration::from_secs(60)))?;
    let reader = std::thread::spawn(move || {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = back.read(&mut buffer) {
            bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
            if answer_of(&bytes).is_some() {
                break;
            }
        }
        bytes
    });
    let block = vec![b' '; 1 << 20];
    // Sending fails as soon as the server hangs up, which is its right.
    let _ = (|| -> std::io::Result<()> {
        out.write_all(head)?;
        for _ in 0..size / block.len() {
            if chunked {
                out.write_all(b"100000\r\n")?;
            }
            out.write_all(&block)?;
            if chunked {
                out.write_all(b"\r\n")?;
            }
            if reader.is_finished() {
                break;
            }
        }
        Ok(())
    })();
    let bytes = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    answer_of(&bytes).context("a huge body: the server hung up without an answer")
}

/// A whole HTTP answer with Content-Length.
fn answer_of(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let length: usize = head.lines().find_map(|l| l.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Answer { status, body, location: None, etag: None })
}

fn sign(key: &EncodingKey, kid: &str, claims: &Value) -> Result<String> {
    let mut header = Header::new(Algorithm::ES384);
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).context("sign a token")
}

fn tokens(world: &World, refused: &mut Refused) -> Result<()> {
    let (a, cluster) = (world.a()?, &world.cluster);
    let read = |token: &str| world.http.get(&format!("{}/Patient", a.fhir()), Some(token), &[]);
    let key = cluster.issuer_key("hospital-a")?;
    let now = epoch_seconds();
    let claims = |exp: u64| json!({ "iss": format!("{}/auth", a.root()), "aud": a.fhir(), "sub": "x", "scope": "system/*.rs", "iat": exp - 3600, "exp": exp });
    // The same claims with a good time pass: it is the time that refuses the others.
    read(&sign(&key, "development", &claims(now + 600))?)?.expect(200, "a good token made here")?;
    refused.fhir(
        world,
        "an expired token",
        &read(&sign(&key, "development", &claims(now - 60))?)?,
        &[401],
    )?;
    refused.fhir(
        world,
        "a token of hospital B",
        &read(&cluster.token("hospital-b", "system/*.cruds", &[])?)?,
        &[401],
    )?;
    let mut foreign = claims(now + 600);
    if let Some(object) = foreign.as_object_mut() {
        object.insert("aud".to_owned(), json!(world.b()?.fhir()));
    }
    refused.fhir(world, "another audience", &read(&sign(&key, "development", &foreign)?)?, &[401])?;
    let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let none = format!(
        "{}.{}.",
        part(&json!({ "alg": "none", "typ": "JWT", "kid": "development" })),
        part(&claims(now + 600))
    );
    refused.fhir(world, "`alg` none", &read(&none)?, &[401])?;
    let good = sign(&key, "development", &claims(now + 600))?;
    let forged = format!("{}x", good.get(..good.len() - 1).unwrap_or_default());
    let forged =
        if forged == good { format!("{}y", good.get(..good.len() - 1).unwrap_or_default()) } else { forged };
    refused.fhir(world, "a damaged signature", &read(&forged)?, &[401])?;
    let other = sign(&cluster.issuer_key("hospital-b")?, "development", &claims(now + 600))?;
    refused.fhir(world, "a token signed with another key", &read(&other)?, &[401])?;
    let reader = cluster.token("hospital-a", "system/Observation.rs", &[])?;
    refused.fhir(world, "a scope for another type", &read(&reader)?, &[403])?;
    let only_read = cluster.token("hospital-a", "system/Patient.rs", &[])?;
    let create = world.http.post(
        &format!("{}/Patient", a.fhir()),
        Some(&only_read),
        FHIR_JSON,
        br#"{"resourceType":"Patient","active":true}"#,
    )?;
    refused.fhir(world, "a create with a scope to read", &create, &[403])
}

fn assertions(world: &World, refused: &mut Refused) -> Result<()> {
    let a = world.a()?;
    let endpoint = format!("{}/auth/token", a.root());
    let key = world.cluster.client_key()?;
    let now = epoch_seconds();
    let assertion = |jti: &str, exp: u64, aud: &str| {
        sign(
            &key,
            CLIENT,
            &json!({ "iss": CLIENT, "sub": CLIENT, "aud": aud, "jti": jti, "iat": now, "exp": exp }),
        )
    };
    let ask = |assertion: &str, scope: &str| {
        let form = format!(
            "grant_type=client_credentials&scope={}&client_assertion_type={}&client_assertion={assertion}",
            crate::http::encode(scope),
            crate::http::encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        world.http.post(&endpoint, None, "application/x-www-form-urlencoded", form.as_bytes())
    };
    let first = assertion("one", now + 240, &endpoint)?;
    let token = ask(&first, "system/*.rs")?.expect(200, "a client's assertion")?.json()?;
    let token = token.get("access_token").and_then(Value::as_str).context("no access_token")?.to_owned();
    world
        .http
        .get(&format!("{}/Patient?_summary=count", a.fhir()), Some(&token), &[])?
        .expect(200, "its token")?;
    refused.oauth(world, "a replayed assertion", &ask(&first, "system/*.rs")?, "invalid_client")?;
    refused.oauth(
        world,
        "an expired assertion",
        &ask(&assertion("two", now - 60, &endpoint)?, "system/*.rs")?,
        "invalid_client",
    )?;
    let elsewhere = assertion("three", now + 240, "http://elsewhere.example/token")?;
    refused.oauth(
        world,
        "an assertion for another server",
        &ask(&elsewhere, "system/*.rs")?,
        "invalid_client",
    )?;
    refused.oauth(
        world,
        "more scope than registered",
        &ask(&assertion("four", now + 240, &endpoint)?, "system/*.cruds")?,
        "invalid_scope",
    )?;
    refused.oauth(
        world,
        "an assertion that lives an hour",
        &ask(&assertion("five", now + 3600, &endpoint)?, "system/*.rs")?,
        "invalid_client",
    )
}
