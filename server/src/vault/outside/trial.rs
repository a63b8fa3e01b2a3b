//! Trying references before they are written.

use std::sync::Arc;

use chandlery_wire::{Code, EntryName, Fault, Value};

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
        let hint = match faults.is_empty() {
            true => "nothing was written; correct it, or write it unread with --no-check",
            false => "nothing was written; docs/SOURCES.md says what may be referred to",
        };
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
        let code = if passing { Code::SourceUnavailable } else { Code::Invalid };
        match &faults[..] {
            [] => Ok(()),
            [only] => Err(Error::new(code, format!("{} {}", only.name, only.detail)).hint(hint)),
            _ => Err(Error::new(code, format!("{} references cannot be read", faults.len())).hint(hint).faults(faults)),
        }
    }
}
