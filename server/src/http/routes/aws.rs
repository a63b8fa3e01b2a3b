use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use chandlery_wire::api::{AwsErrand, AwsImport, AwsImported, AwsPush, AwsPushed, Terms};
use chandlery_wire::{EntryName, EnvironmentName, Problem, StackName};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path, Query, wait};
use crate::http::problem::Failure;

/// How long to wait for the end of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct WaitQuery {
    /// How many seconds to wait for the end, before it is told how far it is.
    #[serde(default, deserialize_with = "wait")]
    #[param(value_type = u64, required = false, minimum = 0, maximum = 300, default = 0)]
    wait: Duration,
}

/// Begins to read secrets of AWS, with the server's own credentials.
#[utoipa::path(post, path = "/v1/aws/imports/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = AwsImport,
    responses(
        (status = 200, body = AwsErrand),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn begin_import(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(place): Path<(StackName, EnvironmentName)>,
    Json(body): Json<AwsImport>,
) -> Result<axum::Json<AwsErrand>, Failure> {
    Ok(axum::Json(app.vault()?.begin_aws_import(&caller, place, body).await?))
}

/// How far the reading is.
#[utoipa::path(get, path = "/v1/aws/imports/{stack}/{environment}/{id}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path), WaitQuery),
    responses(
        (status = 200, body = AwsErrand),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn import_status(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<WaitQuery>,
) -> Result<axum::Json<AwsErrand>, Failure> {
    caller.trail.allow(query.wait);
    Ok(axum::Json(app.vault()?.aws_import_status(&caller, (stack, environment), id, query.wait).await?))
}

/// Writes what was read into the store, or says what would be written. No secret's value leaves the server.
#[utoipa::path(post, path = "/v1/aws/imports/{stack}/{environment}/{id}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path)),
    request_body = Terms,
    responses(
        (status = 200, body = AwsImported),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn import(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
    Json(body): Json<Terms>,
) -> Result<axum::Json<AwsImported>, Failure> {
    Ok(axum::Json(app.vault()?.aws_import(&caller, (stack, environment), id, body).await?))
}

/// Forgets what was read.
#[utoipa::path(delete, path = "/v1/aws/imports/{stack}/{environment}/{id}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path)),
    responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn end_import(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
) -> Result<StatusCode, Failure> {
    app.vault()?.end_aws_import(&caller, (stack, environment), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins to find out what AWS has otherwise than the store.
#[utoipa::path(post, path = "/v1/aws/pushes/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = AwsPush,
    responses(
        (status = 200, body = AwsErrand),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn begin_push(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(place): Path<(StackName, EnvironmentName)>,
    Json(body): Json<AwsPush>,
) -> Result<axum::Json<AwsErrand>, Failure> {
    Ok(axum::Json(app.vault()?.begin_aws_push(&caller, place, body).await?))
}

/// How far the comparing is, or the writing.
#[utoipa::path(get, path = "/v1/aws/pushes/{stack}/{environment}/{id}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path), WaitQuery),
    responses(
        (status = 200, body = AwsErrand),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn push_status(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<WaitQuery>,
) -> Result<axum::Json<AwsErrand>, Failure> {
    caller.trail.allow(query.wait);
    Ok(axum::Json(app.vault()?.aws_push_status(&caller, (stack, environment), id, query.wait).await?))
}

/// What is to be written to AWS; after it was, what became of it. It holds no value.
#[utoipa::path(get, path = "/v1/aws/pushes/{stack}/{environment}/{id}/secrets",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path)),
    responses(
        (status = 200, body = AwsPushed),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn pushed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
) -> Result<axum::Json<AwsPushed>, Failure> {
    Ok(axum::Json(app.vault()?.aws_push(&caller, (stack, environment), id).await?))
}

/// Begins to write what differs.
#[utoipa::path(post, path = "/v1/aws/pushes/{stack}/{environment}/{id}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("id" = EntryName, Path)),
    responses(
        (status = 200, body = AwsErrand),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn push(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, id)): Path<(StackName, EnvironmentName, EntryName)>,
) -> Result<axum::Json<AwsErrand>, Failure> {
    Ok(axum::Json(app.vault()?.carry_out_aws_push(&caller, (stack, environment), id).await?))
}
