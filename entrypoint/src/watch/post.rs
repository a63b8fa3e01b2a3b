//! What other threads have to tell the main one, which waits for signals and for this at the same time.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use crate::fetch::Fetched;

/// What a thread has to tell.
pub(super) enum News {
    /// A bundle of another revision than the last.
    Bundle(Box<Fetched>),
    /// The last bundle is still the one that the server has.
    Confirmed(u64),
    /// The app of this start answers, or why not.
    Health(u32, Result<(), String>),
}

/// Where news arrive.
pub(super) struct Post {
    receiver: Receiver<News>,
    /// A byte for each of the news: a channel cannot be polled.
    bell: PipeReader,
}

/// For the threads.
#[derive(Clone)]
pub(super) struct Sender {
    sender: mpsc::Sender<News>,
    bell: Arc<PipeWriter>,
}

/// # Errors
/// There is no descriptor left.
pub(super) fn open() -> io::Result<(Sender, Post)> {
    let (sender, receiver) = mpsc::channel();
    let (reader, writer) = io::pipe()?;
    Ok((Sender { sender, bell: Arc::new(writer) }, Post { receiver, bell: reader }))
}

impl Sender {
    pub(super) fn send(&self, news: News) {
        // The other end goes only with the process.
        let _ = self.sender.send(news);
        let _ = (&*self.bell).write(&[0]);
    }
}

impl Post {
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// All that arrived since the last time. The bell has rung, or this waits until it does.
    pub(super) fn collect(&self) -> impl Iterator<Item = News> {
        let _ = (&self.bell).read(&mut [0; 64]);
        self.receiver.try_iter()
    }
}
