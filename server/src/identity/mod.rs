//! Who is at the other end of the unix socket: from a process to its container, and to what compose and Swarm call it.
//!
//! The kernel tells the process, `/proc` its control group, the control group the container's id, and the Docker API what
//! that container is. None of it is taken from what the container says. What is found out here is who it is; what it may
//! do is decided elsewhere.

mod cgroup;
mod docker;
mod labels;
mod process;

use std::path::PathBuf;

use chandlery_wire::Code;

pub use process::Process;

use crate::access::Container;
use crate::vault::Error;
use docker::{Docker, Inspected};

/// Finds out who asks.
#[derive(Debug)]
pub struct Identifier {
    docker: Docker,
}

impl Identifier {
    /// `socket` is where the Docker API listens.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { docker: Docker::new(socket) }
    }

    /// The container that a process is in.
    ///
    /// # Errors
    /// Where it is in none, or not in the one that it seems to be in; and where Docker cannot be asked.
    pub async fn identify(&self, process: &Process) -> Result<Container, Error> {
        let cgroups = process.cgroups().map_err(|why| gone(&why))?;
        let id = cgroup::container_id(&cgroups).ok_or_else(|| {
            refused("this process is in no container")
                .hint("outside a container a token is needed: chandlery token create")
        })?;
        let inspected = self.docker.inspect(id).await?;
        let found = self.check(process, &cgroups, inspected).await;
        // Last of all: what was read was read of the process that connected, and not of another with its number.
        process.same().map_err(|why| gone(&why))?;
        found
    }

    async fn check(&self, process: &Process, cgroups: &str, inspected: Inspected) -> Result<Container, Error> {
        let Inspected { id, image, first, labels } = inspected;
        // The id stands in a path that a container's parent group can be chosen to look like; the place of the
        // container's first process cannot.
        let main = process::cgroups(first).and_then(|found| Ok((found, process::stat(first)?)));
        let (main_cgroups, main) = main.map_err(|why| gone(&why))?;
        if main_cgroups != cgroups {
            return Err(refused("this process is not where its container is"));
        }
        let stat = process.stat().map_err(|why| gone(&why))?;
        // What `docker exec` starts begins a session of its own, and nobody can join another's. The parent tells less: who
        // is left without one becomes a child of the container's first process.
        let exec = main.session != first || stat.session != first;
        let of_image = self.docker.image_labels(&image).await?;
        let (project, service) = labels::read(&labels, &of_image)?;
        Ok(Container { id, project, service, image, exec })
    }
}

fn refused(what: &str) -> Error {
    Error::new(Code::Forbidden, what)
}

fn gone(why: &process::Unseen) -> Error {
    refused(&format!("the process that asks cannot be looked at: {why}"))
        .hint("the server must see it: run it on the host, or in a container with pid: host, and without hidepid")
}
