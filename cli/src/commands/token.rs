//! `chandlery token`

use std::path::PathBuf;

use chandlery_wire::api::{CreateToken, CreatedToken, TokenInfo, TokenList};
use chandlery_wire::{EnvironmentName, NodeName, RegionName, Scope, ServiceName, StackName, Verb};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::written::minute;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, Format, FormatArg};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token. Its text is printed once, alone on stdout, and never again.
    Create(CreateArgs),
    /// The tokens that you may see, without their text.
    List {
        #[command(flatten)]
        format: FormatArg,
    },
    /// The token that is used now.
    Show {
        #[command(flatten)]
        format: FormatArg,
    },
    /// Revoke a token; it bites at the next request.
    Revoke {
        /// `tok_…`
        id: String,
        #[command(flatten)]
        format: FormatArg,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It holds for the stack, environment, region and service of the context, and for no more.
Example:
  chandlery token create --description 'app in sfo3' --verb read-bundle --region sfo3 --service app -o app.token")]
struct CreateArgs {
    /// What it is for.
    #[arg(long, short)]
    description: String,
    /// What it may do: read-bundle, read-entry, write, administer.
    #[arg(long = "verb", value_name = "VERB", value_delimiter = ',', required = true)]
    verbs: Vec<Verb>,
    /// Where, instead of the context: stack/environment/region:service, with * or nothing for what is not limited.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Where else, besides the context.
    #[arg(long = "also", value_name = "SCOPE", value_parser = scope)]
    also: Vec<Scope>,
    /// How long it is good for: 30m, 12h, 90d. Without it, until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    /// How many requests it is good for.
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
    /// Bind it to a node: it reaches that node's region, whichever that is, and no other. Leave --region out then.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
    /// Write it to this file, mode 0600, instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.action {
        Action::Create(args) => create(args, context),
        Action::List { format } => {
            let list: TokenList = context.client()?.get(&Path::new(&["tokens"]))?;
            format.print(&list, table)
        }
        Action::Show { format } => {
            let info: TokenInfo = context.client()?.get(&Path::new(&["tokens", "self"]))?;
            format.print(&info, describe)
        }
        Action::Revoke { id, format } => {
            let good =
                id.starts_with("tok_") && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
            if !good {
                let hint =
                    "`chandlery token list` shows the ids; they start with tok_, and a token's text is not needed";
                return Err(Failure::usage("that is not a token's id", hint));
            }
            let info: TokenInfo = context.client()?.delete(&Path::new(&["tokens", id]))?;
            output::note(&format!("{id} is revoked"));
            format.print(&info, describe)
        }
    }
}

fn create(args: &CreateArgs, context: &Context) -> Result<(), Failure> {
    let mut scopes = if args.scopes.is_empty() { vec![of_context(context)?] } else { args.scopes.clone() };
    scopes.extend(args.also.iter().cloned());
    let request = CreateToken {
        description: args.description.clone(),
        verbs: args.verbs.clone(),
        scopes,
        expires_in: args.expires,
        uses: args.uses,
        node: args.node.clone(),
    };
    let created: CreatedToken = context.client()?.post(&Path::new(&["tokens"]), &request)?;
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    match args.format.format {
        Format::Table => text.extend_from_slice(created.token.expose_secret()),
        Format::Json => serde_json::to_writer_pretty(&mut *text, &created)
            .map_err(|_| Failure::failed("the token cannot be written as JSON", "please report this"))?,
    }
    text.push(b'\n');
    if let Err(failure) = output::to(args.output.as_ref(), &text) {
        // Nobody will ever see its text, so nobody can use it; it should not be in the list either.
        output::note(&format!("note: the token {} was made, and its text is lost: revoke it", created.info.id));
        return Err(failure);
    }
    output::note(describe(&created.info).trim_end());
    output::note(match args.output {
        Some(_) => "its text is in the file, and is not shown again",
        None => "its text is on stdout, and is not shown again",
    });
    Ok(())
}

