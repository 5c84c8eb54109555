//! What `cargo metadata` says of the workspace. A reader of `[dependencies]` tables would miss target
//! tables, `[dependencies.x]` tables and renames; cargo does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// One member of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Package name, such as `consilium-bft`.
    pub name: String,
    /// Absolute path of its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// Direct dependencies of every kind and target.
    pub dependencies: Vec<Dependency>,
    /// Features with what they switch on.
    pub features: BTreeMap<String, Vec<String>>,
    /// Libraries, binaries, tests, benches, build scripts.
    pub targets: Vec<Target>,
}

/// One direct dependency.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// The package's own name, whatever it is renamed to.
    pub name: String,
    /// `None` = normal, else `dev` or `build`.
    pub kind: Option<String>,
    /// The key, if it differs from the name.
    pub rename: Option<String>,
}

/// One build target.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `test`, `bench`, `example`, `custom-build`.
    pub kind: Vec<String>,
    /// Absolute path of its root source file.
    pub src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Dependency {
    /// Whether only tests, benches and examples see it.
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Package {
    /// Folder of the package, relative to the workspace root, such as `crates/bft`.
    pub fn folder(&self) -> String {
        let folder = self.manifest_path.parent().unwrap();
        folder.strip_prefix(root()).unwrap_or(folder).to_string_lossy().into_owned()
    }

    /// A package made up for a planted fault: `room("crates/bft", &["consilium-domain"])`.
    pub fn planted(folder: &str, dependencies: &[(&str, Option<&str>)]) -> Self {
        let bare = folder.rsplit('/').next().unwrap();
        Self {
            name: format!("consilium-{bare}"),
            manifest_path: root().join(folder).join("Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                    rename: None,
                })
                .collect(),
            features: BTreeMap::new(),
            targets: Vec::new(),
        }
    }
}

/// The workspace root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All members of the workspace, by name.
pub fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    assert!(metadata.packages.len() >= 17, "cargo metadata lists {} packages", metadata.packages.len());
    metadata.packages
}
