use std::process::ExitCode;

fn main() -> ExitCode {
    jintuo::cli::main()
}
