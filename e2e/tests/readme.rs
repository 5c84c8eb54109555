//! The shell commands of README.md and docs/ work: every ```` ```sh ```` block is run, in order, as one script
//! against a consortium of its own. `# → TEXT` at the end of a command says what its output must contain.
//!
//! Not run, but checked: `make TARGET` (the target exists; `make test` and continuous integration run them) and
//! commands that need a cluster (`helm install` renders on the client instead). The runbooks of keys (`keys-….md`) start
//! from a running keys service with officers: the chapter on keys of `demo-check` runs them.

#[cfg(test)]
mod readme {
    use std::fs;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// The commands of all `sh` blocks, continuation lines joined.
    fn commands(text: &str) -> Vec<String> {
        let (mut out, mut inside, mut open) = (Vec::new(), false, String::new());
        for line in text.lines() {
            if line.starts_with("```") {
                inside = line == "```sh";
                continue;
            }
            if !inside || line.trim().is_empty() {
                continue;
            }
            match line.strip_suffix('\\') {
                Some(part) => open.push_str(part),
                None => {
                    open.push_str(line);
                    out.push(std::mem::take(&mut open));
                }
            }
        }
        out
    }

    /// One line of the script: the command, and a check of what it must print.
    fn checked(command: &str) -> String {
        let Some((command, wanted)) = command.split_once("# → ") else {
            return format!("echo '+' {}\n{command}\n", quoted(command));
        };
        format!(
            "echo '+' {}\nout=$({command})\n[[ $out == *{}* ]] || {{ echo \"printed: $out\"; exit 9; }}\n",
            quoted(command),
            quoted(wanted.trim())
        )
    }

    fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\'', r"'\''"))
    }

    /// A page that `e2e/src/story/keys.rs` runs.
    fn of_keys(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.parent().is_some_and(|folder| folder.ends_with("runbooks")) && name.starts_with("keys-")
    }

    fn documents() -> Vec<PathBuf> {
        let mut out = vec![root().join("README.md")];
        let mut folders = vec![root().join("docs")];
        while let Some(folder) = folders.pop() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kind == "md") && !of_keys(&path) {
                    out.push(path);
                }
            }
        }
        out
    }

    /// What the commands need; `None` after saying what is missing, or a failure where nothing may be skipped.
    fn tools() -> Option<(PathBuf, PathBuf)> {
        let test = std::env::current_exe().unwrap();
        let bin = test.parent().and_then(Path::parent).unwrap().to_owned();
        let tools = root().join(".tools");
        let services = ["consilium", "consilium-ingest", "consilium-validate", "consilium-consensus"];
        let needed: Vec<PathBuf> = services
            .iter()
            .chain(&["consilium-keys", "consilium-audit"])
            .map(|name| bin.join(name))
            .chain(["bin/nats-server", "bin/helm", "fhir/hl7.fhir.r4.core.tgz"].map(|name| tools.join(name)))
            .collect();
        let Some(missing) = needed.iter().find(|path| !path.exists()) else { return Some((bin, tools)) };
        let strict = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|value| value == "1");
        assert!(!strict, "{} is missing: scripts/setup.sh test, make build", missing.display());
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} is missing", missing.display());
        None
    }

    /// A first port such that it, the forty after it and the one before it (the bus) are free.
    fn ports() -> u16 {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        (211..600).map(|n| n * 100).find(|first| (first - 1..first + 40).all(free)).unwrap()
    }

    #[test]
    fn every_command_of_the_documents_works() {
        let Some((bin, tools)) = tools() else { return };
        let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
        let first = ports();
        let mut script = String::from("set -euo pipefail\n");
        // Stops what was started, however the script ends.
        script.push_str("trap 'target/debug/consilium down >/dev/null' EXIT\n");
        script.push_str(&format!("up() {{ command consilium up --port {first} \"$@\"; }}\n"));
        script.push_str("helm() { .tools/bin/helm \"$@\" --dry-run=client >/dev/null; }\n");
        let (mut run, mut complaints) = (0, Vec::new());
        for document in documents() {
            for command in commands(&fs::read_to_string(&document).unwrap()) {
                if let Some(target) = command.strip_prefix("make ") {
                    if !makefile.lines().any(|line| line.starts_with(&format!("{}:", target.trim()))) {
                        complaints.push(format!("{}: there is no target `{target}`", document.display()));
                    }
                    continue;
                }
                let command = match command.strip_prefix("consilium up") {
                    Some(rest) => format!("up{rest}"),
                    None => command.replace("127.0.0.1:181", &format!("127.0.0.1:{}", first / 100)),
                };
                script.push_str(&checked(&command));
                run += 1;
            }
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        assert!(run > 20, "only {run} commands were found: are the blocks still marked `sh`?");

        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}", std::process::id()));
        fs::create_dir_all(scratch.join("target")).unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, scratch.join(name)).unwrap();
        link(&bin, "target/debug");
        link(&tools, ".tools");
        link(&root().join("charts"), "charts");
        let output = Command::new("bash").arg("-c").arg(&script).current_dir(&scratch).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let end: Vec<&str> = said.lines().rev().take(12).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        assert!(
            output.status.success(),
            "the last lines of {} commands in {}:\n{}\n{}",
            run,
            scratch.display(),
            end.join("\n"),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn commands_are_found_and_checked() {
        let text = "x\n```sh\na \\\n  b   # → yes\n\nc\n```\n```\nd\n```\n";
        assert_eq!(commands(text), ["a   b   # → yes", "c"]);
        let run = |command: &str| {
            let script = format!("set -e\n{}", checked(command));
            Command::new("bash").arg("-c").arg(script).output().unwrap().status.code()
        };
        assert_eq!(run("echo yes, it is   # → yes"), Some(0));
        assert_eq!(run("echo no   # → yes"), Some(9));
        assert_eq!(run("false"), Some(1));
    }
}
