use axum::Json;
use axum::extract::State;
use chandlery_wire::api::Explanation;
use chandlery_wire::{EntryName, EnvironmentName, Problem, RegionName, ServiceName, StackName};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::problem::Failure;
use crate::vault::BundleOf;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ViewQuery {
    /// The region whose view is explained.
    region: Option<RegionName>,
    /// The service whose view is explained.
    service: Option<ServiceName>,
}

/// Why a service gets the value it gets: which layer won, what it hid, what its template used.
#[utoipa::path(get, path = "/v1/explanations/{stack}/{environment}/{name}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), ViewQuery),
    responses(
        (status = 200, body = Explanation),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn explain(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(ViewQuery { region, service }): Query<ViewQuery>,
) -> Result<Json<Explanation>, Failure> {
    let of = BundleOf { stack, environment, region, node: None, service };
    Ok(Json(app.vault()?.explain(&caller, of, name).await?))
}
