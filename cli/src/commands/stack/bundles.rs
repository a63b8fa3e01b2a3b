//! What each service gets.

use chandlery_wire::{Bundle, EnvironmentName, RegionName, StackName};

use crate::client::{Client, Path};
use crate::failure::Failure;

/// The bundles of one environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bundles<'a> {
    pub(super) client: &'a Client,
    pub(super) stack: &'a StackName,
    pub(super) environment: &'a EnvironmentName,
}

impl Bundles<'_> {
    pub(super) fn get(&self, service: &str, region: Option<&RegionName>) -> Result<Bundle, Failure> {
        let mut segments = vec!["bundles", self.stack.as_str(), self.environment.as_str()];
        segments.extend(region.map(AsRef::<str>::as_ref));
        self.client.get(&Path::new(&segments).query("service", Some(service)))
    }
}
