use axum::extract::State;
use chandlery_wire::api::{DeclareEnvironment, DeclareStack, Stack, StackList};
use chandlery_wire::{EnvironmentName, Problem, RegionName, StackName};

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::problem::Failure;

/// The stacks within the token's scopes.
#[utoipa::path(get, path = "/v1/stacks", responses(
    (status = 200, body = StackList),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<StackList>, Failure> {
    Ok(axum::Json(app.vault()?.stacks(&caller).await?))
}

/// A stack's services, environments and regions.
#[utoipa::path(get, path = "/v1/stacks/{stack}", params(("stack" = StackName, Path)), responses(
    (status = 200, body = Stack),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack,)): Path<(StackName,)>,
) -> Result<axum::Json<Stack>, Failure> {
    Ok(axum::Json(app.vault()?.stack(&caller, stack).await?))
}

/// Declares a stack, or adds services to it.
#[utoipa::path(put, path = "/v1/stacks/{stack}", params(("stack" = StackName, Path)), request_body = DeclareStack, responses(
    (status = 200, body = Stack),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn declare(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack,)): Path<(StackName,)>,
    Json(body): Json<DeclareStack>,
) -> Result<axum::Json<Stack>, Failure> {
    Ok(axum::Json(app.vault()?.declare_stack(&caller, stack, body.services).await?))
}

/// Declares an environment, or adds regions to it.
#[utoipa::path(put, path = "/v1/stacks/{stack}/environments/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = DeclareEnvironment, responses(
    (status = 200, body = Stack),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn declare_environment(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<DeclareEnvironment>,
) -> Result<axum::Json<Stack>, Failure> {
    Ok(axum::Json(app.vault()?.declare_environment(&caller, stack, environment, body.regions).await?))
}

/// Takes a region back, if its overlay is empty.
#[utoipa::path(delete, path = "/v1/stacks/{stack}/environments/{environment}/regions/{region}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("region" = RegionName, Path)),
    responses(
    (status = 200, body = Stack),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn withdraw_region(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, region)): Path<(StackName, EnvironmentName, RegionName)>,
) -> Result<axum::Json<Stack>, Failure> {
    Ok(axum::Json(app.vault()?.withdraw_region(&caller, stack, environment, region).await?))
}
