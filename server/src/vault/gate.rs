//! Whether the vault is open: a server whose root key is not at hand runs, and serves nothing but the reason.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Error, Vault};

#[derive(Debug)]
pub struct Gate(RwLock<Result<Arc<Vault>, Error>>);

impl Gate {
    #[must_use]
    pub fn open(vault: Arc<Vault>) -> Self {
        Self(RwLock::new(Ok(vault)))
    }

    #[must_use]
    pub fn sealed(reason: Error) -> Self {
        Self(RwLock::new(Err(reason)))
    }

    pub fn unseal(&self, vault: Arc<Vault>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Ok(vault);
    }

    /// Says why it is sealed now.
    pub fn seal(&self, reason: Error) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Err(reason);
    }

    /// # Errors
    /// The reason why the vault is sealed.
    pub fn vault(&self) -> Result<Arc<Vault>, Error> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
