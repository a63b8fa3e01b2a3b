//! `chandlery completions` and `chandlery man`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Cli;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chandlery completions bash > /etc/bash_completion.d/chandlery
  chandlery completions zsh  > \"${fpath[1]}/_chandlery\"
  chandlery completions fish > ~/.config/fish/completions/chandlery.fish")]
pub(crate) struct Args {
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write a page for every verb to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "chandlery", &mut text);
    output::raw(&text)
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("the manual cannot be written: {error}"), "name a folder that is there")
    };
    match &args.out {
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder).map_err(cannot),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(cannot)?;
            output::raw(&page)
        }
    }
}
