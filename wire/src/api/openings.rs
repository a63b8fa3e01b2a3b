//! What is open to containers without a token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::name::{EnvironmentName, ProjectName, RegionName, ServiceName, StackName};

/// Containers that need no token: those of a project, for one environment of a stack. They are known by the unix socket
/// of a server on their host. `GET` and `PUT /v1/openings/{stack}/{environment}/{project}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct OpeningInfo {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub project: ProjectName,
    /// The images that a service's containers may be made of. A service that is not named may have any.
    #[serde(default)]
    pub images: BTreeMap<ServiceName, Vec<String>>,
    pub allow_exec: bool,
    pub since: String,
    /// The id of the token that said so.
    pub author: String,
}

/// `GET /v1/openings`: those of the environments that the token administers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct OpeningList {
    pub openings: Vec<OpeningInfo>,
    /// How the server that answers knows the containers of its own host; absent where it asks no Docker, and so knows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<ContainerHost>,
}

/// What a server's configuration says of the containers on its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct ContainerHost {
    /// `host_environment`: the one that they are in, where a project is open for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// `host_region`: the one that they are in, where an environment has regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
}

/// `PUT /v1/openings/{stack}/{environment}/{project}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The images that a service's containers may be made of, by id: `sha256:` and 64 hexadecimal digits. A service that
    /// is not named may have any.
    #[serde(default)]
    pub images: BTreeMap<ServiceName, Vec<String>>,
    /// Whether what `docker exec` starts in a container has the container's identity too.
    #[serde(default)]
    pub allow_exec: bool,
}
