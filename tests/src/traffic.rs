//! Clients that use a web server all the time, in the ways that break when somebody is careless, and count every failure.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// An answer that takes longer has failed; a busy machine alone must not make one.
const PATIENCE: Duration = Duration::from_secs(100);

/// How a client uses the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// A connection for each GET of `/`.
    Fresh,
    /// A connection for each POST, of which the answer is what was sent.
    Post,
    /// One connection for as many GETs as the server likes: it says `Connection: close` when it has had enough.
    Kept,
    /// `/slow/40`: forty numbered lines, one each tenth of a second.
    Download,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Whole and right answers.
    pub answers: BTreeMap<Habit, u64>,
    /// Who gave them, by the header `X-Web`.
    pub by: BTreeMap<String, u64>,
    /// Everything else: refused, cut off, another status, another body.
    pub failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        other.answers.into_iter().for_each(|(habit, count)| *self.answers.entry(habit).or_default() += count);
        other.by.into_iter().for_each(|(server, count)| *self.by.entry(server).or_default() += count);
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failures; answers {:?}; by {:?}", self.failures.len(), self.answers, self.by)?;
        self.failures.iter().take(20).try_for_each(|failure| write!(f, "\n{failure}"))
    }
}

/// The clients, at work until they are stopped.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Traffic {
    /// One client for each habit that is named.
    #[must_use]
    pub fn start(server: SocketAddr, habits: &[Habit]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |habit: &Habit| {
            let mut client = Client { server, habit: *habit, stop: Arc::clone(&stop), tally: Tally::default() };
            thread::spawn(move || {
                client.work();
                client.tally
            })
        };
        let clients = habits.iter().map(client).collect();
        Self { stop, clients }
    }

    /// Lets each client finish what it has begun, and says what came of it all.
    ///
    /// # Panics
    /// If a client did.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            all.add(client.join().expect("a client notes failures and has none of its own"));
        }
        all
    }
}

struct Client {
    server: SocketAddr,
    habit: Habit,
    stop: Arc<AtomicBool>,
    tally: Tally,
}

impl Client {
    fn work(&mut self) {
        let began = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let tried = Instant::now();
            if let Err(error) = self.connection() {
                let (at, after) = (tried.duration_since(began).as_secs_f32(), tried.elapsed().as_secs_f32());
                self.tally.failures.push(format!("{:?}, begun after {at:.1} s, for {after:.1} s: {error}", self.habit));
            }
        }
    }

    /// One connection, from its beginning to the end that the habit has in mind.
    fn connection(&mut self) -> Result<()> {
        let stream = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        let request = match self.habit {
            Habit::Fresh => "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
            Habit::Post => "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            Habit::Kept => "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
            Habit::Download => "GET /slow/40 HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
        };
        loop {
            stream.get_mut().write_all(request.as_bytes())?;
            let answer = Answer::read(&mut stream)?;
            if !self.is_right(&answer.body) {
                return Err(Error::other(format!("another body, of {} bytes", answer.body.len())));
            }
            *self.tally.answers.entry(self.habit).or_default() += 1;
            *self.tally.by.entry(answer.by).or_default() += 1;
            thread::sleep(Duration::from_millis(20));
            if self.habit != Habit::Kept || answer.last || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    fn is_right(&self, body: &[u8]) -> bool {
        match self.habit {
            Habit::Fresh | Habit::Kept => !body.is_empty(),
            Habit::Post => body == b"hello",
            Habit::Download => body == (0..40).map(|line| format!("{line:04}\n")).collect::<String>().as_bytes(),
        }
    }
}

struct Answer {
    body: Vec<u8>,
    by: String,
    /// The server closes the connection after it.
    last: bool,
}

impl Answer {
    /// Reads a whole one.
    fn read(stream: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut line = || {
            let mut line = String::new();
            match stream.read_line(&mut line)? {
                0 => Err(Error::other("the connection ended before the answer did")),
                _ => Ok(line.trim_end().to_owned()),
            }
        };
        let status = line()?;
        let (mut length, mut by, mut last) = (0, String::new(), false);
        loop {
            let header = line()?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or((&header, ""));
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(Error::other)?,
                "x-web" => value.clone_into(&mut by),
                "connection" => last = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(Error::other(status));
        }
        Ok(Self { body, by, last })
    }
}
