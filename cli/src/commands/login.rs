//! `chandlery login` and `chandlery logout`

use chandlery_wire::api::TokenInfo;

use super::token;
use crate::client::tls::Trust;
use crate::client::{Client, Path};
use crate::context::credentials::Login;
use crate::context::{Context, Source, parse_token, secure};
use crate::failure::Failure;
use crate::input;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token comes from --token-file, from a pipe, or from a prompt that does not show it: never from an argument.
It is checked with the server, and kept in $XDG_CONFIG_HOME/chandlery/credentials.toml (0600).")]
pub(crate) struct Args {
    /// The server; by default the one of the context.
    addr: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// The server; by default the one of the context.
    addr: Option<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    context.point_at(args.addr.as_deref());
    let connection = context.connection()?;
    let said = match context.said_token_file() {
        Some(path) => parse_token(&secure::read_token_file(path)?, Source::Flag("--token-file"))?,
        None => parse_token(&input::token_text()?, Source::Flag("the input"))?,
    };
    let client = Client::new(connection.address.value.clone(), &connection.trust, Some(said.value.clone()))?;
    let info: TokenInfo = client.get(&Path::new(&["tokens", "self"]))?;
    let (cacert, fingerprint) = match &connection.trust {
        Trust::Pinned(pin) => (None, Some(pin.to_string())),
        // The PEM itself: the login still works when the file has moved.
        Trust::Authority(pem) => (Some(String::from_utf8_lossy(pem).into_owned()), None),
        Trust::System => (None, None),
    };
    let address = connection.address.value.to_string();
    context.credentials.store(address.clone(), Login { token: said.value, cacert, fingerprint })?;
    args.format.print(&info, token::describe)?;
    output::note(&format!("logged in to {address}; the token is kept in {}", context.credentials.path.display()));
    Ok(())
}

pub(crate) fn logout(args: &LogoutArgs, context: &mut Context) -> Result<(), Failure> {
    context.point_at(args.addr.as_deref());
    let address = context.address()?.value.to_string();
    let known = context.credentials.forget(&address)?;
    output::note(&match known {
        true => format!(
            "forgot the token for {address}; it still works elsewhere until it is revoked (chandlery token revoke)"
        ),
        false => format!("there is no stored token for {address}"),
    });
    Ok(())
}
