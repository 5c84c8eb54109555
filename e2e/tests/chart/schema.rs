//! Every constraint of `values.schema.json` refuses, and says what and where.

use crate::helm::{HELMS, chart, ready, run, tool};

/// Values (JSON for `--set-json`), and what the message must hold: the place, then for helm 4 and helm 3 the
/// reason.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "nonsense=1",
        "",
        "additional properties 'nonsense' not allowed",
        "Additional property nonsense is not allowed",
    ),
    ("ingest.replica=2", "ingest", "'replica' not allowed", "Additional property replica is not allowed"),
    (
        "consensus.replicas=2",
        "consensus",
        "'replicas' not allowed",
        "Additional property replicas is not allowed",
    ),
    (
        "consensus.keepBlocks=9999",
        "consensus/keepBlocks",
        "minimum: got 9,999, want 10,000",
        "greater than or equal to 10000",
    ),
    ("keys.seal.method=\"hsm\"", "keys/seal/method", "'key-file'", "\"key-file\""),
    (
        "keys.seal.method=\"vault-transit\"",
        "keys/seal/transit/address",
        "minLength",
        "greater than or equal to 1",
    ),
    (
        "keys.seal.transit.address=\"http://v:1\"",
        "keys/seal/transit/address",
        "does not match pattern",
        "Does not match pattern",
    ),
    ("keys.replicas=2", "keys", "'replicas' not allowed", "Additional property replicas is not allowed"),
    ("audit.replicas=2", "audit", "'replicas' not allowed", "Additional property replicas is not allowed"),
    (
        "validate.replicas=\"two\"",
        "validate/replicas",
        "got string, want integer",
        "Expected: integer, given: string",
    ),
    ("validate.replicas=0", "validate/replicas", "minimum: got 0, want 1", "greater than or equal to 1"),
    ("ingest.replicas=2", "ingest/replicas", "maximum: got 2, want 1", "less than or equal to 1"),
    (
        "ingest.autoscaling.enabled=true",
        "ingest/autoscaling/enabled",
        "must be false",
        "does not match: false",
    ),
    (
        "ingest.database.type=\"mysql\"",
        "ingest/database/type",
        "'sqlite', 'postgresql'",
        "\"sqlite\", \"postgresql\"",
    ),
    ("ingest.ingress.enabled=true", "ingest/ingress/host", "minLength", "greater than or equal to 1"),
    (
        "ingest.acknowledge=\"maybe\"",
        "ingest/acknowledge",
        "'committed', 'stored'",
        "\"committed\", \"stored\"",
    ),
    (
        "ingest.persistence.size=\"20\"",
        "ingest/persistence/size",
        "does not match pattern",
        "Does not match pattern",
    ),
    (
        "ingest.extraEnv=[{\"name\": \"1X\"}]",
        "ingest/extraEnv/0/name",
        "does not match pattern",
        "Does not match pattern",
    ),
    (
        "packages.extra=[\"us-core.tgz\"]",
        "packages/extra/0",
        "does not match pattern",
        "Does not match pattern",
    ),
    ("validate.digest=\"latest\"", "validate/digest", "does not match pattern", "Does not match pattern"),
    ("organisation=\"Not A Label\"", "organisation", "does not match pattern", "Does not match pattern"),
    ("channel=\"\"", "channel", "minLength", "greater than or equal to 1"),
    ("profile=\"dev\"", "profile", "'production', 'demo'", "\"production\", \"demo\""),
    ("image.pullPolicy=\"Sometimes\"", "image/pullPolicy", "'Always'", "\"Always\""),
    (
        "telemetry.otlpEndpoint=\"collector:4317\"",
        "telemetry/otlpEndpoint",
        "does not match pattern",
        "Does not match pattern",
    ),
    ("networkPolicy.dns=[]", "networkPolicy/dns", "minItems", "at least 1 items"),
    ("networkPolicy.hubs=[]", "networkPolicy/hubs", "minItems", "at least 1 items"),
    ("networkPolicy.clients=[{}]", "networkPolicy/clients/0", "minProperties", "at least 1 properties"),
    ("networkPolicy.otlpPort=70000", "networkPolicy/otlpPort", "maximum", "less than or equal to 65535"),
    ("nats.enabled=false", "nats/url", "minLength", "greater than or equal to 1"),
    ("nats.replicas=2", "nats/replicas", "one of 1, 3, 5", "one of the following: 1, 3, 5"),
    ("nats.hub.enabled=true", "nats/hub/members", "minItems", "at least 2 items"),
    (
        "nats.leaf.remotes=[{\"url\": \"tls://a:7422\", \"existingSecret\": \"s\"}]",
        "nats/leaf/remotes/0",
        "missing property 'hub'",
        "hub is required",
    ),
    (
        "nats.leaf.remotes=[{\"hub\": \"a\", \"url\": \"tls://a:7422\"}]",
        "nats/leaf/remotes/0",
        "missing property 'existingSecret'",
        "existingSecret is required",
    ),
    (
        "nats.leaf.remotes=[{\"hub\": \"a\", \"url\": \"tls://me:hush@a\", \"existingSecret\": \"s\"}]",
        "nats/leaf/remotes/0/url",
        "does not match pattern",
        "Does not match pattern",
    ),
];

#[test]
fn each_constraint_refuses_and_says_where() {
    if !ready() {
        return;
    }
    let mut complaints = Vec::new();
    for (values, place, four, three) in REFUSED {
        for helm in HELMS {
            let mut command = tool(&format!("bin/{helm}"));
            command.args(["template", "x"]).arg(chart()).args(["--set-json", values]);
            let (ok, _, error) = run(&mut command);
            let (place, reason) = match helm {
                "helm" => (format!("at '{}{place}'", if place.is_empty() { "" } else { "/" }), four),
                _ => (place.replace('/', "."), three),
            };
            if ok || !error.contains(&place) || !error.contains(reason) {
                complaints.push(format!("{helm} {values}: want `{place}` and `{reason}`, got: {error}"));
            }
        }
    }
    crate::helm::assert_none(&complaints);
}
