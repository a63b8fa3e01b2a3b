//! `chandlery-server`: the encrypted store.

use std::io::{self, Write as _};
use std::process::ExitCode;

use chandlery_server::config::{self, AuditCommand, Command, ConfigCommand, Loaded, RootKeyCommand};
use chandlery_server::fatal::Fatal;
use chandlery_server::{commands, paths};

fn main() -> ExitCode {
    paths::harden_process();
    match config::parse(std::env::args_os()).and_then(|(command, loaded)| execute(command, &loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(io::stderr(), "{fatal}");
            fatal.exit_code()
        }
    }
}

fn execute(command: Command, loaded: &Loaded) -> Result<(), Fatal> {
    let config = &loaded.config;
    match command {
        Command::Serve => commands::serve(config),
        Command::AcceptRestore => commands::accept_restore(config),
        Command::Audit(AuditCommand::Verify) => commands::audit_verify(config),
        Command::Audit(AuditCommand::StartOver) => commands::audit_start_over(config),
        Command::RootKey(RootKeyCommand::Create { file }) => commands::root_key_create(&file),
        Command::Config(ConfigCommand::Example) => print(&config::example()?),
        Command::Config(ConfigCommand::Show) => print(&config::show(loaded)),
        Command::Config(ConfigCommand::Check) => print("the configuration can be used\n"),
    }
}

fn print(text: &str) -> Result<(), Fatal> {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Fatal::new(format!("the output cannot be written: {error}"), "look where it goes"))
}
