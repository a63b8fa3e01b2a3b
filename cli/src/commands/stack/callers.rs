//! Who each service's process is: to the files that are mounted for it, and to the server.

use chandlery_wire::ServiceName;

use super::door::{Open, Process};
use super::identity::{Holder, Road, Scopes, token_variable};
use super::place::Region;
use super::render::Prepared;
use crate::compose::Service;
use crate::compose::overlay::{Image, Supply};
use crate::failure::Failure;

impl Prepared<'_> {
    /// Whether the services that are pinned to images are of these.
    pub(super) fn check_pins(
        &self,
        open: &Open,
        services: &[&Service],
        images: &[(String, Image)],
    ) -> Result<(), Failure> {
        let pinned = services.iter().zip(images).filter(|(service, _)| open.pins(&service.name).is_some());
        let made_of = pinned.map(|(service, (name, _))| {
            let id = self.runner.dock.image_id(name).unwrap_or_default();
            (service.name.as_str(), id)
        });
        open.images(&made_of.collect::<Vec<_>>()).map_err(Failure::from)
    }

    pub(super) fn identity(&self, service: &Service, road: &Road, place: &Region) -> Vec<(&'static str, String)> {
        let mut identity = road.variables();
        identity.push(("CHANDLERY_STACK", self.stack.to_string()));
        identity.push(("CHANDLERY_ENVIRONMENT", self.environment.to_string()));
        match place {
            Region::One(region) => {
                identity.extend(region.iter().map(|region| ("CHANDLERY_REGION", region.to_string())));
            }
            Region::OfNode(_) => identity.push(("CHANDLERY_NODE", "{{.Node.Hostname}}".to_owned())),
        }
        identity.push(("CHANDLERY_SERVICE", service.name.clone()));
        if self.args.identity.is_token() {
            identity.push(token_variable());
        }
        identity
    }

    pub(super) fn hand_out_tokens(&self, supplies: &mut [Supply<'_>], place: &Region) -> Result<(), Failure> {
        if !self.args.identity.is_token() {
            return Ok(());
        }
        let mut holders = Vec::new();
        for supply in supplies.iter() {
            let service = ServiceName::parse(supply.service.name.as_str());
            let service =
                service.map_err(|error| Failure::usage(error.to_string(), "rename the service, or use --except"))?;
            let own = rustix::process::geteuid().is_root();
            holders.push(Holder { service, for_others: supply.owner.is_some() || (is_bare(supply.service) && !own) });
        }
        let scopes = Scopes { stack: &self.stack, environment: &self.environment, region: place.one() };
        let mut tokens = self.args.identity.tokens(&self.client, &self.state, scopes, &holders)?;
        for (supply, holder) in supplies.iter_mut().zip(&holders) {
            supply.token = tokens.remove(&holder.service);
        }
        Ok(())
    }
}

/// Whom the host's files see.
pub(super) fn process(service: &Service, owner: Option<(u32, u32)>) -> Process {
    let (uid, gid) = owner.unwrap_or_default();
    Process { uid, gid, overrides: owner.is_none() && !is_bare(service) }
}

/// Without its capabilities, not even root reads a file of another user.
fn is_bare(service: &Service) -> bool {
    service.cap_drop.iter().any(|name| matches!(name.to_uppercase().as_str(), "ALL" | "DAC_OVERRIDE"))
}
