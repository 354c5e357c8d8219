use std::process::ExitCode;

fn main() -> ExitCode {
    screenline::run()
}
