//! One host, watched until it accepts a connection.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{Pace, Sight, Target};
use crate::sys;

/// After a refusal, which costs next to nothing on both sides.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// After a name that is not found, which costs a query, and often one to somebody else's server.
const AFTER_NO_NAME: Duration = Duration::from_millis(50);
/// After silence. The kernel itself asks again only after a second: a fresh attempt is faster, and the earlier ones
/// stay, in case their answer is only slow.
const AFTER_SILENCE: Duration = Duration::from_millis(100);
/// What has not come after this will not come within milliseconds.
const FAST_FOR: Duration = Duration::from_secs(60);
const AFTER_A_LONG_TIME: Duration = Duration::from_millis(500);

/// An attempt that has no answer yet.
struct Attempt {
    socket: TcpStream,
    begun: Instant,
}

/// Tries to connect until it works or the deadline passes, and tells what it sees.
pub(super) fn watch(target: &Target, pace: Pace, deadline: Instant, mut tell: impl FnMut(Sight)) {
    let begin = Instant::now();
    let pause = |usual: Duration, now: Instant| {
        let late = now.duration_since(begin) > FAST_FOR;
        let pause = pace.interval.unwrap_or(if late { AFTER_A_LONG_TIME } else { usual });
        // An interval of zero would be a busy loop.
        pause.max(AFTER_REFUSAL)
    };
    let mut pending: Vec<Attempt> = Vec::new();
    let mut next = begin;
    loop {
        let mut now = Instant::now();
        if now >= deadline {
            return;
        }
        if now >= next {
            let outcome = begin_attempts(target, &mut pending);
            now = Instant::now();
            next = now
                + match outcome {
                    Ok(()) => pause(AFTER_SILENCE, now),
                    Err(Sight::NoName) => pause(AFTER_NO_NAME, now),
                    Err(_) => pause(AFTER_REFUSAL, now),
                };
            if let Err(sight) = outcome {
                tell(sight);
            }
        }
        let before = pending.len();
        pending.retain(|attempt| now.duration_since(attempt.begun) < pace.patience);
        if pending.len() < before {
            tell(Sight::Silent);
        }
        // The oldest attempt is the next to be given up.
        let given_up = pending.first().map_or(deadline, |attempt| attempt.begun + pace.patience);
        let until = next.min(given_up).min(deadline);
        let sockets: Vec<_> = pending.iter().map(|attempt| attempt.socket.as_fd()).collect();
        let mut answered = sys::poll_writable(&sockets, until.saturating_duration_since(now)).into_iter();
        let mut refusal = None;
        let mut ready = false;
        pending.retain(|attempt| {
            let answered = answered.next().unwrap_or(false);
            if answered {
                match outcome(&attempt.socket) {
                    Ok(()) => ready = true,
                    Err(error) => refusal = Some(error),
                }
            }
            !answered
        });
        if ready {
            return tell(Sight::Ready);
        }
        if let Some(error) = refusal {
            let now = Instant::now();
            next = next.min(now + pause(AFTER_REFUSAL, now));
            tell(Sight::Refused(words(&error)));
        } else if pending.first().is_some_and(|attempt| attempt.begun.elapsed() >= Duration::from_secs(1)) {
            tell(Sight::Silent);
        }
    }
}

/// Begins to connect to each address that the name has now: a container that was made anew has another one.
fn begin_attempts(target: &Target, pending: &mut Vec<Attempt>) -> Result<(), Sight> {
    let addresses = (&*target.host, target.port).to_socket_addrs().map_err(|_| Sight::NoName)?;
    let before = pending.len();
    let mut refusal = Sight::NoName;
    for address in addresses {
        match sys::begin_connect(address) {
            Ok(socket) => pending.push(Attempt { socket, begun: Instant::now() }),
            Err(error) => refusal = Sight::Refused(words(&error)),
        }
    }
    if pending.len() > before { Ok(()) } else { Err(refusal) }
}

/// How an attempt ended.
fn outcome(socket: &TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // A port of this machine on which nobody listens can be connected to itself, when the kernel happens to choose it
    // as the source port too (TCP's simultaneous open).
    if socket.peer_addr()? == socket.local_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}
