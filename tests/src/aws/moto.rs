use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::AwsClient;
use crate::daemon::Daemon;
use crate::{Run, skip, target};

const TICK: Duration = Duration::from_millis(20);
/// How many ticks it may take to start before the test calls it hung: Python starts slowly on a busy machine.
const TICKS: u32 = 6000;

/// One account of AWS, with nothing in it. It ends with the test.
#[derive(Debug)]
pub struct Moto {
    daemon: Daemon,
}

impl Moto {
    /// Nothing where it is not installed; then it says that the test is skipped.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        let python = target().join("moto/bin/python");
        if !python.exists() {
            skip(test, "moto is not there: ./tests/run installs it");
            return None;
        }
        let mut daemon = Daemon::new();
        // moto may ask AWS for nothing, and no test may: there is no endpoint but this one.
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &daemon.port.to_string()]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", daemon.folder());
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("PYTHONUNBUFFERED", "1");
        daemon.start(&mut command);
        for _ in 0..TICKS {
            if TcpStream::connect(("127.0.0.1", daemon.port)).is_ok() {
                return Some(Self { daemon });
            }
            thread::sleep(TICK);
        }
        panic!("moto did not come up: {}", daemon.log());
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.daemon.port
    }

    /// Somebody who administers this account, past every proxy.
    #[must_use]
    pub fn client(&self, region: &str) -> AwsClient {
        AwsClient::new(self.port(), region)
    }

    /// What a server is told to use this account. The credentials are any: moto asks for some and knows none.
    #[must_use]
    pub fn environment(port: u16) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://127.0.0.1:{port}")),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            // Never an address outside of this machine, the instance's metadata either.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The same for a program of one run.
    #[must_use]
    pub fn with_environment(run: Run, port: u16) -> Run {
        Self::environment(port).into_iter().fold(run, |run, (name, value)| run.env(&name, value))
    }
}
