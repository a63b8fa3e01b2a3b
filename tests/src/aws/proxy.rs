use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a request is kept without an answer: longer than any test waits for one.
const SILENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);

/// What happens to a request instead of its being answered.
#[derive(Debug, Clone)]
pub enum Fault {
    /// `ThrottlingException`, as AWS answers who asks too much.
    Throttle,
    /// `AccessDeniedException`, with AWS's sentence.
    Deny,
    /// The connection is cut in the middle.
    Drop,
    /// There is never an answer.
    Silence,
    /// 500 `InternalServiceError`.
    Broken,
    /// An answer that is none of AWS's: a page of somebody's load balancer.
    Page,
    /// This code with this sentence.
    Code(&'static str, &'static str),
    /// It is answered as ever, and so much later.
    Slow(Duration),
}

/// In front of [`super::Moto`]: counts what is called, and plays faults.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    upstream: u16,
    state: Arc<State>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<BTreeMap<String, usize>>,
    bodies: Mutex<Vec<(String, String)>>,
    before: Mutex<Vec<Hook>>,
    ended: AtomicBool,
    closed: AtomicBool,
}

struct Rule {
    operation: String,
    /// Only requests that name this.
    about: String,
    fault: Fault,
    /// How many more; `None` is for ever.
    left: Option<usize>,
}

struct Hook {
    operation: String,
    action: Option<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Takes connections on a free port of loopback, and passes them on.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let state = Arc::new(State::default());
        let listening = Mutex::new(Some(listen(listener, &state, upstream)));
        Self { port, upstream, state, listening }
    }

    /// From now on nobody listens: who connects is refused, and connections that were kept are cut.
    ///
    /// # Panics
    /// If it is closed already.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        // Wakes the listener up, so that its port is given back.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let listening = lock(&self.listening).take().expect("it listens");
        listening.join().expect("it ends");
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    /// If somebody took the port.
    pub fn open(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free again");
        self.state.closed.store(false, Ordering::Release);
        *lock(&self.listening) = Some(listen(listener, &self.state, self.upstream));
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next `times` calls of the operation fail so; all of them where none is said. `*` is every operation.
    pub fn play(&self, operation: &str, fault: Fault, times: Option<usize>) {
        self.play_about(operation, "", fault, times);
    }

    /// The same, for calls whose request names this: a secret, or a region as the signature has it.
    pub fn play_about(&self, operation: &str, about: &str, fault: Fault, times: Option<usize>) {
        let (operation, about) = (operation.to_owned(), about.to_owned());
        lock(&self.state.rules).push(Rule { operation, about, fault, left: times });
    }

    /// Does something once, right before the first call of the operation is passed on.
    pub fn once_before(&self, operation: &str, action: impl FnOnce() + Send + 'static) {
        let hook = Hook { operation: operation.to_owned(), action: Some(Box::new(action)) };
        lock(&self.state.before).push(hook);
    }

    /// Plays no faults any more.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
    }

    /// How often an operation was called, whether or not it was answered.
    #[must_use]
    pub fn calls(&self, operation: &str) -> usize {
        lock(&self.state.calls).get(operation).copied().unwrap_or_default()
    }

    /// How often anything was called.
    #[must_use]
    pub fn all_calls(&self) -> usize {
        lock(&self.state.calls).values().sum()
    }

    /// The requests of an operation so far.
    #[must_use]
    pub fn requests(&self, operation: &str) -> Vec<serde_json::Value> {
        let bodies = lock(&self.state.bodies);
        let of_it = bodies.iter().filter(|(name, _)| name == operation);
        of_it.filter_map(|(_, body)| serde_json::from_str(body).ok()).collect()
    }

    /// Begins to count again.
    pub fn forget(&self) {
        lock(&self.state.calls).clear();
        lock(&self.state.bodies).clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        // Wakes the listener up, so that its port is given back.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn listen(listener: TcpListener, state: &Arc<State>, upstream: u16) -> JoinHandle<()> {
    let shared = Arc::clone(state);
    thread::spawn(move || {
        for connection in listener.incoming() {
            if shared.is_away() {
                return;
            }
            let (Ok(connection), shared) = (connection, Arc::clone(&shared)) else { continue };
            // A client that goes away in the middle ends its connection, and nothing else.
            thread::spawn(move || drop(shared.serve(connection, upstream)));
        }
    })
}

