//! Reading and checking the audit log.

use chandlery_wire::api::{AuditList, AuditVerification};
use chandlery_wire::{Code, Scope, Verb};

use super::operation::{Action, Done};
use super::{Error, Vault};
use crate::access::{Caller, may};
use crate::audit::Filter;

/// Which records: as they come in a query.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    pub entry: Option<String>,
    pub caller: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub limit: Option<usize>,
}

impl Vault {
    /// Audit records, oldest first. The log tells of every stack, so it is for callers that are limited to none.
    ///
    /// # Errors
    /// Where the caller may not, where a time is none, and where the log cannot be read.
    pub async fn audit_records(&self, caller: &Caller, query: AuditQuery) -> Result<AuditList, Error> {
        self.perform(caller, Action::new("read-audit"), move |core, caller| {
            require(caller)?;
            let filter = filter(query)?;
            Ok(Done::new(core.audit.query(&filter)?))
        })
        .await
    }

    /// Checks the whole chain.
    ///
    /// # Errors
    /// Where the caller may not, and where the log cannot be read. A broken chain is no error but the answer.
    pub async fn verify_audit(&self, caller: &Caller) -> Result<AuditVerification, Error> {
        self.perform(caller, Action::new("read-audit-verification"), move |core, caller| {
            require(caller)?;
            Ok(Done::new(core.audit.verify()?))
        })
        .await
    }
}

fn require(caller: &Caller) -> Result<(), Error> {
    if may(caller, Verb::Administer, &Scope::default()) { Ok(()) } else { Err(Error::forbidden()) }
}

fn filter(query: AuditQuery) -> Result<Filter, Error> {
    let time = |name: &str, text: Option<String>| {
        text.map(|text| {
            text.parse().map_err(|_| {
                Error::new(Code::BadRequest, format!("{name} is not a time"))
                    .hint("times are RFC 3339, as in 2026-11-21T10:00:00Z")
            })
        })
        .transpose()
    };
    let mut filter = Filter { entry: query.entry, caller: query.caller, ..Filter::default() };
    filter.since = time("since", query.since)?;
    filter.until = time("until", query.until)?;
    if let Some(limit) = query.limit {
        if !(1..=crate::audit::MAX_LIMIT).contains(&limit) {
            return Err(Error::new(Code::BadRequest, format!("limit is not 1 to {}", crate::audit::MAX_LIMIT))
                .hint("narrow the query with since, until, entry or caller"));
        }
        filter.limit = Some(limit);
    }
    Ok(filter)
}
