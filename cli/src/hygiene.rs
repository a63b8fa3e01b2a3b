//! What keeps plaintext in this process from lying around: no core dumps, not dumpable.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::failure::{Exit, Failure};
use crate::output;

/// The core limit as it was found, to be given back to a command that is run.
#[derive(Debug)]
pub(crate) struct CoreLimit(Rlimit);

/// Turns core dumps off for this process. It cannot fail for the limits it sets, and where a sandbox forbids it, the
/// CLI still works: the limit is a second line of defence.
pub(crate) fn no_core_dumps() -> CoreLimit {
    let found = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: found.maximum });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    CoreLimit(found)
}

/// Says where a panic was and nothing else: Rust's own message quotes the text that was cut at a wrong place, and that
/// may be a value.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let what = format!("this is a defect of chandlery, at {place}");
        output::failure(&Failure::failed(what, "please report it, with the command but without its values"));
        std::process::exit(Exit::Failed as i32);
    }));
}

impl CoreLimit {
    /// Gives the limit back. The kernel makes a process dumpable again by itself when it execs.
    pub(crate) fn restore(self) {
        let _ = setrlimit(Resource::Core, self.0);
    }
}
