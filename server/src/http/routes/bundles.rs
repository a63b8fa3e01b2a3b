use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use chandlery_wire::{Bundle, EnvironmentName, NodeName, Problem, RegionName, ServiceName, StackName};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Caller;
use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::problem::Failure;
use crate::vault::BundleOf;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ServiceQuery {
    /// The service whose bundle it is; what is granted to all services where it is left out.
    service: Option<ServiceName>,
    /// The node in whose region it is wanted: a machine's host name. Where the path names a region as well, they must
    /// agree.
    node: Option<NodeName>,
}

/// The bundle of an environment that has no regions, or of the region that a node is in.
#[utoipa::path(get, path = "/v1/bundles/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ServiceQuery),
    responses(
        (status = 200, body = Bundle),
        (status = 304, description = "If-None-Match names the bundle's revision"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn of_environment(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Query(query): Query<ServiceQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let of = BundleOf { stack, environment, region: None, node: query.node, service: query.service };
    answer(&app, &caller, of, &headers).await
}

/// The bundle of one region.
#[utoipa::path(get, path = "/v1/bundles/{stack}/{environment}/{region}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("region" = RegionName, Path), ServiceQuery),
    responses(
        (status = 200, body = Bundle),
        (status = 304, description = "If-None-Match names the bundle's revision"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn of_region(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, region)): Path<(StackName, EnvironmentName, RegionName)>,
    Query(query): Query<ServiceQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let of = BundleOf { stack, environment, region: Some(region), node: query.node, service: query.service };
    answer(&app, &caller, of, &headers).await
}

async fn answer(app: &App, caller: &Caller, of: BundleOf, headers: &HeaderMap) -> Result<Response, Failure> {
    let (revision, body) = app.vault()?.bundle(caller, of, known_revisions(headers)).await?;
    let response = Response::builder().header(header::ETAG, format!("\"{revision}\""));
    let response = match body {
        Some(body) => response.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)),
        None => response.status(StatusCode::NOT_MODIFIED).body(Body::empty()),
    };
    Ok(response.unwrap_or_default())
}

/// The revisions that `If-None-Match` names (RFC 9110, 13.1.2), as far as they are ours.
fn known_revisions(headers: &HeaderMap) -> Vec<u64> {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|header| header.to_str().ok());
    tags.flat_map(|tags| tags.split(','))
        .filter_map(|tag| tag.trim().trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?.parse().ok())
        .collect()
}
