//! What is known of one client connection for as long as it lives, and the one deadline it is under.
//!
//! pingora hands this through to every request in the digest of the connection, for HTTP/1 and HTTP/2 alike.
//! The deadline is shared between the one who sets it ([`http`](crate::http), per try and per call, and the
//! connection's own loop while it waits for a head) and the one who keeps it ([`wire`](super::wire)).

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use pingora_core::protocols::Digest;
use tokio::time::Instant;

use super::{ports::Port, refusal::Refusal};

/// One client connection.
pub(crate) struct Connection {
    /// Unique in this process.
    pub(crate) id: u64,
    /// The other end.
    pub(crate) client: SocketAddr,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The port it came in on.
    pub(crate) port: Arc<Port>,
    /// What lies between the socket and the requests.
    pub(crate) security: Security,
    /// Whether requests come as HTTP/2 streams, which have no deadline here.
    pub(crate) h2: bool,
    opened: Instant,
    /// Waiting for a request, with this to wake it.
    idle: AtomicBool,
    waker: AtomicWaker,
    upgraded: AtomicBool,
    /// Microseconds after `opened`; [`NEVER`] is none.
    deadline: AtomicU64,
    /// When bytes last moved, and how long they may rest.
    moved: AtomicU64,
    rest: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
}

/// What lies between the socket and the requests.
#[derive(Debug)]
pub(crate) enum Security {
    /// Nothing.
    Plain,
    /// TLS with a listener's certificate.
    Tls {
        /// The name the client asked for, in lower case.
        sni: Option<Box<str>>,
    },
    /// TLS of the mesh. Requests inside are as if there were none: the application that sent them does not know of it.
    Mesh {
        /// Who called.
        peer: Arc<str>,
    },
}

const NEVER: u64 = u64::MAX;

impl Connection {
    /// A new connection, under no deadline.
    pub(crate) fn new(
        id: u64,
        client: SocketAddr,
        local: SocketAddr,
        port: Arc<Port>,
        security: Security,
        h2: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            client,
            local,
            port,
            security,
            h2,
            opened: Instant::now(),
            idle: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            upgraded: AtomicBool::new(false),
            deadline: AtomicU64::new(NEVER),
            moved: AtomicU64::new(0),
            rest: AtomicU64::new(NEVER),
            refusal: Mutex::new(None),
        })
    }

    /// The connection that a request came on.
    pub(crate) fn of(digest: &Digest) -> Option<&Arc<Self>> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// The name the client asked for in its TLS handshake.
    pub(crate) fn sni(&self) -> Option<&str> {
        match &self.security {
            Security::Tls { sni } => sni.as_deref(),
            Security::Plain | Security::Mesh { .. } => None,
        }
    }

    /// Who called, by a certificate of the mesh.
    pub(crate) fn peer(&self) -> Option<&Arc<str>> {
        match &self.security {
            Security::Mesh { peer } => Some(peer),
            Security::Plain | Security::Tls { .. } => None,
        }
    }

    /// From here on the bytes are not HTTP/1 messages any more: a 101 is about to be sent.
    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Begins or ends waiting for a request.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    /// Has [`Connection::hurry`] wake this task.
    pub(crate) fn watch(&self, cx: &mut Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Gives a connection that waits for a request only so long, because its port is closing.
    pub(crate) fn hurry(&self, limit: Duration) {
        if self.idle.load(Ordering::SeqCst) {
            let end = micros(self.opened.elapsed().saturating_add(limit));
            self.deadline.fetch_min(end, Ordering::Relaxed);
            self.waker.wake();
        }
    }

    /// Reads and writes fail from `at` on; `None` lifts the deadline.
    pub(crate) fn set_deadline(&self, at: Option<Instant>) {
        let value = at.map_or(NEVER, |at| micros(at.saturating_duration_since(self.opened)));
        self.deadline.store(value, Ordering::Relaxed);
    }

    /// Reads and writes fail once nothing was [`moved`](Self::moved) for this long; counted from now.
    pub(crate) fn set_rest(&self, limit: Option<Duration>) {
        self.moved();
        self.rest.store(limit.map_or(NEVER, micros), Ordering::Relaxed);
    }

    /// Bytes were seen.
    pub(crate) fn moved(&self) {
        if self.rest.load(Ordering::Relaxed) != NEVER {
            self.moved.store(micros(self.opened.elapsed()), Ordering::Relaxed);
        }
    }

    /// When reads and writes are to fail, as things stand.
    pub(crate) fn due(&self) -> Option<Instant> {
        let rest = self.rest.load(Ordering::Relaxed);
        let resting = self.moved.load(Ordering::Relaxed).saturating_add(rest);
        let due = self.deadline.load(Ordering::Relaxed).min(resting);
        (due != NEVER).then(|| self.opened + Duration::from_micros(due))
    }

    /// Notes why the request that is being read is refused.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// Why reading failed, if it was for what the client sent.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(duration: Duration) -> u64 {
    // Half a million years is as good as never, and below the value that means it.
    u64::try_from(duration.as_micros()).unwrap_or(NEVER).min(NEVER / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Arc<Connection> {
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        Connection::new(1, any, any, Arc::new(Port::new((None, 80))), Security::Plain, false)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_deadline_and_rest_is_due() {
        let connection = connection();
        assert_eq!(connection.due(), None);
        let start = Instant::now();
        connection.set_deadline(Some(start + Duration::from_secs(60)));
        connection.set_rest(Some(Duration::from_secs(5)));
        assert_eq!(connection.due(), Some(start + Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(4)).await;
        connection.moved();
        assert_eq!(connection.due(), Some(start + Duration::from_secs(9)));
        connection.set_rest(None);
        assert_eq!(connection.due(), Some(start + Duration::from_secs(60)));
    }
}
