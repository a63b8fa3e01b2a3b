//! Outside sources of values: an entry may say where its value is kept instead of holding it.
//!
//! A [`Reference`] is `scheme:locator#key`. Its [`Address`] (without the key) is what is fetched, once for all keys; a
//! [`Source`] does it for its scheme. A [`Shelf`] keeps in memory what was fetched: for how long it is good, when it is
//! to be asked for again, and who is asking at the moment. What comes from a source is plaintext that was never the
//! store's: it is [`Value`], and nothing here logs it, stores it or puts it into an error.
//!
//! The server's own rights reach further than those who write entries: a source serves nobody but the environments, and
//! nothing but the secrets, that the server's configuration names.

pub mod aws;
mod error;
mod exec;
mod file;
mod held;
mod pick;
mod place;
mod reference;
mod rules;
mod shelf;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chandlery_wire::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use error::{SourceError, Trouble};
pub use exec::{Exec, Program};
pub use file::{Directory, File};
pub use held::Held;
pub use place::{Asker, Pattern, Place};
pub use reference::{Address, Reference, Scheme};
pub use rules::Rules;
pub use shelf::{Freshness, Look, Shelf, Task};

/// How long one fetch may take, whatever a source allows itself. Shorter than a request may take, so that who waits for
/// it is told what is wrong.
const DEADLINE: Duration = Duration::from_secs(6);
/// What a fetch may take of the time that a request has, where that is less.
const SHARE: f64 = 0.6;

/// What a fetch comes to: an answer to each locator, in their order.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Vec<Result<Value, SourceError>>> + Send + 'a>>;

/// Somewhere outside where values are kept.
pub trait Source: fmt::Debug + Send + Sync {
    /// Whether the server's configuration lets this environment have what the locator names, and whether it is one.
    /// Decided without asking anybody outside, so that a refusal tells nothing.
    ///
    /// # Errors
    /// Says what is not allowed, and what the configuration would have to say.
    fn admit(&self, asker: Asker<'_>, locator: &str) -> Result<(), SourceError>;

    /// Fetches all of these, in as few steps as it can. A future that is dropped gives up.
    fn fetch<'a>(&'a self, locators: &'a [String]) -> Fetching<'a>;
}

/// The sources that this server may ask.
#[derive(Debug, Clone)]
pub struct Sources {
    by_scheme: BTreeMap<Scheme, Arc<dyn Source>>,
    deadline: Duration,
}

impl Default for Sources {
    fn default() -> Self {
        Self { by_scheme: BTreeMap::new(), deadline: DEADLINE }
    }
}

impl Sources {
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self::default()
            .with(Scheme::Exec, Arc::new(Exec::new(rules.exec.run.clone())))
            .with(Scheme::File, Arc::new(File::new(rules.file.read.clone())))
    }

    /// The same, and another one for this scheme.
    #[must_use]
    pub fn with(mut self, scheme: Scheme, source: Arc<dyn Source>) -> Self {
        self.by_scheme.insert(scheme, source);
        self
    }

    /// The same, for requests that may take no longer than this.
    #[must_use]
    pub fn within(self, request: Duration) -> Self {
        Self { deadline: DEADLINE.min(request.mul_f64(SHARE)), ..self }
    }

    /// As [`Source::admit`].
    ///
    /// # Errors
    /// As there; and where there is no such source in this server.
    pub fn admit(&self, asker: Asker<'_>, address: &Address) -> Result<(), SourceError> {
        match self.by_scheme.get(&address.scheme) {
            Some(source) => source.admit(asker, &address.locator),
            None => Err(absent(address.scheme)),
        }
    }

    /// Asks all sources that are concerned, at the same time, for no longer than a few seconds.
    pub async fn fetch(&self, addresses: Vec<Address>) -> Vec<(Address, Result<Value, SourceError>)> {
        let mut by_scheme: BTreeMap<Scheme, Vec<String>> = BTreeMap::new();
        for address in &addresses {
            by_scheme.entry(address.scheme).or_default().push(address.locator.clone());
        }
        let mut tasks = JoinSet::new();
        for (scheme, locators) in by_scheme {
            let source = self.by_scheme.get(&scheme).map(Arc::clone);
            let deadline = self.deadline;
            tasks.spawn(async move {
                let Some(source) = source else { return absent_all(scheme, locators) };
                let mut values = timeout(deadline, source.fetch(&locators)).await.unwrap_or_default().into_iter();
                let each = locators.iter().map(|locator| {
                    let address = Address { scheme, locator: locator.clone() };
                    let silence = || Err(SourceError::silent(&address, deadline));
                    let answer = values.next().unwrap_or_else(silence);
                    (address, answer)
                });
                each.collect()
            });
        }
        let mut answers: Vec<(Address, Result<Value, SourceError>)> = Vec::new();
        while let Some(task) = tasks.join_next().await {
            answers.extend(task.unwrap_or_default());
        }
        // A source that broke down inside the server answers nothing.
        for address in addresses {
            if !answers.iter().any(|(answered, _)| *answered == address) {
                let error =
                    SourceError::new(Trouble::Unreachable, format!("{address} cannot be read: the server failed"));
                answers.push((address, Err(error)));
            }
        }
        answers
    }
}

fn absent_all(scheme: Scheme, locators: Vec<String>) -> Vec<(Address, Result<Value, SourceError>)> {
    locators.into_iter().map(|locator| (Address { scheme, locator }, Err(absent(scheme)))).collect()
}

fn absent(scheme: Scheme) -> SourceError {
    SourceError::new(Trouble::Refused, format!("this server has no source {scheme}:"))
        .hint(format!("see [source.{scheme}] in docs/SOURCES.md"))
}
