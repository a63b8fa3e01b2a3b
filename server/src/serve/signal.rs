use tokio::signal::unix::{Signal, SignalKind, signal};

/// Becomes ready at the first `SIGTERM` or `SIGINT` that comes from now on.
pub fn stop_requested() -> impl Future<Output = ()> {
    let (mut terminate, mut interrupt) = (Requests::of(SignalKind::terminate()), Requests::of(SignalKind::interrupt()));
    async move {
        tokio::select! {
            () = terminate.recv() => {}
            () = interrupt.recv() => {}
        }
    }
}

/// Each `SIGHUP` from now on: look at the files again.
#[must_use]
pub fn reload_requested() -> Requests {
    Requests::of(SignalKind::hangup())
}

/// The arrivals of one signal.
#[derive(Debug)]
pub struct Requests(Option<Signal>);

impl Requests {
    fn of(kind: SignalKind) -> Self {
        let signal = signal(kind);
        if let Err(error) = &signal {
            tracing::error!(%error, ?kind, "a signal cannot be listened for");
        }
        Self(signal.ok())
    }

    /// The next one.
    pub async fn recv(&mut self) {
        let arrived = match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        };
        if !arrived {
            std::future::pending::<()>().await;
        }
    }
}
