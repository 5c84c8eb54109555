//! The repository polices its own shape: who may import whom, which outside crate lives where, how long a
//! file may be, what must be current. Every rule is a function from facts to complaints, and every rule has
//! a test that plants a fault and sees the complaint.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod clippy_files;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod files;
#[cfg(test)]
mod lockfile;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod workspace;

/// Fails with all complaints at once, one per line.
#[cfg(test)]
fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaint(s):\n{}", complaints.len(), complaints.join("\n"));
}

/// Fails unless exactly one complaint was made and it holds every one of `parts`.
#[cfg(test)]
fn assert_complains(complaints: &[String], parts: &[&str]) {
    assert_eq!(complaints.len(), 1, "expected one complaint, got {complaints:#?}");
    for part in parts {
        assert!(complaints[0].contains(part), "`{}` does not name `{part}`", complaints[0]);
    }
}
