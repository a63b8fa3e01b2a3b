use axum::extract::State;
use chandlery_wire::api::{Node, NodeList, PlaceNode};
use chandlery_wire::{NodeName, Problem};

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::problem::Failure;

/// The nodes in the regions that the token reaches.
#[utoipa::path(get, path = "/v1/nodes", responses(
    (status = 200, body = NodeList),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<NodeList>, Failure> {
    Ok(axum::Json(app.vault()?.nodes(&caller).await?))
}

/// One node and its region.
#[utoipa::path(get, path = "/v1/nodes/{node}", params(("node" = NodeName, Path)), responses(
    (status = 200, body = Node),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((node,)): Path<(NodeName,)>,
) -> Result<axum::Json<Node>, Failure> {
    Ok(axum::Json(app.vault()?.node(&caller, node).await?))
}

/// Registers a node, or moves it to another region.
#[utoipa::path(put, path = "/v1/nodes/{node}", params(("node" = NodeName, Path)), request_body = PlaceNode, responses(
    (status = 200, body = Node),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn place(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((node,)): Path<(NodeName,)>,
    Json(body): Json<PlaceNode>,
) -> Result<axum::Json<Node>, Failure> {
    Ok(axum::Json(app.vault()?.place_node(&caller, node, body.region).await?))
}

/// Removes a node, and revokes the tokens that are bound to it.
#[utoipa::path(delete, path = "/v1/nodes/{node}", params(("node" = NodeName, Path)), responses(
    (status = 200, body = Node),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((node,)): Path<(NodeName,)>,
) -> Result<axum::Json<Node>, Failure> {
    Ok(axum::Json(app.vault()?.remove_node(&caller, node).await?))
}
