fn main() -> std::process::ExitCode {
    consilium_runtime::main::<consilium_consensus::Consensus>()
}
