//! What is asked of every pod: restricted, probed, placed, and given exactly what its configuration names.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use crate::helm::{RENDERED, Rendered, assert_none, items, ready, rendered, text};

/// Runs a rule over every workload of every render.
fn each_workload(rule: impl Fn(&Rendered, &Value) -> Vec<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for render in RENDERED.iter() {
        assert!(render.workloads().count() >= 5, "{} renders too few workloads", render.values);
        for workload in render.workloads() {
            let place = render.place(workload);
            complaints.extend(rule(render, workload).into_iter().map(|said| format!("{place}: {said}")));
        }
    }
    complaints
}

fn spec(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// Pod Security Standards, level restricted, and what goes beyond it here: fixed user, read-only root, no
/// token, no service links. <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
fn restricted(workload: &Value) -> Vec<String> {
    let pod = spec(workload);
    let mut wanted = vec![
        (&pod["automountServiceAccountToken"], json!(false), "automountServiceAccountToken"),
        (&pod["enableServiceLinks"], json!(false), "enableServiceLinks"),
        (&pod["securityContext"]["runAsNonRoot"], json!(true), "runAsNonRoot"),
        (&pod["securityContext"]["runAsUser"], json!(65532), "runAsUser"),
        (&pod["securityContext"]["seccompProfile"]["type"], json!("RuntimeDefault"), "seccompProfile"),
        (&pod["hostNetwork"], Value::Null, "hostNetwork"),
        (&pod["hostPID"], Value::Null, "hostPID"),
        (&pod["hostIPC"], Value::Null, "hostIPC"),
    ];
    for container in items(&pod["containers"]).iter().chain(items(&pod["initContainers"])) {
        let security = &container["securityContext"];
        wanted.extend([
            (&security["allowPrivilegeEscalation"], json!(false), "allowPrivilegeEscalation"),
            (&security["readOnlyRootFilesystem"], json!(true), "readOnlyRootFilesystem"),
            (&security["capabilities"], json!({"drop": ["ALL"]}), "capabilities"),
            (&security["privileged"], Value::Null, "privileged"),
        ]);
    }
    let mut complaints: Vec<String> = wanted
        .into_iter()
        .filter(|(found, wanted, _)| *found != wanted)
        .map(|(found, wanted, name)| format!("`{name}` is {found}, not {wanted}"))
        .collect();
    for volume in items(&pod["volumes"]) {
        let kinds = ["configMap", "secret", "emptyDir", "persistentVolumeClaim"];
        if !kinds.iter().any(|kind| !volume[kind].is_null()) {
            complaints.push(format!("volume {volume} is of a kind that restricted pods may not have"));
        }
    }
    complaints
}

/// Three probes on ports that exist, a pause before the end, a grace period that holds it, and resources.
fn operable(workload: &Value) -> Vec<String> {
    let pod = spec(workload);
    let mut complaints = Vec::new();
    for container in items(&pod["containers"]) {
        let ports: BTreeSet<_> = items(&container["ports"]).iter().map(|port| text(&port["name"])).collect();
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = text(&container[probe]["httpGet"]["port"]);
            if !ports.contains(port) {
                complaints.push(format!("{probe} asks port `{port}`, which the container does not have"));
            }
        }
        if container["livenessProbe"]["httpGet"]["path"] == container["readinessProbe"]["httpGet"]["path"] {
            complaints.push("liveness and readiness ask the same: a busy pod would be killed".to_owned());
        }
        if container["lifecycle"]["preStop"].is_null() {
            complaints.push("no preStop: requests arrive after the end".to_owned());
        }
        for amount in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            if container["resources"].pointer(amount).is_none() {
                complaints.push(format!("no resources{amount}"));
            }
        }
    }
    // The runtime's grace (20 s) to finish, as long to drain, and the pause of 5 s before.
    if pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(0) < 45 {
        complaints.push("terminationGracePeriodSeconds is below 45".to_owned());
    }
    if text(&workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]).len() != 64 {
        complaints.push("no checksum of the configuration: a change would not roll the pods".to_owned());
    }
    complaints
}

