//! The Docker API, as far as it is needed: two questions, over its unix socket.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chandlery_wire::Code;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::refused;
use crate::vault::Error;

/// For one question. An inspect takes 1 to 5 ms.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of an answer. That about a container of 60 variables has 12 KB.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Images whose labels are remembered. An image's id is the hash of what it is, so they never change.
const MOST_IMAGES: usize = 1_000;

/// What a container's or an image's author wrote on it.
pub(super) type Labels = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Docker {
    socket: PathBuf,
    images: Mutex<HashMap<String, Arc<Labels>>>,
}

/// What Docker says of a container that runs.
#[derive(Debug)]
pub(super) struct Inspected {
    /// 64 hexadecimal digits.
    pub(super) id: String,
    /// `sha256:…`
    pub(super) image: String,
    /// The container's first process.
    pub(super) first: u32,
    pub(super) labels: Labels,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerAnswer {
    id: String,
    image: String,
    state: State,
    config: LabelsAnswer,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageAnswer {
    config: Option<LabelsAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LabelsAnswer {
    labels: Option<Labels>,
}

impl Docker {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, images: Mutex::default() }
    }

    /// A container that runs, by its whole id.
    pub(super) async fn inspect(&self, id: &str) -> Result<Inspected, Error> {
        let answer: Option<ContainerAnswer> = self.ask(&format!("/containers/{id}/json")).await?;
        let unknown = || refused("this process is in a container that is not this Docker's");
        let answer = answer.filter(|answer| answer.id == id).ok_or_else(unknown)?;
        // A container that is just being started or stopped has no first process.
        if !answer.state.running || answer.state.pid == 0 {
            return Err(refused("this process is in a container that does not run"));
        }
        let ContainerAnswer { id, image, state, config } = answer;
        Ok(Inspected { id, image, first: state.pid, labels: config.labels.unwrap_or_default() })
    }

    /// The labels that came with an image.
    pub(super) async fn image_labels(&self, id: &str) -> Result<Arc<Labels>, Error> {
        if let Some(known) = self.images().get(id) {
            return Ok(Arc::clone(known));
        }
        let strange = !id.starts_with("sha256:") || !id[7..].bytes().all(|c| c.is_ascii_hexdigit());
        if strange {
            return Err(refused("this container's image has no id that is a hash"));
        }
        let answer: Option<ImageAnswer> = self.ask(&format!("/images/{id}/json")).await?;
        let answer = answer.ok_or_else(|| refused("this container's image was deleted"))?;
        let labels = Arc::new(answer.config.and_then(|config| config.labels).unwrap_or_default());
        let mut images = self.images();
        if images.len() >= MOST_IMAGES {
            images.clear();
        }
        images.insert(id.to_owned(), Arc::clone(&labels));
        Ok(labels)
    }

    fn images(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Labels>>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where there is no such thing.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let answer = tokio::time::timeout(PATIENCE, self.get(path)).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        let understood = answer.and_then(|(status, body)| match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).map(Some).map_err(|_| "its answer is not its API's".to_owned())
            }
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(format!("it answers {}", other.as_u16())),
        });
        understood.map_err(|why| {
            let what = format!("Docker at {} cannot be asked who this is: {why}", self.socket.display());
            Error::new(Code::IdentityUnavailable, what)
                .hint("start Docker, and put the server's user into the group of its socket; or use a token")
        })
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| error.to_string())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        // Ends when the sender is dropped, or the other side closes.
        let driver = tokio::spawn(connection);
        let request = Request::get(path).header(header::HOST, "docker").header(header::CONNECTION, "close");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        driver.abort();
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}
