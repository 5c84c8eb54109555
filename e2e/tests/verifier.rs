//! The independent verifier (`e2e/verifier/verify.py`, another language, none of our code) accepts the proof files that
//! the ledger's own tests pin, and refuses them when any value in them is changed.

#[cfg(test)]
mod verifier {
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Set-up's private Python with the signature library in it. Without it the test says that it skips, or fails
    /// where nothing may be skipped.
    fn python() -> Option<Command> {
        let tools = std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
        let python = tools.join("venv/bin/python");
        let probe = Command::new(&python).args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            return Some(Command::new(python));
        }
        let strict = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|value| value == "1");
        assert!(!strict, "the private Python has no `cryptography`: run scripts/setup.sh test");
        // Past libtest, which hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no `cryptography`: run scripts/setup.sh test");
        None
    }

    #[test]
    fn a_stranger_checks_the_same_files_and_refuses_changed_ones() {
        let Some(mut python) = python() else { return };
        let output = python.arg("-B").arg(root().join("e2e/verifier/test_verify.py")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("Ran 5 tests"), "{text}");
    }

    #[test]
    fn the_command_proves_and_refuses_with_its_exit_status() {
        let Some(_) = python() else { return };
        let vectors = root().join("e2e/verifier/vectors");
        let run = |file: &str| {
            let mut python = python().unwrap();
            let script = root().join("e2e/verifier/verify.py");
            python
                .arg("-B")
                .arg(script)
                .arg(vectors.join("genesis.json"))
                .arg(vectors.join(file))
                .output()
                .unwrap()
        };
        let proven = run("receipt-after-changes.json");
        assert!(proven.status.success() && proven.stdout.starts_with(b"PROVEN: Patient of hospital-01"));
        let refused = run("genesis.json");
        assert!(refused.status.code() == Some(1) && refused.stderr.starts_with(b"REFUSED: "));
    }
}
