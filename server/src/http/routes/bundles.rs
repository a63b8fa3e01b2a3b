use std::time::Duration;

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
use crate::http::extract::{Path, Query, wait};
use crate::http::problem::Failure;
use crate::vault::{BundleOf, NoWait, Patience, Said, Watched};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct BundleQuery {
    /// The service whose bundle it is; what is granted to all services where it is left out.
    service: Option<ServiceName>,
    /// The node in whose region it is wanted: a machine's host name. Where the path names a region as well, they must
    /// agree.
    node: Option<NodeName>,
    /// How many seconds to wait for another revision, where If-None-Match names the one there is.
    #[serde(default, deserialize_with = "wait")]
    #[param(value_type = u64, required = false, minimum = 0, maximum = 300, default = 0)]
    wait: Duration,
    /// The bundle as it was: at a revision (`42`), or a time (RFC 3339).
    at: Option<String>,
}

/// The bundle of an environment that has no regions, or of the region that a node is in.
#[utoipa::path(get, path = "/v1/bundles/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), BundleQuery,
        ("If-None-Match" = Option<String>, Header, description = "ETags of the revisions that the client has")),
    responses(
        (status = 200, body = Bundle),
        (status = 304, description = "If-None-Match names the bundle's revision, and the wait is over. With Retry-After, \
            more wait already than may: ask again after so many seconds"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn of_environment(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Query(query): Query<BundleQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let of = BundleOf { stack, environment, region: None, node: query.node, service: query.service };
    if let Some(at) = query.at {
        return past(&app, &caller, of, at).await;
    }
    answer(&app, &caller, of, query.wait, headers).await
}

/// The bundle of one region.
#[utoipa::path(get, path = "/v1/bundles/{stack}/{environment}/{region}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("region" = RegionName, Path), BundleQuery,
        ("If-None-Match" = Option<String>, Header, description = "ETags of the revisions that the client has")),
    responses(
        (status = 200, body = Bundle),
        (status = 304, description = "If-None-Match names the bundle's revision, and the wait is over. With Retry-After, \
            more wait already than may: ask again after so many seconds"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn of_region(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, region)): Path<(StackName, EnvironmentName, RegionName)>,
    Query(query): Query<BundleQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let of = BundleOf { stack, environment, region: Some(region), node: query.node, service: query.service };
    if let Some(at) = query.at {
        return past(&app, &caller, of, at).await;
    }
    answer(&app, &caller, of, query.wait, headers).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct OwnQuery {
    /// Nothing has to be said; what is said must be true.
    stack: Option<StackName>,
    environment: Option<EnvironmentName>,
    region: Option<RegionName>,
    node: Option<NodeName>,
    service: Option<ServiceName>,
    /// How many seconds to wait for another revision, where If-None-Match names the one there is.
    #[serde(default, deserialize_with = "wait")]
    #[param(value_type = u64, required = false, minimum = 0, maximum = 300, default = 0)]
    wait: Duration,
}

/// The caller's own bundle: a container's that is known by the unix socket, or that of a token with one scope.
#[utoipa::path(get, path = "/v1/bundle", 
    params(OwnQuery, ("If-None-Match" = Option<String>, Header, description = "ETags of the revisions that the client has")),
    responses(
    (status = 200, body = Bundle),
    (status = 304, description = "If-None-Match names the bundle's revision, and the wait is over. With Retry-After, \
        more wait already than may: ask again after so many seconds"),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn own(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Query(query): Query<OwnQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let OwnQuery { stack, environment, region, node, service, wait } = query;
    let of = app.vault()?.own(&caller, Said { stack, environment, region, node, service }).await?;
    answer(&app, &caller, of, wait, headers).await
}

async fn answer(
    app: &App,
    caller: &Caller,
    of: BundleOf,
    wait: Duration,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let known = known_revisions(&headers);
    // They hold the token's text, and may have to be kept for as long as the wait is.
    drop(headers);
    let vault = app.vault()?;
    let Watched { revision, body, cut } = if known.is_empty() || wait.is_zero() {
        let (revision, body) = vault.bundle(caller, of, known).await?;
        Watched { revision, body, cut: None }
    } else {
        vault.next_bundle(caller, of, known, Patience { wait, most: app.limits.waiting }).await?
    };
    let mut response = Response::builder().header(header::ETAG, format!("\"{revision}\""));
    if cut.is_some() {
        // The next one may need the connection more.
        response = response.header(header::CONNECTION, "close");
    }
    if cut == Some(NoWait::Crowded) {
        response = response.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    let response = match body {
        Some(body) => response.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)),
        None => response.status(StatusCode::NOT_MODIFIED).body(Body::empty()),
    };
    Ok(response.unwrap_or_default())
}

/// What was, does not change: nothing is waited for, and nobody has it already.
async fn past(app: &App, caller: &Caller, of: BundleOf, at: String) -> Result<Response, Failure> {
    let (_, body) = app.vault()?.bundle_at(caller, of, at).await?;
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(response.body(Body::from(body.unwrap_or_default())).unwrap_or_default())
}

/// For those who find no place to wait: so often is a change looked for without one.
const RETRY_AFTER_SECONDS: u64 = 10;

/// The revisions that `If-None-Match` names (RFC 9110, 13.1.2), as far as they are ours.
fn known_revisions(headers: &HeaderMap) -> Vec<u64> {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|header| header.to_str().ok());
    tags.flat_map(|tags| tags.split(','))
        .filter_map(|tag| tag.trim().trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?.parse().ok())
        .collect()
}
