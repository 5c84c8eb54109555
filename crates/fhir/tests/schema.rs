//! The compiled schema: cache, digest, packages.

#[cfg(test)]
mod support;

#[cfg(test)]
mod schema {
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::package::{Package, PackageError};
    use consilium_fhir::schema::{SchemaError, TypeKind};
    use consilium_fhir::{Limits, Options, Schema, UnknownExtensions, Validator};

    #[test]
    fn the_cache_gives_the_same_schema() {
        let (Some(validator), Some(core)) = (support::validator(), support::core()) else { return };
        let schema = validator.schema();
        let bytes = schema.to_bytes();
        let loaded = Schema::from_bytes(&bytes).expect("cache");
        assert_eq!(loaded.to_bytes(), bytes);
        assert_eq!(loaded.digest(), schema.digest());
        // compiled once more: the same bytes
        assert_eq!(Schema::compile(&[&core]).expect("core").to_bytes(), bytes);
        let text = br#"{"resourceType":"Patient","gender":"x"}"#;
        let check = |v: &Validator| v.validate_bytes(text, &Limits::default(), &Options::default());
        assert_eq!(check(&Validator::new(Arc::new(loaded))), check(&validator));
    }

    #[test]
    fn a_damaged_cache_is_refused() {
        let Some(validator) = support::validator() else { return };
        let bytes = validator.schema().to_bytes();
        for cut in [0, 1, 31, 32, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(Schema::from_bytes(&bytes[..cut]), Err(SchemaError::Cache)), "{cut}");
        }
        for at in [0, 25, 60, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(matches!(Schema::from_bytes(&damaged), Err(SchemaError::Cache)), "{at}");
        }
    }

    #[test]
    fn the_order_of_packages_does_not_matter() {
        let (Some(core), Some(folder)) = (support::core(), support::data("fhir/us-core")) else {
            return;
        };
        let us_core = std::fs::read(folder.join("us_core_610.tgz")).expect("package");
        let a = Schema::compile(&[&core, &us_core]).expect("schema");
        let b = Schema::compile(&[&us_core, &core, &core]).expect("schema");
        assert_eq!(a.to_bytes(), b.to_bytes());
        assert_ne!(a.digest(), Schema::compile(&[&core]).expect("schema").digest());
        let names: Vec<_> = a.packages().iter().map(|p| format!("{}#{}", p.name, p.version)).collect();
        assert_eq!(names, ["hl7.fhir.r4.core#4.0.1", "hl7.fhir.us.core#6.1.0"]);
        assert!(a.unresolved().iter().any(|d| d.starts_with("us.nlm.vsac#")), "{:?}", a.unresolved());
    }

    #[test]
    fn what_is_no_package_is_refused() {
        assert!(matches!(Package::read(b""), Err(PackageError::Archive(_) | PackageError::NoManifest)));
        assert!(matches!(Package::read(b"no gzip"), Err(PackageError::Archive(_))));
        assert!(matches!(Schema::compile(&[]), Err(SchemaError::NoCore)));
        let Some(core) = support::core() else { return };
        assert!(Package::read(&core[..core.len() / 2]).is_err());
    }

    #[test]
    fn types_are_known_by_name_and_member() {
        let Some(validator) = support::validator() else { return };
        let s = validator.schema();
        assert_eq!(s.resource_types().count(), 146);
        let observation = s.resource_type("Observation").expect("type");
        let value = s.member(observation, "valueQuantity").expect("member");
        assert_eq!((value.name, s.type_name(value.ty), value.is_choice), ("value", "Quantity", true));
        let range = s.member(observation, "referenceRange").expect("member");
        assert_eq!(s.type_name(range.ty), "Observation.referenceRange");
        // a content reference is the type it refers to
        let component = s.member(observation, "component").expect("member").ty;
        assert_eq!(s.member(component, "referenceRange").expect("member").ty, range.ty);
        assert!(s.member(observation, "value").is_none());
        assert_eq!(s.type_kind(range.ty), Some(TypeKind::Backbone));
        assert!(s.is_a(observation, s.type_named("DomainResource").expect("type")));
        assert!(s.is_a(s.type_named("Age").expect("type"), s.type_named("Quantity").expect("type")));
        assert!(s.resource_type("DomainResource").is_none() && s.resource_type("Period").is_none());
    }

    #[test]
    fn us_core_defines_the_extensions_of_synthea() {
        let (Some(core), Some(us_core), Some(folder)) =
            (support::core(), support::data("fhir/us-core"), support::data("fhir/synthea"))
        else {
            return;
        };
        let us_core = std::fs::read(us_core.join("us_core_311.tgz")).expect("package");
        let schema = Schema::compile(&[&core, &us_core]).expect("schema");
        let validator = Validator::new(Arc::new(schema));
        let options = Options {
            unknown_extensions: UnknownExtensions::Refuse,
            extension_domains: vec!["http://synthetichealth.github.io/".into()],
            ..Options::default()
        };
        for file in support::json_files(&folder).iter().take(8) {
            let bytes = std::fs::read(file).expect("file");
            let report = validator.validate_bytes(&bytes, &Limits::default(), &options);
            assert!(report.is_valid(), "{:?}", report.issues.first());
        }
    }
}
