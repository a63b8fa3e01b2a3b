use axum::extract::State;
use chandlery_wire::api::{ChangeSet, Changed, Copying, Factored, Factoring, Rollback};
use chandlery_wire::{EnvironmentName, Problem, StackName};

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::problem::Failure;

/// Changes entries across the base and the overlays, all of them or none.
#[utoipa::path(post, path = "/v1/changes/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = ChangeSet,
    responses(
        (status = 200, body = Changed),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn change(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<ChangeSet>,
) -> Result<axum::Json<Changed>, Failure> {
    Ok(axum::Json(app.vault()?.change(&caller, stack, environment, body).await?))
}

/// Turns full copies, one a region, into one base and what differs.
#[utoipa::path(post, path = "/v1/factorings/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = Factoring,
    responses(
        (status = 200, body = Factored),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn factor(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<Factoring>,
) -> Result<axum::Json<Factored>, Failure> {
    Ok(axum::Json(app.vault()?.factor(&caller, stack, environment, body).await?))
}

/// Writes what another environment or layer has. No value leaves the server.
#[utoipa::path(post, path = "/v1/copies/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = Copying,
    responses(
        (status = 200, body = Changed),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn copy(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<Copying>,
) -> Result<axum::Json<Changed>, Failure> {
    Ok(axum::Json(app.vault()?.copy(&caller, stack, environment, body).await?))
}

/// Writes everything again as it was at a revision or a time.
#[utoipa::path(post, path = "/v1/rollbacks/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = Rollback,
    responses(
        (status = 200, body = Changed),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn roll_back(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<Rollback>,
) -> Result<axum::Json<Changed>, Failure> {
    Ok(axum::Json(app.vault()?.roll_back(&caller, stack, environment, body).await?))
}