/// Each mount has its volume and each volume its mount.
fn mounted(workload: &Value) -> Vec<String> {
    let pod = spec(workload);
    let mut volumes: BTreeSet<_> =
        items(&pod["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
    volumes.extend(
        items(&workload["spec"]["volumeClaimTemplates"]).iter().map(|claim| text(&claim["metadata"]["name"])),
    );
    let mounts: BTreeSet<_> = items(&pod["containers"])
        .iter()
        .flat_map(|container| items(&container["volumeMounts"]))
        .map(|mount| text(&mount["name"]))
        .collect();
    volumes
        .symmetric_difference(&mounts)
        .map(|name| format!("`{name}` is not both volume and mount"))
        .collect()
}

/// Every absolute path in the pod's configuration lies where something is mounted (or in /opt, which is the
/// image's), and files of secrets and ConfigMaps are the mounted key.
fn provided(render: &Rendered, workload: &Value) -> Vec<String> {
    let component = text(&workload["metadata"]["labels"]["app.kubernetes.io/component"]);
    let Some(map) = render.find("ConfigMap", &format!("-{component}")) else {
        return vec!["no ConfigMap".to_owned()];
    };
    let pod = spec(workload);
    let mut files = BTreeSet::new();
    let mut folders = Vec::new();
    for container in items(&pod["containers"]) {
        for mount in items(&container["volumeMounts"]) {
            let path = text(&mount["mountPath"]);
            let volume = items(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let chosen = volume.map_or(&[][..], |volume| {
                let source =
                    if volume["secret"].is_null() { &volume["configMap"] } else { &volume["secret"] };
                items(&source["items"])
            });
            if chosen.is_empty() {
                folders.push(format!("{path}/"));
            }
            files.extend(chosen.iter().map(|item| format!("{path}/{}", text(&item["path"]))));
        }
    }
    let config = map["data"].as_object().unwrap().values().map(text).collect::<String>();
    let path = Regex::new(r#""(?:sqlite://|file:)?(/[a-z][^"?]*)"#).unwrap();
    let mut complaints = Vec::new();
    for found in path.captures_iter(&config) {
        let file = &found[1];
        let inside = folders.iter().any(|folder| format!("{file}/").starts_with(folder));
        if !inside && !files.contains(file) && !file.starts_with("/opt/") {
            complaints.push(format!("the configuration reads `{file}`, which nothing mounts"));
        }
    }
    complaints
}

/// One disruption budget, one selector that finds the pods, labels that keep them apart.
fn selected(render: &Rendered, workload: &Value) -> Vec<String> {
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    let fits = |selector: &Value| {
        let wanted = selector.as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let mut complaints = Vec::new();
    if !fits(&workload["spec"]["selector"]["matchLabels"]) {
        complaints.push("its selector does not find its pods".to_owned());
    }
    let budgets: Vec<_> = render
        .all("PodDisruptionBudget")
        .filter(|budget| fits(&budget["spec"]["selector"]["matchLabels"]))
        .collect();
    if budgets.len() != 1 || budgets[0]["spec"]["maxUnavailable"] != 1 {
        complaints.push(format!("{} disruption budgets with maxUnavailable 1, not one", budgets.len()));
    }
    complaints
}

#[test]
fn pods_are_restricted() {
    if ready() {
        assert_none(&each_workload(|_, workload| restricted(workload)));
    }
}

#[test]
fn pods_are_operable() {
    if ready() {
        assert_none(&each_workload(|_, workload| operable(workload)));
    }
}

#[test]
fn pods_get_the_files_that_they_read() {
    if ready() {
        assert_none(&each_workload(|_, workload| mounted(workload)));
        assert_none(&each_workload(provided));
    }
}

#[test]
fn pods_are_selected_by_what_should() {
    if !ready() {
        return;
    }
    assert_none(&each_workload(selected));
    for render in RENDERED.iter() {
        for service in render.all("Service") {
            let selector = service["spec"]["selector"].as_object().unwrap();
            let found: Vec<_> = render
                .workloads()
                .filter(|workload| {
                    let labels = &workload["spec"]["template"]["metadata"]["labels"];
                    selector.iter().all(|(key, value)| labels[key] == *value)
                })
                .collect();
            assert_eq!(found.len(), 1, "{}", render.place(service));
            let ports: BTreeSet<_> = items(&spec(found[0])["containers"][0]["ports"])
                .iter()
                .map(|port| text(&port["name"]))
                .collect();
            for port in items(&service["spec"]["ports"]) {
                assert!(ports.contains(text(&port["targetPort"])), "{}: {port}", render.place(service));
            }
        }
    }
}

#[test]
fn one_process_per_key() {
    if !ready() {
        return;
    }
    for render in RENDERED.iter() {
        for suffix in ["-consensus", "-keys", "-audit"] {
            let workload =
                render.workloads().find(|object| text(&object["metadata"]["name"]).ends_with(suffix));
            assert_eq!(workload.unwrap()["spec"]["replicas"], 1, "{}{suffix}", render.values);
            assert!(render.find("HorizontalPodAutoscaler", suffix).is_none(), "{}{suffix}", render.values);
        }
        let consensus = render.find("StatefulSet", "-consensus").unwrap();
        let retention = &consensus["spec"]["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(*retention, json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
        for claim in render.all("PersistentVolumeClaim") {
            assert_eq!(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        }
        // Where a volume is shared with the next pod, the old one must let go first.
        for deployment in render.all("Deployment") {
            let claims = items(&spec(deployment)["volumes"]);
            if claims.iter().any(|volume| !volume["persistentVolumeClaim"].is_null()) {
                assert_eq!(
                    deployment["spec"]["strategy"]["type"],
                    "Recreate",
                    "{}",
                    render.place(deployment)
                );
            }
        }
    }
}

#[test]
fn secrets_are_named_and_never_made() {
    if !ready() {
        return;
    }
    let written = Regex::new(r#"password *[:=] *\\"[^$]"#).unwrap();
    for render in RENDERED.iter() {
        assert_eq!(render.all("Secret").count(), 0, "{}", render.values);
        for map in render.all("ConfigMap") {
            let content = map["data"].to_string();
            assert!(!written.is_match(&content), "{content}");
        }
    }
    // Each service gets its own bus password and no other.
    for service in ["ingest", "validate", "consensus", "keys", "audit"] {
        let render = rendered("minimal.yaml");
        let workload = render
            .workloads()
            .find(|object| text(&object["metadata"]["labels"]["app.kubernetes.io/component"]) == service);
        let volumes = items(&spec(workload.unwrap())["volumes"]);
        let bus = volumes.iter().find(|volume| volume["name"] == "bus").unwrap();
        assert_eq!(bus["secret"]["items"], json!([{"key": service, "path": "password"}]));
    }
}

#[test]
fn each_fault_of_a_pod_is_found() {
    if !ready() {
        return;
    }
    let render = rendered("minimal.yaml");
    let good = render.find("Deployment", "-ingest").unwrap();
    type Rule = fn(&Rendered, &Value) -> Vec<String>;
    let faults: &[(Rule, &str, Value)] = &[
        (|_, w| restricted(w), "/spec/template/spec/securityContext/runAsNonRoot", json!(false)),
        (|_, w| restricted(w), "/spec/template/spec/automountServiceAccountToken", Value::Null),
        (
            |_, w| restricted(w),
            "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        (|_, w| restricted(w), "/spec/template/spec/containers/0/securityContext/capabilities", json!({})),
        (
            |_, w| restricted(w),
            "/spec/template/spec/volumes/0",
            json!({"name": "config", "hostPath": {"path": "/"}}),
        ),
        (|_, w| operable(w), "/spec/template/spec/containers/0/startupProbe", Value::Null),
        (|_, w| operable(w), "/spec/template/spec/containers/0/readinessProbe/httpGet/path", json!("/livez")),
        (|_, w| operable(w), "/spec/template/spec/containers/0/lifecycle", Value::Null),
        (|_, w| operable(w), "/spec/template/spec/containers/0/resources/limits", Value::Null),
        (|_, w| operable(w), "/spec/template/spec/terminationGracePeriodSeconds", json!(10)),
        (|_, w| operable(w), "/spec/template/metadata/annotations", Value::Null),
        (|_, w| mounted(w), "/spec/template/spec/volumes/0/name", json!("other")),
        (provided, "/spec/template/spec/volumes/3/secret/items/0/path", json!("other")),
        (selected, "/spec/template/metadata/labels/app.kubernetes.io~1component", json!("other")),
    ];
    for (rule, pointer, fault) in faults {
        assert_none(&rule(render, good));
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = fault.clone();
        assert!(!rule(render, &bad).is_empty(), "{pointer} = {fault} went unnoticed");
    }
}
