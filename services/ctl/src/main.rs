//! The `consilium` command.

fn main() -> std::process::ExitCode {
    consilium_ctl::main()
}
