//! AWS's failures as the vault's.

use chandlery_wire::{Code, Fault};

use crate::source::aws::{AwsError, Failing};
use crate::vault::Error;

impl From<AwsError> for Error {
    fn from(error: AwsError) -> Self {
        Self::new(code_of(&error), error.to_string()).hint(error.hint())
    }
}

fn code_of(error: &AwsError) -> Code {
    match &error.failing {
        Failing::NotFound | Failing::Deleted => Code::NotFound,
        Failing::Refused(_) | Failing::NoCredentials(_) | Failing::Misconfigured(_) | Failing::Key => {
            Code::SourceRefused
        }
        Failing::Exists | Failing::Moved => Code::Conflict,
        Failing::Invalid | Failing::Limit => Code::Invalid,
        Failing::Throttled | Failing::TimedOut | Failing::Unreachable(_) | Failing::Broken(_) => {
            Code::SourceUnavailable
        }
    }
}

/// Several failures as one: all of them are named.
pub(super) fn together(what: &str, errors: Vec<AwsError>) -> Error {
    let mut errors = errors;
    if errors.len() == 1 {
        return errors.remove(0).into();
    }
    let (code, hint) = errors.first().map_or((Code::Internal, String::new()), |first| (code_of(first), first.hint()));
    let fault = |error: &AwsError| Fault { name: error.region().to_string(), detail: error.to_string() };
    Error::new(code, what).hint(hint).faults(errors.iter().map(fault).collect())
}

/// What the server's configuration does not allow.
pub(super) fn denied((what, hint): (String, String)) -> Error {
    Error::new(Code::SourceRefused, what).hint(hint)
}
