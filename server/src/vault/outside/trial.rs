//! Trying references before they are written.

use std::sync::Arc;

use chandlery_wire::{Code, Delivery, EntryName, Fault, Value};

use super::super::Error;
use super::super::core::Core;
use super::{lost, partless};
use crate::source::{Address, Asker, Look, Reference};

impl Core {
    /// Reads what these references lead to, now and not from memory, and throws it away.
    ///
    /// # Errors
    /// Every one that cannot be read, or that the environment may not refer to.
    pub(in crate::vault) async fn try_references(
        self: &Arc<Self>,
        asker: Asker<'_>,
        entries: &[(&EntryName, &Value)],
    ) -> Result<(), Error> {
        let (mut faults, mut found) = (Vec::new(), Vec::new());
        let fault = |name: &EntryName, detail: String| Fault { name: name.to_string(), detail };
        for (name, text) in entries {
            match self.outside.admit(asker, text) {
                Ok(reference) => found.push((*name, reference)),
                Err(why) => faults.push(fault(name, why)),
            }
        }
        let refused = !faults.is_empty();
        let mut addresses: Vec<Address> = found.iter().map(|(_, reference)| reference.address.clone()).collect();
        addresses.sort();
        addresses.dedup();
        self.fetch(&addresses, true).await;
        let mut passing = faults.is_empty();
        for (name, Reference { address, key }) in found {
            let why = match self.outside.shelf.look(&address, self.clock.monotonic()).0 {
                Look::Fresh(held) | Look::Stale(held, _) => held.part(key.as_deref()).err().map(|why| {
                    passing = false;
                    let key = key.as_deref().unwrap_or_default();
                    partless(&format!("{address}#{key}"), &why)
                }),
                Look::Failed(error) => {
                    passing &= error.is_outage();
                    Some(lost(&error))
                }
                // Forgotten in this moment.
                Look::Due => None,
            };
            faults.extend(why.map(|why| fault(name, why)));
        }
        let (code, hint) = match (passing, refused) {
            (true, _) => (
                Code::SourceUnavailable,
                "nothing was written; try again in a while, or write it unread with --no-check",
            ),
            (false, false) => (Code::Invalid, "nothing was written; correct it, or write it unread with --no-check"),
            (false, true) => (Code::Invalid, "nothing was written; docs/SOURCES.md says what may be referred to"),
        };
        match &faults[..] {
            [] => Ok(()),
            [only] => Err(Error::new(code, format!("{} {}", only.name, only.detail)).hint(hint)),
            _ => Err(Error::new(code, format!("{} references cannot be read", faults.len())).hint(hint).faults(faults)),
        }
    }

    /// Whether what a reference leads to can be delivered so, as far as it is here: it was read a moment ago.
    ///
    /// # Errors
    /// Why not, for a sentence that begins with the entry's name.
    pub(in crate::vault) fn fits(&self, reference: &Reference, deliver: &Delivery) -> Result<(), Error> {
        let look = self.outside.shelf.look(&reference.address, self.clock.monotonic()).0;
        let (Look::Fresh(held) | Look::Stale(held, _), Delivery::Variable) = (look, deliver) else { return Ok(()) };
        match held.part(reference.key.as_deref()).is_ok_and(|value| value.expose_secret().contains(&0)) {
            true => Err(Error::new(
                Code::Invalid,
                "leads to a value with a NUL byte, which no variable can hold: deliver it as a file",
            )),
            false => Ok(()),
        }
    }
}
