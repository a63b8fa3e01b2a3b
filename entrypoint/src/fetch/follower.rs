//! Asking for the next bundle: one request at a time, which the server holds until there is one.

use std::time::{Duration, Instant};

use super::connection::Connector;
use super::{Fetched, Trouble, refusal, request, trouble, understand};
use crate::config::Config;
use crate::failure::Failure;
use crate::http;

/// What the server gets for an answer on top of the time for which it holds the request.
const TIME_TO_ANSWER: Duration = Duration::from_secs(20);

/// What came of one request.
pub(crate) enum Answer {
    New(Box<Fetched>),
    /// There is still no other revision.
    Same,
    /// The server does not take the wish to be held.
    CannotHold,
    /// Another try would end the same way, until somebody changes something.
    Refused(Failure),
    /// No answer that can be used; in words.
    Away(String),
}

/// The way to the server, for many requests.
pub(crate) struct Follower<'a> {
    connector: Connector<'a>,
    config: &'a Config,
}

impl<'a> Follower<'a> {
    /// # Errors
    /// The CA's certificates cannot be read.
    pub(crate) fn new(config: &'a Config) -> Result<Self, Failure> {
        Ok(Self { connector: Connector::new(config)?, config })
    }

    /// Asks for a bundle of another revision than this one, and how long the server wants to be left alone after it.
    pub(crate) fn ask(&self, revision: u64, hold: Duration) -> (Answer, Option<Duration>) {
        let request = request(self.config, Some((revision, hold)));
        let deadline = Instant::now() + hold + TIME_TO_ANSWER;
        let exchanged = self.connector.exchange(deadline, hold, |stream| http::exchange(stream, &request));
        let response = match exchanged {
            Ok(response) => response,
            Err(error) => return (self.without_bundle(trouble(&error, self.config)), None),
        };
        let retry_after = response.retry_after.map(Duration::from_secs);
        let answer = match response.status {
            200 => match understand(response, self.config) {
                Ok(fetched) => Answer::New(Box::new(fetched)),
                Err(trouble) => self.without_bundle(trouble),
            },
            304 => Answer::Same,
            400 | 405..=407 | 409..=421 if !hold.is_zero() => Answer::CannotHold,
            _ => self.without_bundle(refusal(&response)),
        };
        (answer, retry_after)
    }

    fn without_bundle(&self, trouble: Trouble) -> Answer {
        match trouble {
            Trouble::Final(failure) => Answer::Refused(failure),
            Trouble::Passing(seen) => Answer::Away(seen.what),
        }
    }
}
