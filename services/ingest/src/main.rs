//! The ingest service: the FHIR endpoint of one organisation.

fn main() -> std::process::ExitCode {
    consilium_runtime::main::<consilium_ingest::Ingest>()
}
