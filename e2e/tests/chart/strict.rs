//! Lint, both helms alike, and Kubernetes' own schemas.

use std::fs;
use std::path::Path;

use crate::helm::{HELMS, chart, matrix, parse, ready, run, succeed, template, tool};

/// Oldest and newest Kubernetes that the chart promises, and one between.
const KUBERNETES: [&str; 3] = ["1.30", "1.34", "1.37"];

/// Runs kubernetes-validate over a text; whether it accepts, and what it says.
fn validate(yaml: &str, version: &str, name: &str) -> (bool, String) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("strict-{name}-{version}.yaml"));
    fs::write(&path, yaml).unwrap();
    let mut command = tool("venv/bin/kubernetes-validate");
    command.args(["--strict", "--quiet", "--no-warn", "-k", version]).arg(&path);
    let (ok, out, error) = run(&mut command);
    (ok, out + &error)
}

#[test]
fn both_helms_lint_every_values_file() {
    if !ready() {
        return;
    }
    for helm in HELMS {
        for values in matrix() {
            let mut command = tool(&format!("bin/{helm}"));
            let out = succeed(command.args(["lint", "--strict"]).arg(chart()).arg("-f").arg(&values));
            assert!(out.contains("1 chart(s) linted, 0 chart(s) failed"), "{out}");
        }
    }
}

#[test]
fn both_helms_package_the_chart() {
    if !ready() {
        return;
    }
    for helm in HELMS {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{helm}"));
        let mut command = tool(&format!("bin/{helm}"));
        succeed(command.arg("package").arg(chart()).arg("--destination").arg(&folder));
        let version = env!("CARGO_PKG_VERSION");
        assert!(folder.join(format!("consilium-{version}.tgz")).exists(), "one version for crates and chart");
    }
}

#[test]
fn both_helms_render_the_same_objects() {
    if !ready() {
        return;
    }
    for values in matrix() {
        let [four, three] = HELMS.map(|helm| parse(&template(helm, &values, "1.34.0")));
        assert_eq!(four, three, "{}", values.display());
    }
}

#[test]
fn every_object_fits_kubernetes_schemas() {
    if !ready() {
        return;
    }
    for version in KUBERNETES {
        for values in matrix() {
            let name = values.file_stem().unwrap().to_string_lossy().into_owned();
            let yaml = template("helm", &values, &format!("{version}.0"));
            let (ok, said) = validate(&yaml, version, &name);
            assert!(ok, "{name} on {version}: {said}");
        }
    }
}

#[test]
fn an_object_that_does_not_fit_is_found() {
    if !ready() {
        return;
    }
    let yaml = template("helm", &chart().join("ci/minimal.yaml"), "1.34.0");
    for (from, to) in [
        ("automountServiceAccountToken:", "automountServiceAccountTokens:"),
        ("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: soon"),
    ] {
        assert!(yaml.contains(from));
        let (ok, said) = validate(&yaml.replace(from, to), "1.34", "planted");
        assert!(!ok, "`{to}` was accepted: {said}");
    }
}

#[test]
fn monitoring_objects_need_the_cluster_to_know_them() {
    if !ready() {
        return;
    }
    let mut command = tool("bin/helm");
    command.args(["template", "north"]).arg(chart()).arg("-f").arg(chart().join("values-ha.yaml"));
    let without = succeed(&mut command);
    assert!(!without.contains("monitoring.coreos.com"), "rendered where the cluster does not know them");
    let with = template("helm", &chart().join("values-ha.yaml"), "1.34.0");
    assert!(with.contains("kind: PodMonitor") && with.contains("kind: PrometheusRule"));
}

#[test]
fn kubernetes_that_is_too_old_is_refused() {
    if !ready() {
        return;
    }
    for helm in HELMS {
        let mut command = tool(&format!("bin/{helm}"));
        let (ok, _, error) = run(command.args(["template", "x", "--kube-version", "1.29.0"]).arg(chart()));
        assert!(!ok && error.contains(">=1.30"), "{error}");
    }
}