fn of_context(context: &Context) -> Result<Scope, Failure> {
    let scope = Scope {
        stack: context.stack.as_ref().map(|item| item.value.clone()),
        environment: context.environment.as_ref().map(|item| item.value.clone()),
        region: context.region().cloned(),
        service: context.service().cloned(),
    };
    if scope == Scope::default() {
        let hint = "name at least a --stack; a token for everything is asked for with --scope '*'";
        return Err(Failure::usage("it is not said where the token holds", hint));
    }
    Ok(scope)
}

/// `stack/environment/region:service`; a part that is `*`, empty or left out is not limited.
fn scope(text: &str) -> Result<Scope, String> {
    fn part<T: std::str::FromStr<Err = chandlery_wire::NameError>>(text: Option<&str>) -> Result<Option<T>, String> {
        match text {
            None | Some("" | "*") => Ok(None),
            Some(name) => name.parse().map(Some).map_err(|error: chandlery_wire::NameError| error.to_string()),
        }
    }
    let (place, service) = text.split_once(':').map_or((text, None), |(place, service)| (place, Some(service)));
    let mut parts = place.split('/');
    let scope = Scope {
        stack: part::<StackName>(parts.next())?,
        environment: part::<EnvironmentName>(parts.next())?,
        region: part::<RegionName>(parts.next())?,
        service: part::<ServiceName>(service)?,
    };
    match parts.next() {
        None if !text.is_empty() => Ok(scope),
        _ => Err("a scope is stack/environment/region:service, and * for everything".to_owned()),
    }
}

/// Seconds of `90d`, `12h`, `30m`, `45s` or `2w`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "a time is a number and s, m, h, d or w, as in 90d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0 && digits.bytes().all(|c| c.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(factor))
        .filter(|seconds| *seconds <= 100 * 366 * 86_400)
        .ok_or_else(wrong)
}

fn table(list: &TokenList) -> String {
    let mut table = Table::new(&["ID", "DESCRIPTION", "VERBS", "SCOPES", "CREATED", "ENDS"]);
    for token in &list.tokens {
        table.row(vec![
            token.id.clone(),
            token.description.clone(),
            verbs(token),
            token.node.as_ref().map_or(scopes(token), |node| format!("{} node:{node}", scopes(token))),
            minute(&token.created),
            ends(token),
        ]);
    }
    table.for_stdout()
}

/// A token in a few lines.
pub(crate) fn describe(token: &TokenInfo) -> String {
    let TokenInfo { id, description, .. } = token;
    let place = token.node.as_ref().map(|node| format!(", in the region of node {node}")).unwrap_or_default();
    format!("{id}: {description}\n  may {}\n  on {}{place}\n  ends: {}\n", verbs(token), scopes(token), ends(token))
}

fn verbs(token: &TokenInfo) -> String {
    token.verbs.iter().map(Verb::to_string).collect::<Vec<_>>().join(",")
}

fn scopes(token: &TokenInfo) -> String {
    token.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ")
}

fn ends(token: &TokenInfo) -> String {
    let uses = token.uses_left.map(|uses| format!("after {uses} more uses"));
    match (&token.revoked, &token.expires, uses) {
        (Some(revoked), ..) => format!("revoked {}", minute(revoked)),
        (None, Some(expires), None) => minute(expires),
        (None, Some(expires), Some(uses)) => format!("{}, {uses}", minute(expires)),
        (None, None, Some(uses)) => uses,
        (None, None, None) => "never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_shown() {
        for text in ["a/b/c:d", "a/*/*:*", "*/*/*:*", "a/b/*:d"] {
            assert_eq!(scope(text).unwrap().to_string(), text);
        }
        assert_eq!(scope("a").unwrap().to_string(), "a/*/*:*");
        assert_eq!(scope("a/b:d").unwrap().to_string(), "a/b/*:d");
        assert_eq!(scope("*").unwrap(), Scope::default());
        for text in ["", "a/b/c/d", "A", "a/b/base", "a:all", "a b"] {
            assert!(scope(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90d").unwrap(), 7_776_000);
        assert_eq!(seconds("30m").unwrap(), 1800);
        for text in ["", "d", "90", "0d", "-1d", "+1d", "1.5h", "1y", "99999999999999999w", "9é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
