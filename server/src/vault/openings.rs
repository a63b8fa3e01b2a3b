//! Containers without a token: which of them are opened, and what one that asks may do.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use chandlery_wire::api::{Open, OpeningInfo};
use chandlery_wire::{Code, EnvironmentName, ProjectName, Scope, ServiceName, StackName, Verb};

use super::attributes::rfc3339;
use super::operation::{Action, Done, blocking};
use super::records::{OPENINGS_MAC, Records, opening_fields, sign_openings};
use super::view::{list, undeclared};
use super::{BundleOf, Error, Vault};
use crate::access::{Caller, Container, Host, Peer, Resident, Trail, may};
use crate::crypto::{Definition, Keyring};
use crate::store::{OpeningRow, StoreError, Transaction};

/// In one store, at most: they are read and verified together.
const MOST_OPENINGS: usize = 1_000;
/// Of one service: the old and the new one, and room.
const MOST_IMAGES: usize = 20;

/// Which environment's opening for which project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningOf {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub project: ProjectName,
}

impl OpeningOf {
    fn scope(&self) -> Scope {
        Scope { stack: Some(self.stack.clone()), environment: Some(self.environment.clone()), ..Scope::default() }
    }

    fn target(&self) -> String {
        format!("{}/{} for {}", self.stack, self.environment, self.project)
    }

    fn is(&self, row: &OpeningRow) -> bool {
        row.stack == self.stack && row.environment == self.environment && row.project == self.project
    }
}

