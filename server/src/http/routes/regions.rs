use axum::extract::State;
use chandlery_wire::api::{Check, Checked, Compare, Comparison, Matrix};
use chandlery_wire::{EnvironmentName, Problem, ServiceName, StackName};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path, Query};
use crate::http::problem::Failure;
use crate::vault::MatrixOf;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct MatrixQuery {
    /// Only what this service gets.
    service: Option<ServiceName>,
    /// A revision (`42`), or a time (RFC 3339).
    at: Option<String>,
    /// Show secrets.
    #[serde(default)]
    reveal: bool,
}

/// Entries × regions: what the base says, and what each overlay.
#[utoipa::path(get, path = "/v1/matrix/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), MatrixQuery),
    responses(
        (status = 200, body = Matrix),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn matrix(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Query(MatrixQuery { service, at, reveal }): Query<MatrixQuery>,
) -> Result<axum::Json<Matrix>, Failure> {
    let of = MatrixOf { stack, environment, service, at, reveal };
    Ok(axum::Json(app.vault()?.matrix(&caller, of).await?))
}

/// What differs between two regions, environments, revisions or files.
#[utoipa::path(post, path = "/v1/comparisons/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = Compare,
    responses(
        (status = 200, body = Comparison),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn compare(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<Compare>,
) -> Result<axum::Json<Comparison>, Failure> {
    Ok(axum::Json(app.vault()?.compare(&caller, stack, environment, body).await?))
}

/// Whether everything is there that is declared, in every region, and of the right shape.
#[utoipa::path(post, path = "/v1/checks/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = Check,
    responses(
        (status = 200, body = Checked),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn check(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<Check>,
) -> Result<axum::Json<Checked>, Failure> {
    Ok(axum::Json(app.vault()?.check(&caller, stack, environment, body).await?))
}
