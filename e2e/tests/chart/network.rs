//! Network policies: everything denied, then exactly the flows that the services need.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{RENDERED, Rendered, items, ready, rendered, text};

/// Who may open a connection to whom: `ingest -> nats:4222`; a peer that is no pod of ours is shown as JSON.
fn flows(render: &Rendered, direction: &str) -> BTreeSet<String> {
    let (list, peers) = if direction == "egress" { ("egress", "to") } else { ("ingress", "from") };
    let mut flows = BTreeSet::new();
    for policy in render.all("NetworkPolicy") {
        let component = &policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
        for rule in items(&policy["spec"][list]) {
            assert!(!items(&rule[peers]).is_empty(), "{}: a rule for everyone: {rule}", render.place(policy));
            assert!(!items(&rule["ports"]).is_empty(), "{}: a rule for every port", render.place(policy));
            for (peer, port) in
                items(&rule[peers]).iter().flat_map(|p| items(&rule["ports"]).iter().map(move |q| (p, q)))
            {
                for name in names(peer) {
                    let (from, to) = if list == "egress" {
                        (text(component), name.as_str())
                    } else {
                        (name.as_str(), text(component))
                    };
                    let protocol = if port["protocol"] == "UDP" { "/udp" } else { "" };
                    flows.insert(format!("{from} -> {to}:{}{protocol}", port["port"]));
                }
            }
        }
    }
    flows
}

/// Our components that a peer selects, or the peer itself.
fn names(peer: &Value) -> Vec<String> {
    let labels = &peer["podSelector"]["matchLabels"];
    if let Some(one) = labels["app.kubernetes.io/component"].as_str() {
        return vec![one.to_owned()];
    }
    let expressions = items(&peer["podSelector"]["matchExpressions"]);
    if !expressions.is_empty() {
        return expressions.iter().flat_map(|e| items(&e["values"])).map(|v| text(v).to_owned()).collect();
    }
    vec![peer.to_string()]
}

const SERVICES: [&str; 5] = ["ingest", "validate", "consensus", "keys", "audit"];

#[test]
fn everything_is_denied_first() {
    if !ready() {
        return;
    }
    for render in RENDERED.iter().filter(|render| render.values != "external-nats.yaml") {
        let deny = render.find("NetworkPolicy", "-deny").unwrap();
        assert_eq!(deny["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(deny["spec"]["ingress"].is_null() && deny["spec"]["egress"].is_null());
        let selector = deny["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
        for workload in render.workloads() {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            assert!(selector.iter().all(|(key, value)| labels[key] == *value), "{}", render.place(workload));
        }
    }
    let without = rendered("external-nats.yaml");
    assert_eq!(without.all("NetworkPolicy").count(), 0, "networkPolicy.enabled: false");
}

#[test]
fn flows_are_exactly_those_needed() {
    if !ready() {
        return;
    }
    let render = rendered("riverside.yaml");
    let dns = r#"{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"kube-system"}}}"#;
    let monitoring = r#"{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}"#;
    let hubs = r#"{"ipBlock":{"cidr":"192.0.2.0/24"}}"#;
    let mut egress = BTreeSet::new();
    for service in SERVICES.iter().chain(&["nats"]) {
        egress.insert(format!("{service} -> {dns}:53"));
        egress.insert(format!("{service} -> {dns}:53/udp"));
    }
    for service in SERVICES {
        egress.insert(format!("{service} -> nats:4222"));
        egress.insert(format!("{service} -> {monitoring}:4317"));
    }
    for service in ["ingest", "audit"] {
        egress.insert(format!("{service} -> {}:5432", r#"{"ipBlock":{"cidr":"10.20.0.0/28"}}"#));
    }
    egress.insert(format!("keys -> {}:8200", r#"{"ipBlock":{"cidr":"10.20.1.0/28"}}"#));
    egress.insert(format!("nats -> {hubs}:7422"));
    assert_eq!(flows(render, "egress"), egress);

    let mut ingress: BTreeSet<String> = SERVICES.iter().map(|s| format!("{s} -> nats:4222")).collect();
    ingress.extend(SERVICES.iter().map(|s| format!("{monitoring} -> {s}:9090")));
    let clients = r#"{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"ingress"}}}"#;
    ingress.extend(["ingest", "audit"].map(|s| format!("{clients} -> {s}:8080")));
    assert_eq!(flows(render, "ingress"), ingress);
}

#[test]
fn a_flow_between_our_pods_is_open_at_both_ends() {
    if !ready() {
        return;
    }
    for render in RENDERED.iter() {
        let ours = |flow: &&String| !flow.contains('{');
        let (out, into) = (flows(render, "egress"), flows(render, "ingress"));
        let out: BTreeSet<_> = out.iter().filter(ours).collect();
        let into: BTreeSet<_> = into.iter().filter(ours).collect();
        assert_eq!(out, into, "{}", render.values);
    }
    let hub = flows(rendered("hub.yaml"), "ingress");
    assert!(hub.contains("nats -> nats:6222"), "{hub:?}");
    assert!(hub.iter().any(|flow| flow.ends_with("-> nats:7422")), "{hub:?}");
}
