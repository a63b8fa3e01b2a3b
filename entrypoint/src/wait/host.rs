//! One target, watched until it is ready.

use std::time::{Duration, Instant};

use super::attempt::{Address, Attempt, Means, refusal};
use super::names::Names;
use super::target::{Place, Target};
use super::{Pace, Sight};
use crate::sys;

/// After a refusal, which costs next to nothing on both sides; and between two looks at a path.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// After silence. The kernel itself asks again only after a second: a fresh attempt is faster, and the earlier ones
/// stay, in case their answer is only slow. Half of this is what a port that speaks again is found late by.
const AFTER_SILENCE: Duration = Duration::from_millis(80);
/// While a connection is made and nothing is said on it. It is most likely answered when the other side gets to it, and
/// each one more is one more for it to get to.
const AFTER_NO_WORD: Duration = Duration::from_secs(1);
/// After an answer that it is not ready: a tenth of the time that it is known to be so, within these. A database that
/// boots has better things to do, and MySQL locks out who connects and leaves too often (`max_connect_errors`).
const NOT_READY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// What has not come after this will not come within milliseconds.
const FAST_FOR: Duration = Duration::from_secs(60);
const AFTER_A_LONG_TIME: Duration = Duration::from_millis(500);
/// From when on no answer is worth a word, and is silence.
const SILENCE: Duration = Duration::from_secs(1);
/// Something that is seen all the time is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// One address, and what goes on with it.
struct Peer {
    address: Address,
    attempts: Vec<Attempt>,
    next: Instant,
    sight: Sight,
    /// Since when it has answered that it is not ready.
    not_ready_since: Option<Instant>,
    /// How many of its attempts have ended.
    ended: u32,
}

/// Tells what it sees: at each change, and once a second.
struct Teller<'a> {
    tell: &'a mut dyn FnMut(Sight),
    last: Option<(Sight, Instant)>,
}

impl Teller<'_> {
    fn tell(&mut self, sight: Sight, now: Instant) {
        let new =
            self.last.as_ref().is_none_or(|(last, when)| *last != sight || now.duration_since(*when) >= TELL_AGAIN);
        if new && sight != Sight::Nothing {
            (self.tell)(sight.clone());
            self.last = Some((sight, now));
        }
    }
}

/// Tries until it is ready or the deadline passes, and tells what it sees.
pub(super) fn watch(target: &Target, pace: Pace, means: &Means, deadline: Instant, tell: &mut dyn FnMut(Sight)) {
    let teller = Teller { tell, last: None };
    let begin = Instant::now();
    match &target.place {
        Place::File(path) => watch_path(path, pace, deadline, teller),
        Place::Unix(path) => {
            let peers = vec![Peer::new(Address::Unix(path.clone()), begin)];
            Watch { target, pace, means, begin, deadline, peers, names: None }.go(teller);
        }
        Place::Tcp { host, port, family } => {
            let names = Some(Names::of(host, *port, *family));
            Watch { target, pace, means, begin, deadline, peers: Vec::new(), names }.go(teller);
        }
    }
}

fn watch_path(path: &std::path::Path, pace: Pace, deadline: Instant, mut teller: Teller<'_>) {
    let begin = Instant::now();
    loop {
        // As `Path::exists` has it: links are followed, and where nobody may look nothing is.
        let outcome = std::fs::metadata(path);
        let now = Instant::now();
        match outcome {
            Ok(_) => return teller.tell(Sight::Ready, now),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => teller.tell(Sight::Absent, now),
            Err(error) => teller.tell(Sight::Refused(error.to_string()), now),
        }
        if pace.once || now >= deadline {
            return;
        }
        std::thread::sleep(pace.pause(AFTER_REFUSAL, begin, now).min(deadline.saturating_duration_since(now)));
    }
}

impl Pace {
    fn pause(&self, usual: Duration, begin: Instant, now: Instant) -> Duration {
        let late = now.duration_since(begin) > FAST_FOR;
        let usual = if late { usual.max(AFTER_A_LONG_TIME) } else { usual };
        // An interval of zero would be a busy loop.
        self.interval.unwrap_or(usual).max(AFTER_REFUSAL)
    }
}

struct Watch<'a> {
    target: &'a Target,
    pace: Pace,
    means: &'a Means,
    begin: Instant,
    deadline: Instant,
    peers: Vec<Peer>,
    /// Absent where there is nothing to resolve.
    names: Option<Names>,
}

