//! FHIR packages: a gzip-compressed tar with `package/package.json` and one JSON file per resource
//! (<https://confluence.hl7.org/display/FHIR/NPM+Package+Specification>).

use std::io::Read;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::tape::{Limits, ParseError, Tape};

/// A package larger than this when unpacked is refused (hl7.fhir.r4.core is 40 MB).
const MAX_UNPACKED: u64 = 1 << 30;
/// A package with more files than this is refused.
const MAX_FILES: usize = 200_000;

/// Why a package was refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No gzip, no tar, or cut short.
    #[error("the package is no readable .tgz file; fetch it again")]
    Archive(#[source] std::io::Error),
    /// More than 1 GiB unpacked, or more than 200,000 files.
    #[error("the package is larger than a FHIR package may be")]
    TooLarge,
    /// `package/package.json` is missing or has no `name` and `version`.
    #[error("the package has no `package/package.json` with `name` and `version`")]
    NoManifest,
    /// A JSON file of the package does not parse.
    #[error("`{path}` in package `{package}`: {error}")]
    Json {
        /// Name of the package.
        package: String,
        /// Path inside the archive.
        path: String,
        /// What the parser found.
        error: ParseError,
    },
}

/// One file of a package.
#[derive(Clone, Debug)]
pub struct PackageFile {
    /// Path inside the archive, such as `package/StructureDefinition-Patient.json`.
    pub path: String,
    /// The file as it is in the archive.
    pub bytes: Vec<u8>,
}

/// An unpacked package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Such as `hl7.fhir.r4.core`.
    pub name: String,
    /// Such as `4.0.1`.
    pub version: String,
    /// SHA-256 of the `.tgz` bytes.
    pub sha256: [u8; 32],
    /// Name and version of the packages this one builds on.
    pub dependencies: Vec<(String, String)>,
    /// The resources: JSON files directly under `package/`, sorted by path.
    pub files: Vec<PackageFile>,
}

impl Package {
    /// Unpacks a `.tgz`. Sub-folders (`openapi/`, `other/`, examples) and index files are skipped.
    ///
    /// # Errors
    /// [`PackageError`] if the bytes are no package or exceed the limits.
    pub fn read(tgz: &[u8]) -> Result<Package, PackageError> {
        let mut archive = tar::Archive::new(GzDecoder::new(tgz).take(MAX_UNPACKED));
        let mut files = Vec::new();
        let mut manifest = None;
        let mut unpacked = 0u64;
        for entry in archive.entries().map_err(PackageError::Archive)? {
            let entry = entry.map_err(PackageError::Archive)?;
            unpacked = unpacked.saturating_add(entry.size());
            if unpacked > MAX_UNPACKED || files.len() >= MAX_FILES {
                return Err(PackageError::TooLarge);
            }
            let path = entry.path().map_err(PackageError::Archive)?.to_string_lossy().into_owned();
            let Some(name) = path.strip_prefix("package/") else { continue };
            if !name.ends_with(".json") || name.contains('/') || name.starts_with('.') {
                continue;
            }
            let mut bytes = Vec::new();
            let size = entry.size();
            entry.take(size).read_to_end(&mut bytes).map_err(PackageError::Archive)?;
            if name == "package.json" {
                manifest = Some(bytes);
            } else {
                files.push(PackageFile { path, bytes });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = manifest.ok_or(PackageError::NoManifest)?;
        let tape = Tape::parse(&manifest, &Limits::default()).map_err(|_| PackageError::NoManifest)?;
        let text = |key: &str| tape.root().get(key).and_then(|n| n.as_str());
        let (Some(name), Some(version)) = (text("name"), text("version")) else {
            return Err(PackageError::NoManifest);
        };
        let dependencies = tape.root().get("dependencies").map_or_else(Vec::new, |d| {
            d.children().filter_map(|c| Some((c.key()?.into_owned(), c.as_str()?.into_owned()))).collect()
        });
        Ok(Package {
            name: name.into_owned(),
            version: version.into_owned(),
            sha256: Sha256::digest(tgz).into(),
            dependencies,
            files,
        })
    }

    /// Single definitions as a package of their own; the order in which they are given does not
    /// matter.
    pub(crate) fn of_resources(resources: &[&[u8]]) -> Package {
        let mut sorted: Vec<([u8; 32], usize, &[u8])> =
            resources.iter().enumerate().map(|(at, r)| (Sha256::digest(r).into(), at, *r)).collect();
        sorted.sort_unstable();
        sorted.dedup_by_key(|(digest, ..)| *digest);
        let mut hash = Sha256::new();
        for (digest, ..) in &sorted {
            hash.update(digest);
        }
        Package {
            name: "(resources)".to_owned(),
            version: "0".to_owned(),
            sha256: hash.finalize().into(),
            dependencies: Vec::new(),
            files: sorted
                .into_iter()
                .map(|(_, at, bytes)| PackageFile { path: at.to_string(), bytes: bytes.to_vec() })
                .collect(),
        }
    }
}