impl Vault {
    /// The openings of the environments that the caller administers.
    ///
    /// # Errors
    /// Where the caller administers nothing.
    pub async fn openings(&self, caller: &Caller) -> Result<Vec<OpeningInfo>, Error> {
        self.perform(caller, Action::new("read-openings"), |core, caller| {
            if !caller.verbs.contains(&Verb::Administer) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let mut rows = Records::new(snapshot, &keyring).openings()?;
                rows.retain(|row| may(caller, Verb::Administer, &of(row).scope()));
                let openings: Result<_, Error> = rows.into_iter().map(describe).collect();
                Ok(Done::new(openings?))
            })
        })
        .await
    }

    /// Opens an environment to the containers of a project, or changes how it is open.
    ///
    /// # Errors
    /// Where the caller does not administer the environment, and where it, or a service that is named, was not declared.
    pub async fn open_to(&self, caller: &Caller, which: OpeningOf, wish: Open) -> Result<OpeningInfo, Error> {
        let action = Action::new("open").on(which.target());
        self.perform(caller, action, move |core, caller| {
            if !may(caller, Verb::Administer, &which.scope()) {
                return Err(Error::forbidden());
            }
            check(&wish)?;
            let (keyring, author, now) = (core.keyring(), caller.id.to_string(), core.now());
            let (row, revision) = core.write(move |transaction| {
                let records = Records::new(&*transaction, &keyring);
                records.environment(&which.stack, &which.environment)?;
                let services = records.stack(&which.stack)?.services;
                if let Some(service) = wish.images.keys().find(|service| !services.contains(service)) {
                    let what =
                        format!("the stack {} has no service {service}; it has {}", which.stack, list(&services));
                    return Err(
                        Error::new(Code::NotFound, what).hint(format!("declare it: chandlery service add {service}"))
                    );
                }
                // Checked before they are signed again: a new one must not bless an old one.
                let rows = records.openings()?;
                if rows.len() >= MOST_OPENINGS && !rows.iter().any(|row| which.is(row)) {
                    return Err(Error::new(Code::TooLarge, format!("more than {MOST_OPENINGS} openings"))
                        .hint("close those that are not needed: chandlery stack close"));
                }
                let images = serde_json::to_string(&wish.images)
                    .map_err(|_| Error::new(Code::Internal, "an opening cannot be written as JSON"))?;
                let OpeningOf { stack, environment, project } = which;
                let (allow_exec, revision) = (wish.allow_exec, transaction.next_revision()?);
                let mac = [0; 32];
                let mut row =
                    OpeningRow { stack, environment, project, images, allow_exec, revision, created: now, author, mac };
                row.mac = Definition::Opening(opening_fields(&row)).sign(&keyring);
                transaction.put_opening(&row)?;
                seal(transaction, &keyring)?;
                Ok((row, revision))
            })?;
            Ok(Done::new(describe(row)?).revision(revision))
        })
        .await
    }

    /// Closes what was opened; it bites at the next request.
    ///
    /// # Errors
    /// Where the caller does not administer the environment, and where it is not open for that project.
    pub async fn close_to(&self, caller: &Caller, which: OpeningOf) -> Result<OpeningInfo, Error> {
        let action = Action::new("close").on(which.target());
        self.perform(caller, action, move |core, caller| {
            if !may(caller, Verb::Administer, &which.scope()) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            let (row, revision) = core.write(move |transaction| {
                let rows = Records::new(&*transaction, &keyring).openings()?;
                let row = rows.into_iter().find(|row| which.is(row)).ok_or_else(|| {
                    let OpeningOf { stack, environment, project } = &which;
                    let what = format!("{stack}/{environment} is not open for containers of {project}");
                    Error::new(Code::NotFound, what).hint("`chandlery stack openings` shows what is open")
                })?;
                transaction.remove_opening(&row)?;
                seal(transaction, &keyring)?;
                Ok::<_, Error>((row, transaction.next_revision()?))
            })?;
            Ok(Done::new(describe(row)?).revision(revision))
        })
        .await
    }

    /// What a container may do that came without a token: read its own bundle, if its project is open.
    ///
    /// # Errors
    /// Where it is not, where its image is not one that is named for its service, where it asks from `docker exec` and
    /// that is not allowed, and where its host is in no region that the environment has.
    pub async fn admit(
        &self,
        container: Container,
        host: &Host,
        peer: Option<Peer>,
        trail: Trail,
    ) -> Result<Caller, Error> {
        let caller = Caller { id: name(&container), ..Caller::anonymous(peer, trail) };
        caller.trail.identify(caller.id.clone());
        let resident = Resident { container, host: host.clone(), since: 0 };
        match self.reside(&caller, resident).await {
            Ok(admitted) => Ok(admitted),
            Err(error) => Err(self.fail(&caller, &Action::new("authenticate"), error).await),
        }
    }

    /// A container's caller as of now.
    pub(super) async fn reside(&self, caller: &Caller, resident: Resident) -> Result<Caller, Error> {
        let (core, caller) = (Arc::clone(&self.core), caller.clone());
        blocking(move || {
            let (as_of, keyring) = (core.store.change_counter()?, core.keyring());
            let Resident { container, host, .. } = &resident;
            let (scope, since) = core.read(|snapshot| scope_of(&Records::new(snapshot, &keyring), container, host))?;
            let resident = Some(Resident { since, ..resident });
            Ok(Caller { verbs: [Verb::ReadBundle].into(), scopes: [scope].into(), as_of, resident, ..caller })
        })
        .await
    }

    /// Writes the line of who was not let in, and says what to answer.
    pub async fn turn_away(&self, peer: Option<Peer>, trail: Trail, error: Error) -> Error {
        self.fail(&Caller::anonymous(peer, trail), &Action::new("authenticate"), error).await
    }

    /// Which bundle is the caller's own: what its one scope names, if nothing that it says about itself contradicts that.
    ///
    /// # Errors
    /// Where its scopes name more than one bundle, and where it says something else.
    pub async fn own(&self, caller: &Caller, said: Said) -> Result<BundleOf, Error> {
        match own(caller, said) {
            Ok(of) => Ok(of),
            Err(error) => Err(self.fail(caller, &Action::new("read-bundle"), error).await),
        }
    }
}

/// What a caller says about whose bundle it wants, where it need not say anything.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub stack: Option<StackName>,
    pub environment: Option<EnvironmentName>,
    pub region: Option<chandlery_wire::RegionName>,
    pub node: Option<chandlery_wire::NodeName>,
    pub service: Option<ServiceName>,
}

fn own(caller: &Caller, said: Said) -> Result<BundleOf, Error> {
    let [Scope { stack: Some(stack), environment: Some(environment), region, service }] = &*caller.scopes else {
        return Err(Error::new(Code::BadRequest, "this token is good for more than one environment's bundles").hint(
            "name one: GET /v1/bundles/{stack}/{environment}; in a container CHANDLERY_STACK, CHANDLERY_ENVIRONMENT",
        ));
    };
    fn part<T: Clone + PartialEq + Display>(what: &str, held: Option<&T>, said: Option<T>) -> Result<Option<T>, Error> {
        match (held, said) {
            (Some(held), Some(said)) if *held != said => {
                Err(Error::new(Code::Forbidden, format!("the {what} is {held}, and {said} was asked for"))
                    .hint(format!("take CHANDLERY_{} away; the server knows it", what.to_uppercase())))
            }
            (held, said) => Ok(said.or_else(|| held.cloned())),
        }
    }
    // Where neither names one, an environment that has regions says which it has.
    let region = part("region", region.as_ref(), said.region)?;
    let service = part("service", service.as_ref(), said.service)?;
    part("stack", Some(stack), said.stack)?;
    part("environment", Some(environment), said.environment)?;
    Ok(BundleOf { stack: stack.clone(), environment: environment.clone(), region, node: said.node, service })
}

