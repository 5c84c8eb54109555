//! Tests of the service. Those that need the FHIR core package look for it in `$CONSILIUM_FHIR_PACKAGES` (default
//! `.tools/fhir` of the workspace, where `scripts/setup.sh` puts it) and say so loudly where it is absent.

mod attesting;
mod checking;
mod fixture;
mod serving;
