//! `chandlery promote`, `chandlery copy`, and `chandlery region add --like`

use chandlery_wire::api::{Changed, Copying, LayerPair, Terms};
use chandlery_wire::{EntryName, EnvironmentName, Layer, NameError, RegionName, StackName};

use super::plan::Consent;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The base goes to the base, and each region's overlay to that of the same region. What is set in TO only, stays. Secrets are left
out, and told, unless they are named or --secrets says so: what opens staging should not open production.

Examples:
  chandlery promote staging production
  chandlery promote staging production FEATURE_FLAGS API_KEY --yes")]
pub(crate) struct PromoteArgs {
    /// The environment to copy from.
    from: EnvironmentName,
    /// The environment to copy to.
    to: EnvironmentName,
    /// Only these entries.
    names: Vec<EntryName>,
    /// Secrets too, without naming them.
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A layer is a region, `base`, environment/region or stack/environment/region. Within one environment secrets are copied as well;
from another one, only if they are named or with --secrets.

Examples:
  chandlery copy eu-west-1 eu-central-1
  chandlery copy shop/production/base base SMTP_HOST SMTP_PASSWORD")]
pub(crate) struct CopyArgs {
    /// The layer to copy from.
    from: String,
    /// The layer to copy to, in this stack.
    to: String,
    /// Only these entries.
    names: Vec<EntryName>,
    /// Secrets too, from another environment, without naming them.
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn promote(args: &PromoteArgs, context: &mut Context) -> Result<(), Failure> {
    context.work_in(args.to.clone());
    let PromoteArgs { from, names, secrets, .. } = args;
    let copying = |terms: Terms| Copying {
        from_stack: None,
        from_environment: Some(from.clone()),
        layers: Vec::new(),
        names: names.clone(),
        secrets: *secrets,
        declare: Vec::new(),
        terms,
    };
    ask(&args.consent, context, copying)
}

pub(crate) fn copy(args: &CopyArgs, context: &mut Context) -> Result<(), Failure> {
    let (from, to) = (spot(&args.from)?, spot(&args.to)?);
    if to.0.as_ref().is_some_and(|stack| context.stack().is_ok_and(|here| here != stack)) {
        return Err(Failure::usage("what is copied goes to this stack", "name the other one with --stack"));
    }
    let from_environment = match from.1 {
        Some(environment) => environment,
        None => context.environment()?.clone(),
    };
    if let Some(environment) = to.1 {
        context.work_in(environment);
    }
    let copying = |terms: Terms| Copying {
        from_stack: from.0.clone(),
        from_environment: Some(from_environment.clone()),
        layers: vec![LayerPair { from: from.2.clone(), to: to.2.clone() }],
        names: args.names.clone(),
        secrets: args.secrets,
        declare: Vec::new(),
        terms,
    };
    ask(&args.consent, context, copying)
}

/// Declares a region with a copy of another one's overlay.
pub(crate) fn like(
    names: &[RegionName],
    model: &RegionName,
    consent: &Consent,
    context: &Context,
) -> Result<(), Failure> {
    let pair = |name: &RegionName| LayerPair { from: Layer::Overlay(model.clone()), to: Layer::Overlay(name.clone()) };
    let copying = |terms: Terms| Copying {
        from_stack: None,
        from_environment: None,
        layers: names.iter().map(pair).collect(),
        names: Vec::new(),
        secrets: true,
        declare: names.to_vec(),
        terms,
    };
    ask(consent, context, copying)
}

fn ask(consent: &Consent, context: &Context, copying: impl Fn(Terms) -> Copying) -> Result<(), Failure> {
    let path = Path::new(&["copies", context.stack()?.as_str(), context.environment()?.as_str()]);
    let client = context.client()?;
    consent.carry_out(context, |terms| client.post::<Changed>(&path, &copying(terms)), |_| String::new())
}

type Spot = (Option<StackName>, Option<EnvironmentName>, Layer);

fn spot(text: &str) -> Result<Spot, Failure> {
    let wrong = |error: NameError| {
        Failure::usage(format!("that is no layer: {error}"), "name a region, base, or environment/region")
    };
    let segments: Vec<&str> = text.split('/').collect();
    let layer = |text: &str| text.parse::<Layer>().map_err(wrong);
    match segments[..] {
        [one] => Ok((None, None, layer(one)?)),
        [environment, one] => Ok((None, Some(EnvironmentName::parse(environment).map_err(wrong)?), layer(one)?)),
        [stack, environment, one] => Ok((
            Some(StackName::parse(stack).map_err(wrong)?),
            Some(EnvironmentName::parse(environment).map_err(wrong)?),
            layer(one)?,
        )),
        _ => Err(Failure::usage("that is no layer", "name a region, base, or environment/region")),
    }
}