/// As the audit log has it: whose container, and which.
fn name(container: &Container) -> Arc<str> {
    let Container { id, project, service, .. } = container;
    format!("container:{} {project}/{service}", &id[..id.len().min(12)]).into()
}

/// The one bundle that a container may read, and the revision since which it is that one.
fn scope_of(records: &Records<'_>, container: &Container, host: &Host) -> Result<(Scope, u64), Error> {
    let Container { project, service, image, exec, .. } = container;
    let mut rows = records.openings()?;
    rows.retain(|row| {
        row.project == *project && host.environment.as_ref().is_none_or(|environment| *environment == row.environment)
    });
    let refused = |what: String, hint: &str| Err(Error::new(Code::Forbidden, what).hint(hint));
    let row = match &rows[..] {
        [row] => row,
        [] => {
            let what = format!("no stack is open for containers of the project {project}");
            return Err(Error::new(Code::Forbidden, what).hint(format!(
                "open one: chandlery stack open -s STACK -e ENVIRONMENT --project {project}; or use a token"
            )));
        }
        _ => {
            let what = format!("several environments are open for containers of the project {project}");
            return refused(what, "say with the server's setting host_environment which one this host is in");
        }
    };
    if *exec && !row.allow_exec {
        let what = "this process was not started by the container's first process, but by `docker exec` or the like";
        return refused(what.to_owned(), "what is read there is in /run/secrets; or open the stack with --allow-exec");
    }
    if let Some(pinned) = images(row)?.get(service)
        && !pinned.contains(image)
    {
        let what = format!("the service {service} is pinned to other images than this container's");
        return refused(
            what,
            "if the image is the right one, open the stack with its id: docker image inspect -f '{{.Id}}' IMAGE",
        );
    }
    let environment = records.environment(&row.stack, &row.environment)?;
    let region = match &host.region {
        // Rule 3: an environment without regions resolves to its base, on whatever host.
        _ if environment.regions.is_empty() => None,
        Some(region) if environment.regions.contains(region) => Some(region.clone()),
        Some(region) => return Err(undeclared(&environment, "this host is configured as ", region)),
        None => {
            let what = format!(
                "{}/{} has regions, and this server does not say in which one its host is; declared are {}",
                row.stack,
                row.environment,
                list(&environment.regions)
            );
            return refused(what, "set host_region in the server's configuration");
        }
    };
    let (stack, environment) = (Some(row.stack.clone()), Some(row.environment.clone()));
    Ok((Scope { stack, environment, region, service: Some(service.clone()) }, row.revision))
}

fn check(wish: &Open) -> Result<(), Error> {
    let is_id = |image: &String| {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        image.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
    };
    if !wish.images.values().flatten().all(is_id) {
        return Err(Error::new(Code::Invalid, "an image is not named by its id")
            .hint("an id is sha256: and 64 hexadecimal digits: docker image inspect -f '{{.Id}}' IMAGE"));
    }
    match wish.images.iter().find(|(_, images)| images.is_empty() || images.len() > MOST_IMAGES) {
        Some((service, _)) => Err(Error::new(
            Code::Invalid,
            format!("the service {service} is pinned to no image, or to more than {MOST_IMAGES}"),
        )
        .hint("name one image or a few; leave the service out for any")),
        None => Ok(()),
    }
}

fn of(row: &OpeningRow) -> OpeningOf {
    let OpeningRow { stack, environment, project, .. } = row;
    OpeningOf { stack: stack.clone(), environment: environment.clone(), project: project.clone() }
}

fn images(row: &OpeningRow) -> Result<BTreeMap<ServiceName, Vec<String>>, Error> {
    serde_json::from_str(&row.images)
        .map_err(|_| Error::new(Code::Integrity, format!("the opening of {} cannot be read", of(row).target())))
}

fn describe(row: OpeningRow) -> Result<OpeningInfo, Error> {
    let images = images(&row)?;
    let OpeningRow { stack, environment, project, allow_exec, created, author, .. } = row;
    Ok(OpeningInfo { stack, environment, project, images, allow_exec, since: rfc3339(created), author })
}

/// The mac over all openings. Whoever calls it has checked the one before.
fn seal(transaction: &mut dyn Transaction, keyring: &Keyring) -> Result<(), StoreError> {
    let mac = sign_openings(&*transaction, keyring)?;
    transaction.set_meta(OPENINGS_MAC, &mac)
}
