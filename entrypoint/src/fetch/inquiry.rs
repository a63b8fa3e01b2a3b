//! The cloud's metadata service, asked which region this machine is in.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chandlery_wire::machine::{Inquiry, Told};

use super::connection;
use crate::http::{self, Response};

/// For all of it. The service is one hop away; where there is none, nobody is to wait for it, and a machine whose network
/// is not up yet gets as long as that.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// # Errors
/// What was seen last, where there was no usable answer in time.
pub(crate) fn inquire(address: SocketAddr, endpoint: &str) -> Result<Told, io::Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match all(address, endpoint, deadline) {
            Err(_) if Instant::now() + PAUSE < deadline => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

fn all(address: SocketAddr, endpoint: &str, deadline: Instant) -> io::Result<Told> {
    let mut inquiry = Inquiry::default();
    loop {
        let mut socket = connection::near(address, deadline)?;
        let Response { status, body, .. } = http::exchange(&mut socket, inquiry.request(endpoint).as_bytes())?;
        // It is asked by all containers of the machine at once, and may have had enough for now.
        if status == 429 || status >= 500 {
            return Err(io::Error::other(format!("an answer with status {status}")));
        }
        if let Some(told) = inquiry.answer(status, &body) {
            return Ok(told);
        }
    }
}