impl Watch<'_> {
    fn go(mut self, mut teller: Teller<'_>) {
        loop {
            let now = Instant::now();
            if now >= self.deadline {
                return;
            }
            self.resolve(now);
            for at in 0..self.peers.len() {
                self.begin_attempt(at, now);
            }
            self.poll(now);
            let now = Instant::now();
            let sight = self.sight();
            let ready = sight == Sight::Ready;
            teller.tell(sight, now);
            let tried = self.peers.iter().all(|peer| peer.ended > 0);
            if ready || self.pace.once && tried {
                return;
            }
            if let Some(names) = &mut self.names {
                names.go_on();
            }
        }
    }

    /// Keeps the addresses that are still the name's, and takes up new ones.
    fn resolve(&mut self, now: Instant) {
        let Some(names) = &self.names else { return };
        let addresses: Vec<Address> = names.now().into_iter().map(Address::Inet).collect();
        self.peers.retain(|peer| addresses.contains(&peer.address));
        for address in addresses {
            if !self.peers.iter().any(|peer| peer.address == address) {
                self.peers.push(Peer::new(address, now));
            }
        }
    }

    fn begin_attempt(&mut self, at: usize, now: Instant) {
        let room = self.make_room(at, now);
        let silent = self.pace.pause(AFTER_SILENCE, self.begin, now);
        let refused = self.pace.pause(AFTER_REFUSAL, self.begin, now);
        let peer = &mut self.peers[at];
        if now < peer.next || self.pace.once && (peer.ended > 0 || !peer.attempts.is_empty()) {
            return;
        }
        peer.next = now + silent;
        if !room {
            return;
        }
        match Attempt::begin(&peer.address, now) {
            Ok(attempt) => peer.attempts.push(attempt),
            Err(error) => {
                peer.next = now + refused;
                peer.end(Sight::Refused(refusal(&error)), now);
            }
        }
    }

    /// Whether one more attempt may be open. Where it may not, one that the kernel has asked about twice makes room.
    fn make_room(&mut self, at: usize, now: Instant) -> bool {
        let open: usize = self.peers.iter().map(|peer| peer.attempts.len()).sum();
        if open < self.pace.most_open || now < self.peers[at].next {
            return true;
        }
        let oldest = self.peers[at].attempts.first();
        let old = oldest.is_some_and(|attempt| !attempt.is_connected() && now.duration_since(attempt.since) > SILENCE);
        if old {
            self.peers[at].attempts.remove(0);
        }
        old
    }

    /// Waits until something happens, or is due, and sees what it is.
    fn poll(&mut self, now: Instant) {
        let patience = self.pace.patience;
        let ends = self.peers.iter().flat_map(|peer| peer.attempts.iter().map(|attempt| attempt.since + patience));
        // Where one attempt is all there is, no next one is due.
        let next = self.peers.iter().filter(|_| !self.pace.once).map(|peer| peer.next);
        let due = next.chain(ends).chain([self.deadline]).min();
        // Where a name is being asked about, the answer comes to another thread.
        let unknown = self.peers.is_empty().then_some(now + AFTER_REFUSAL);
        let until = due.into_iter().chain(unknown).min().unwrap_or(self.deadline);
        let all = self.peers.iter().flat_map(|peer| &peer.attempts);
        let sockets: Vec<_> = all.map(Attempt::awaits).collect();
        let mut answered = sys::poll(&sockets, until.saturating_duration_since(now)).into_iter();
        let now = Instant::now();
        let no_word = self.pace.pause(AFTER_NO_WORD, self.begin, now);
        for peer in &mut self.peers {
            let mut ended = None;
            let (target, means, next) = (self.target, self.means, &mut peer.next);
            peer.attempts.retain_mut(|attempt| {
                let was_connected = attempt.is_connected();
                let sight = if answered.next().unwrap_or(false) { attempt.go_on(target, means) } else { None };
                if attempt.is_connected() && !was_connected {
                    *next = now + no_word;
                }
                let late = sight.is_none() && now.duration_since(attempt.since) >= patience;
                if late && attempt.is_connected() {
                    ended = ended.take().max(Some(attempt.nothing_said(&target.speech)));
                } else if late {
                    ended = ended.take().max(Some(Sight::Silent));
                }
                let going_on = sight.is_none() && !late;
                // Of several that end at once, the one that says most.
                ended = ended.take().max(sight);
                going_on
            });
            if let Some(sight) = ended {
                peer.next = match &sight {
                    Sight::NotReady(_) => {
                        let since = *peer.not_ready_since.get_or_insert(now);
                        let usual = (now.duration_since(since) / 10).clamp(NOT_READY.0, NOT_READY.1);
                        now + self.pace.pause(usual, self.begin, now)
                    }
                    Sight::Refused(_) => peer.next.min(now + self.pace.pause(AFTER_REFUSAL, self.begin, now)),
                    _ => peer.next,
                };
                peer.end(sight, now);
            } else if let Some(attempt) = peer.attempts.first().filter(|it| now.duration_since(it.since) >= SILENCE) {
                let connected = attempt.is_connected();
                peer.sight = if connected { attempt.nothing_said(&target.speech) } else { Sight::Silent };
            }
        }
    }

    /// Of several addresses, the one that says most.
    fn sight(&self) -> Sight {
        self.peers.iter().map(|peer| &peer.sight).max().cloned().unwrap_or(Sight::NoName)
    }
}

impl Peer {
    fn new(address: Address, next: Instant) -> Self {
        Self { address, attempts: Vec::new(), next, sight: Sight::Nothing, not_ready_since: None, ended: 0 }
    }

    fn end(&mut self, sight: Sight, now: Instant) {
        self.ended = self.ended.saturating_add(1);
        match sight {
            Sight::NotReady(_) => _ = self.not_ready_since.get_or_insert(now),
            _ => self.not_ready_since = None,
        }
        self.sight = sight;
    }
}
