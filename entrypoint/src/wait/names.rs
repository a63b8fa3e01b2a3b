//! The addresses of a name, asked for again and again: a container that was made anew has another one.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::target::Family;
use crate::sys;

/// Between two questions about a name that is known. docker-compose-wait asks once a second.
const KNOWN: Duration = Duration::from_millis(250);
/// About one that is not, at first. A question often goes on to somebody else's server, so the pauses grow with the time
/// that was waited already: by a twentieth of it.
const UNKNOWN: Duration = Duration::from_millis(50);
const MOST_UNKNOWN: Duration = Duration::from_secs(1);

/// The addresses of one host. A resolver may take seconds to answer: after the first question, which nothing
/// waits for, it has a thread of its own.
pub(super) struct Names {
    host: Arc<str>,
    port: u16,
    family: Family,
    found: Arc<Mutex<Vec<SocketAddr>>>,
    asking: bool,
}

impl Names {
    /// Asks once, and waits for the answer.
    pub(super) fn of(host: &Arc<str>, port: u16, family: Family) -> Self {
        let found = Arc::new(Mutex::new(resolve(host, port, family)));
        Self { host: Arc::clone(host), port, family, found, asking: host.parse::<std::net::IpAddr>().is_ok() }
    }

    /// The addresses as they were last known; none where there is no such name.
    pub(super) fn now(&self) -> Vec<SocketAddr> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on asking. Where no thread can be had, what is known stays.
    pub(super) fn go_on(&mut self) {
        if self.asking {
            return;
        }
        let (host, port, family, found) = (Arc::clone(&self.host), self.port, self.family, Arc::downgrade(&self.found));
        let thread = sys::spawn_undisturbed(move || ask(&host, port, family, &found));
        self.asking = thread.is_ok();
    }
}

/// Asks until nobody wants to know any more.
fn ask(host: &str, port: u16, family: Family, found: &Weak<Mutex<Vec<SocketAddr>>>) {
    let begin = Instant::now();
    let mut known = false;
    loop {
        let grown = (begin.elapsed() / 20).clamp(UNKNOWN, MOST_UNKNOWN);
        thread::sleep(if known { KNOWN } else { grown });
        if found.strong_count() == 0 {
            return;
        }
        let addresses = resolve(host, port, family);
        known = !addresses.is_empty();
        let Some(found) = found.upgrade() else { return };
        *found.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

fn resolve(host: &str, port: u16, family: Family) -> Vec<SocketAddr> {
    let addresses = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let wanted = |address: &SocketAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    addresses.unwrap_or_default().into_iter().filter(wanted).collect()
}
