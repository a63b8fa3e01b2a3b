use axum::extract::State;
use chandlery_wire::api::{ContainerHost, Open, OpeningInfo, OpeningList};
use chandlery_wire::{EnvironmentName, Problem, ProjectName, StackName};

use crate::access::Host;
use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::problem::Failure;
use crate::vault::OpeningOf;

/// Which environments are open to containers without a token.
#[utoipa::path(get, path = "/v1/openings", responses(
    (status = 200, body = OpeningList),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<OpeningList>, Failure> {
    let openings = app.vault()?.openings(&caller).await?;
    let host = app.identity.as_ref().map(|identity| identity.host.clone());
    let host = host.map(|Host { environment, region }| ContainerHost { environment, region });
    Ok(axum::Json(OpeningList { openings, host }))
}

/// Opens an environment to the containers of a project, or changes how it is open.
#[utoipa::path(put, path = "/v1/openings/{stack}/{environment}/{project}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("project" = ProjectName, Path)),
    request_body = Open, responses(
    (status = 200, body = OpeningInfo),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn open(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, project)): Path<(StackName, EnvironmentName, ProjectName)>,
    Json(body): Json<Open>,
) -> Result<axum::Json<OpeningInfo>, Failure> {
    let which = OpeningOf { stack, environment, project };
    Ok(axum::Json(app.vault()?.open_to(&caller, which, body).await?))
}

/// Closes what was opened, from the next request on.
#[utoipa::path(delete, path = "/v1/openings/{stack}/{environment}/{project}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("project" = ProjectName, Path)),
    responses(
    (status = 200, body = OpeningInfo),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn close(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, project)): Path<(StackName, EnvironmentName, ProjectName)>,
) -> Result<axum::Json<OpeningInfo>, Failure> {
    Ok(axum::Json(app.vault()?.close_to(&caller, OpeningOf { stack, environment, project }).await?))
}
