//! The audit service's process.

fn main() -> std::process::ExitCode {
    consilium_runtime::main::<consilium_audit::Audit>()
}
