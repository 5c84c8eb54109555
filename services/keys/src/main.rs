//! The keys service: attribute authority and class keys of one organisation.

fn main() -> std::process::ExitCode {
    consilium_runtime::main::<consilium_keys::Keys>()
}
