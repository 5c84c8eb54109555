//! Runs the tools that set-up installs and holds what they render.

use std::fmt::Debug;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Both major versions in use.
pub const HELMS: [&str; 2] = ["helm", "helm3"];

/// Name of the release in all renders.
pub const RELEASE: &str = "north";

/// One values file rendered.
#[derive(Debug)]
pub struct Rendered {
    /// File name of the values.
    pub values: String,
    /// What helm wrote.
    pub yaml: String,
    /// Its documents.
    pub objects: Vec<Value>,
}

impl Rendered {
    /// The object of that kind and name suffix (`-ingest`).
    pub fn find(&self, kind: &str, suffix: &str) -> Option<&Value> {
        self.objects
            .iter()
            .find(|object| object["kind"] == kind && text(&object["metadata"]["name"]).ends_with(suffix))
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Deployments and StatefulSets.
    pub fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.all("Deployment").chain(self.all("StatefulSet"))
    }

    /// Messages start with this.
    pub fn place(&self, object: &Value) -> String {
        format!("{}: {} {}", self.values, text(&object["kind"]), text(&object["metadata"]["name"]))
    }
}

/// A string, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of an array, or none.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The workspace root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    root().join("charts/consilium")
}

fn tools() -> PathBuf {
    std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from)
}

/// Whether set-up has been run for tests. If not, the test says that it skips, or fails where nothing may
/// be skipped.
pub fn ready() -> bool {
    let wanted = ["bin/helm", "bin/helm3", "bin/nats-server", "venv/bin/kubernetes-validate"];
    let Some(missing) = wanted.iter().find(|tool| !tools().join(tool).exists()) else { return true };
    let strict = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|value| value == "1");
    assert!(!strict, "`{missing}` is missing: run scripts/setup.sh test");
    // Past libtest, which hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "SKIPPED: `{missing}` is missing: run scripts/setup.sh test");
    false
}

/// A command of the tools folder, such as `bin/helm`, that keeps its files out of the home folder.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(tools().join(name));
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, scratch.join("helm"));
    }
    command.current_dir(root());
    command
}

/// Runs to the end; standard output and error, and whether it succeeded.
pub fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// As [`run`], and it must succeed.
pub fn succeed(command: &mut Command) -> String {
    let (ok, out, error) = run(command);
    assert!(ok, "{command:?}\n{out}\n{error}");
    out
}

/// Documents of a YAML text.
pub fn parse(yaml: &str) -> Vec<Value> {
    const SCRIPT: &str = "import json, sys, yaml\n\
        json.dump([d for d in yaml.load_all(sys.stdin, yaml.CSafeLoader) if d], sys.stdout)";
    let mut command = tool("venv/bin/python");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "not YAML");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The values files of the matrix.
pub fn matrix() -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(chart().join("values-ha.yaml"));
    files.sort();
    assert!(files.len() >= 5, "the values matrix has {} files", files.len());
    files
}

/// Renders with one helm and, if `kube` is given, for that Kubernetes version.
pub fn template(helm: &str, values: &Path, kube: &str) -> String {
    let mut command = tool(&format!("bin/{helm}"));
    command.args(["template", RELEASE]).arg(chart()).arg("-f").arg(values);
    command.args(["--kube-version", kube, "--api-versions", "monitoring.coreos.com/v1"]);
    succeed(&mut command)
}

/// The matrix rendered by helm 4 for a middle Kubernetes version, once for all tests.
pub static RENDERED: LazyLock<Vec<Rendered>> = LazyLock::new(|| {
    matrix()
        .iter()
        .map(|path| {
            let yaml = template("helm", path, "1.34.0");
            let objects = parse(&yaml);
            let values = path.file_name().unwrap().to_string_lossy().into_owned();
            Rendered { values, yaml, objects }
        })
        .collect()
});

/// The render of one values file.
pub fn rendered(values: &str) -> &'static Rendered {
    RENDERED.iter().find(|rendered| rendered.values == values).unwrap()
}

/// Fails with all complaints at once.
pub fn assert_none<T: Debug>(complaints: &[T]) {
    assert!(complaints.is_empty(), "{} complaint(s): {complaints:#?}", complaints.len());
}