struct Request {
    head: String,
    operation: String,
    body: Vec<u8>,
}

impl State {
    fn serve(&self, connection: TcpStream, upstream: u16) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        let mut client = connection;
        while let Some(request) = read_request(&mut reader)? {
            if self.is_away() {
                return Ok(());
            }
            self.count(&request);
            match self.fault(&request) {
                fault @ (None | Some(Fault::Slow(_))) => {
                    if let Some(Fault::Slow(time)) = fault {
                        thread::sleep(time);
                    }
                    self.run_hooks(&request.operation);
                    client.write_all(&forward(upstream, &request)?)?;
                }
                Some(Fault::Drop) => return Ok(()),
                Some(Fault::Silence) => return self.keep_silent(),
                Some(Fault::Throttle) => answer(&mut client, &request, 400, "ThrottlingException", "Rate exceeded")?,
                Some(Fault::Broken) => answer(&mut client, &request, 500, "InternalServiceError", "An error occurred")?,
                Some(Fault::Code(code, sentence)) => answer(&mut client, &request, 400, code, sentence)?,
                Some(Fault::Page) => {
                    let page = "<html>502 Bad Gateway</html>";
                    let head = format!("HTTP/1.1 502 Bad Gateway\r\ncontent-length: {}\r\n\r\n{page}", page.len());
                    client.write_all(head.as_bytes())?;
                }
                Some(Fault::Deny) => {
                    let who = "User: arn:aws:sts::123456789012:assumed-role/chandlery/i-0";
                    let what = format!("{who} is not authorized to perform: secretsmanager:{}", request.operation);
                    answer(&mut client, &request, 400, "AccessDeniedException", &what)?;
                }
            }
        }
        Ok(())
    }

    fn is_away(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire)
    }

    fn count(&self, request: &Request) {
        *lock(&self.calls).entry(request.operation.clone()).or_default() += 1;
        let body = String::from_utf8_lossy(&request.body).into_owned();
        lock(&self.bodies).push((request.operation.clone(), body));
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let body = String::from_utf8_lossy(&request.body);
        let meant = |rule: &&mut Rule| {
            (rule.operation == "*" || rule.operation == request.operation)
                && (body.contains(&rule.about) || request.head.contains(&rule.about))
                && rule.left != Some(0)
        };
        let rule = rules.iter_mut().find(meant)?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    fn run_hooks(&self, operation: &str) {
        let mut hooks = lock(&self.before);
        let due = hooks.iter_mut().filter(|hook| hook.operation == operation).filter_map(|hook| hook.action.take());
        let due: Vec<_> = due.collect();
        drop(hooks);
        due.into_iter().for_each(|action| action());
    }

    fn keep_silent(&self) -> std::io::Result<()> {
        for _ in 0..SILENCE.as_millis() / TICK.as_millis() {
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            thread::sleep(TICK);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request with its body; nothing at the connection's end.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head[start..].trim_end().is_empty() {
            break;
        }
    }
    let header = |wanted: &str| {
        let pairs = head.lines().filter_map(|line| line.split_once(':'));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let operation = header("x-amz-target").unwrap_or_default();
    let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { head, operation, body }))
}

/// The request to the end of its answer, over a connection of its own.
fn forward(upstream: u16, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    let head: String = request
        .head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:") && !line.is_empty())
        .flat_map(|line| [line, "\r\n"])
        .collect();
    server.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&request.body)?;
    let mut whole = Vec::new();
    server.read_to_end(&mut whole)?;
    // The connection to the client stays: whether this one closes is not its business.
    let end = memchr::memmem::find(&whole, b"\r\n\r\n").unwrap_or(whole.len());
    let head: String = String::from_utf8_lossy(&whole[..end])
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .flat_map(|line| [line, "\r\n"])
        .collect();
    Ok([head.as_bytes(), b"\r\n", whole.get(end + 4..).unwrap_or_default()].concat())
}

fn answer(client: &mut TcpStream, to: &Request, status: u16, code: &str, sentence: &str) -> std::io::Result<()> {
    let body = match to.operation.as_str() {
        // STS, which speaks another tongue.
        "" => {
            let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{sentence}</Message></Error>");
            format!("<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>")
        }
        _ => serde_json::json!({ "__type": code, "message": sentence }).to_string(),
    };
    let head = format!(
        "HTTP/1.1 {status} Fault\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-errortype: {code}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}
