//! `chandlery explain`

use std::fmt::Write as _;

use chandlery_wire::EntryName;
use chandlery_wire::api::{EntryInfo, Explanation, Outside, Reference, State};

use super::attributes::delivery_in_words;
use super::written::minute;
use crate::client::Path;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::FormatArg;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The entry's name.
    name: EntryName,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let (stack, environment) = (context.stack()?.as_str(), context.environment()?.as_str());
    let path = Path::new(&["explanations", stack, environment, args.name.as_str()])
        .query("region", context.region())
        .query("service", context.service());
    let explanation: Explanation = context.client()?.get(&path)?;
    let region = context.region().map_or_else(String::new, |region| format!(" in {region}"));
    let service = context.service().map_or_else(|| "all services".to_owned(), ToString::to_string);
    args.format.print(&explanation, |explanation| {
        tree(&format!("{} for {service}{region} ({stack}/{environment})", explanation.name), explanation)
    })?;
    let faulty: Vec<String> = explanation.references.iter().filter_map(fault).collect();
    if let Some(Outside { fault: Some(fault), stale: false, .. }) = &explanation.outside {
        let failure =
            Failure::new(Exit::Invalid, "the reference cannot be read", "see to what is named, then ask again");
        return Err(failure.with_faults(vec![format!("{} {fault}", explanation.name)]));
    }
    if faulty.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Invalid, "the template cannot be resolved", "set what is missing, then ask again");
    Err(failure.with_faults(faulty))
}

fn fault(reference: &Reference) -> Option<String> {
    let outside =
        reference.outside.as_ref().filter(|outside| !outside.stale).and_then(|outside| outside.fault.as_ref());
    reference.fault.as_ref().or(outside).map(|fault| format!("${{{}}}: {fault}", reference.text))
}

fn tree(title: &str, explanation: &Explanation) -> String {
    let mut text = format!("{title}\n");
    let Explanation { winner, hidden, references, outside, .. } = explanation;
    let verdict = if winner.state == State::Removed { "takes it away:" } else { "wins:" };
    let _ = writeln!(text, "└─ {} {verdict} {}", winner.layer, in_words(winner));
    let count = hidden.len() + references.len() + usize::from(outside.is_some());
    let mut branch = (1..=count).map(|n| if n == count { "   └─" } else { "   ├─" });
    for entry in hidden {
        let _ = writeln!(text, "{} hides {}: {}", branch.next().unwrap_or_default(), entry.layer, in_words(entry));
    }
    let widest = references.iter().map(|reference| reference.text.len()).max().unwrap_or(0) + "${}".len();
    for reference in references {
        let target = match (&reference.target, &reference.fault) {
            (_, Some(fault)) => format!("FAULT: {fault}"),
            (Some(target), None) => {
                let outside = reference.outside.as_ref().map(|outside| format!("; {}", outside_in_words(outside)));
                format!("{}: {}{}", target.layer, in_words(target), outside.unwrap_or_default())
            }
            (None, None) => "not resolved".to_owned(),
        };
        let name = format!("${{{}}}", reference.text);
        let _ = writeln!(text, "{} uses {name:widest$}  {target}", branch.next().unwrap_or_default());
    }
    if let Some(outside) = outside {
        let _ = writeln!(text, "{} {}", branch.next().unwrap_or_default(), outside_in_words(outside));
    }
    text
}

fn outside_in_words(Outside { fetched, stale, fault }: &Outside) -> String {
    match (fetched, fault) {
        (Some(when), Some(why)) if *stale => format!("may be old: read {}; {why}", minute(when)),
        (_, Some(why)) => format!("FAULT: {why}"),
        (Some(when), None) => format!("read {}", minute(when)),
        (None, None) => "not read".to_owned(),
    }
}

fn in_words(entry: &EntryInfo) -> String {
    let secret = if entry.secret { "secret" } else { "plain" };
    let kind = match &entry.reference {
        Some(reference) => format!("reference to {reference}"),
        None if entry.template => "template".to_owned(),
        None => "literal".to_owned(),
    };
    let (grant, deliver) = (&entry.grant, delivery_in_words(&entry.deliver));
    let (when, who) = (minute(&entry.created), &entry.author);
    format!("version {}, {secret} {kind} for {grant}, as {deliver}, {when} by {who}", entry.version)
}

#[cfg(test)]
mod tests {
    use chandlery_wire::{Delivery, Grant, Layer};

    use super::*;

    #[test]
    fn the_tree_says_who_won_and_what_is_missing() {
        let info = |layer: &str| EntryInfo {
            name: EntryName::parse("URL").unwrap(),
            layer: layer.parse::<Layer>().unwrap(),
            grant: Grant::All,
            version: 2,
            state: State::Live,
            secret: true,
            template: true,
            reference: None,
            deliver: Delivery::Variable,
            size: 3,
            created: "2026-04-11T18:11:57Z".to_owned(),
            author: "tok_a".to_owned(),
            value: None,
        };
        let reference = |text: &str, fault: Option<&str>| Reference {
            text: text.to_owned(),
            target: fault.is_none().then(|| info("base")),
            fault: fault.map(str::to_owned),
            outside: None,
        };
        let explanation = Explanation {
            name: EntryName::parse("URL").unwrap(),
            winner: info("sfo3"),
            hidden: vec![info("base")],
            references: vec![reference("DB", None), reference("GONE", Some("is not set"))],
            outside: None,
        };
        let words = "version 2, secret template for all, as variable, 2026-04-11 18:11Z by tok_a";
        let expected = format!(
            "title\n└─ sfo3 wins: {words}\n   ├─ hides base: {words}\n   ├─ uses ${{DB}}    base: {words}\n   └─ uses ${{GONE}}  FAULT: is not set\n"
        );
        assert_eq!(tree("title", &explanation), expected);
        let outside = |fetched: Option<&str>, stale: bool, fault: Option<&str>| {
            let outside = Outside { fetched: fetched.map(str::to_owned), stale, fault: fault.map(str::to_owned) };
            let winner = EntryInfo { reference: Some("file:/x".to_owned()), template: false, ..info("sfo3") };
            let (hidden, references) = (Vec::new(), Vec::new());
            let explanation = Explanation {
                winner,
                hidden,
                references,
                outside: Some(outside),
                name: EntryName::parse("A").unwrap(),
            };
            tree("title", &explanation)
        };
        let time = "2026-04-11T18:11:57Z";
        let text = outside(Some(time), true, Some("it is away"));
        assert!(text.contains("secret reference to file:/x for all"), "{text}");
        assert!(text.ends_with("   └─ may be old: read 2026-04-11 18:11Z; it is away\n"), "{text}");
        assert!(outside(Some(time), false, None).ends_with("   └─ read 2026-04-11 18:11Z\n"));
        assert!(outside(None, false, Some("no")).ends_with("   └─ FAULT: no\n"));
    }
}
