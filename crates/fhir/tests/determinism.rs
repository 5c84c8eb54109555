//! One document, one verdict: whatever the number of threads, the white space and the order in which
//! packages are given.

#[cfg(test)]
mod support;

#[cfg(test)]
mod determinism {
    use std::path::PathBuf;

    use super::support;
    use consilium_fhir::{Limits, Options, References, Schema, UnknownExtensions, Validator, VitalSigns};

    /// Without white space outside of strings.
    fn minified(text: &[u8]) -> Vec<u8> {
        let (mut out, mut inside, mut escaped) = (Vec::with_capacity(text.len()), false, false);
        for &b in text {
            if inside {
                inside = escaped || b != b'"';
                escaped = !escaped && b == b'\\';
            } else if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            } else {
                inside = b == b'"';
                escaped = false;
            }
            out.push(b);
        }
        out
    }

    fn strict() -> Options {
        Options {
            unknown_extensions: UnknownExtensions::Refuse,
            security_checks: true,
            vital_signs: VitalSigns::Related,
            references: References::Exist,
            preferred_bindings: true,
            best_practice: true,
            ..Options::default()
        }
    }

    fn digest(validator: &Validator, bytes: &[u8], options: &Options) -> [u8; 32] {
        let report = validator.validate_bytes(bytes, &Limits::default(), options);
        report.digest(&validator.basis(options), &[7; 32])
    }

    /// Digests of all files in order, each thread taking every `threads`-th file.
    fn digests(validator: &Validator, files: &[Vec<u8>], threads: usize) -> Vec<[u8; 32]> {
        let options = strict();
        let options = &options;
        let mut all = vec![[0; 32]; files.len()];
        let parts: Vec<Vec<(usize, [u8; 32])>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let own = files.iter().enumerate().skip(first).step_by(threads);
                    scope.spawn(move || own.map(|(at, f)| (at, digest(validator, f, options))).collect())
                })
                .collect();
            workers.into_iter().map(|w| w.join().expect("worker")).collect()
        });
        for (at, digest) in parts.into_iter().flatten() {
            all[at] = digest;
        }
        all
    }

    fn cases() -> Option<Vec<Vec<u8>>> {
        let folder: PathBuf = support::data("fhir/validator-cases")?.join("input");
        let files = support::json_files(&folder);
        Some(files.iter().map(|f| std::fs::read(f).expect("case")).collect())
    }

    #[test]
    fn verdicts_do_not_depend_on_threads_or_on_another_build_of_the_schema() {
        let (Some(validator), Some(core), Some(files)) = (support::validator(), support::core(), cases())
        else {
            return;
        };
        assert!(files.len() > 200);
        let one = digests(&validator, &files, 1);
        assert_eq!(one, digests(&validator, &files, 16));
        let again = Schema::compile(&[&core]).expect("schema");
        let again = Validator::new(Schema::from_bytes(&again.to_bytes()).expect("cache").into());
        assert_eq!(one, digests(&again, &files, 3));
    }

    #[test]
    fn verdicts_do_not_depend_on_white_space() {
        let (Some(validator), Some(files)) = (support::validator(), cases()) else { return };
        let small: Vec<Vec<u8>> = files.iter().map(|f| minified(f)).collect();
        let (pretty, small) = (digests(&validator, &files, 2), digests(&validator, &small, 2));
        let differing = pretty.iter().zip(&small).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0);
    }

    #[test]
    fn options_and_contents_enter_the_digest() {
        let Some(validator) = support::validator() else { return };
        let patient = br#"{"resourceType":"Patient","gender":"nobody"}"#;
        let report = validator.validate_bytes(patient, &Limits::default(), &Options::default());
        let bases = [
            Options::default(),
            strict(),
            Options { contained: false, ..Options::default() },
            Options { terminology: false, ..Options::default() },
            Options { as_of: Some("2026-01-01".to_owned()), ..Options::default() },
            Options { entry_profiles: vec![("Patient".into(), "x".into())], ..Options::default() },
        ]
        .map(|options| validator.basis(&options));
        let mut digests: Vec<[u8; 32]> = bases.iter().map(|basis| report.digest(basis, &[7; 32])).collect();
        digests.push(report.digest(&bases[0], &[8; 32]));
        let other = br#"{"resourceType":"Patient","gender":"male"}"#;
        let other = validator.validate_bytes(other, &Limits::default(), &Options::default());
        digests.push(other.digest(&bases[0], &[7; 32]));
        // What was not checked is part of what the verdict says.
        let claims =
            br#"{"resourceType":"Patient","gender":"male","meta":{"profile":["http://example.org/P"]}}"#;
        let claims = validator.validate_bytes(claims, &Limits::default(), &Options::default());
        assert!(claims.is_valid());
        digests.push(claims.digest(&bases[0], &[7; 32]));
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
