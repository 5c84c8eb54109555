//! The validate service: verdicts on records and projections, signed.

fn main() -> std::process::ExitCode {
    consilium_runtime::main::<consilium_validate::Validate>()
}
