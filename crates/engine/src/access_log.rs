//! The access log: one JSON line per call, written by a thread of its own.
//!
//! ```text
//! call ends ─▶ Record::write (into one buffer) ─▶ bounded queue ─▶ writer thread ─▶ sink
//!                                                 full: dropped and counted, never waited for
//! ```
//!
//! The names of the fields are stable. A field that does not apply is left out.
//! Next on the path: `json` writes texts so that any header bytes stay valid JSON.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use landfall_model::ClusterId;

use crate::metrics::Counter;

mod json;

/// What is worth a line about one call; borrowed, so that nothing is copied but the line.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the call's head had been read.
    pub time: SystemTime,
    /// The client.
    pub client: SocketAddr,
    /// Its SPIFFE ID, if it came by mutual TLS of the mesh.
    pub peer: Option<&'a str>,
    /// As sent.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host or authority as sent.
    pub host: &'a [u8],
    /// The raw path.
    pub path: &'a [u8],
    /// The raw query. It may carry secrets, so the caller decides whether it is logged.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'a str,
    /// What the client got; 0 if it left before.
    pub status: u16,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
    /// From the head of the request to the last byte.
    pub took: Duration,
    /// Until the head of the endpoint's answer, counted from the choice of the endpoint.
    pub upstream_took: Option<Duration>,
    /// Route id and the rule's place in it.
    pub route: Option<(&'a str, usize)>,
    /// The cluster.
    pub cluster: Option<&'a ClusterId>,
    /// The last endpoint tried.
    pub endpoint: Option<SocketAddr>,
    /// Tries made, 1 without retries.
    pub tries: u32,
    /// Why the answer is ours and not an endpoint's.
    pub error: Option<&'a str>,
    /// The value of `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// The value of `traceparent`.
    pub trace: Option<&'a [u8]>,
    /// The value of `user-agent`.
    pub user_agent: Option<&'a [u8]>,
}

impl Record<'_> {
    /// Appends the line, with its line end.
    pub fn write(&self, line: &mut Vec<u8>) {
        let mut object = json::Object::begin(line);
        object.time("time", self.time);
        object.display("client", &self.client);
        object.optional("peer", self.peer.map(str::as_bytes));
        object.text("method", self.method.as_bytes());
        object.text("scheme", self.scheme.as_bytes());
        object.text("host", self.host);
        object.text("path", self.path);
        object.optional("query", self.query);
        object.text("protocol", self.protocol.as_bytes());
        object.number("status", u64::from(self.status));
        object.number("received", self.received);
        object.number("sent", self.sent);
        object.number("tookMicros", micros(self.took));
        if let Some(took) = self.upstream_took {
            object.number("upstreamMicros", micros(took));
        }
        if let Some((route, rule)) = self.route {
            object.text("route", route.as_bytes());
            object.number("rule", rule as u64);
        }
        if let Some(cluster) = self.cluster {
            object.display("cluster", &cluster);
        }
        if let Some(endpoint) = self.endpoint {
            object.display("endpoint", &endpoint);
        }
        object.number("tries", u64::from(self.tries));
        object.optional("error", self.error.map(str::as_bytes));
        object.optional("requestId", self.request_id);
        object.optional("trace", self.trace);
        object.optional("userAgent", self.user_agent);
        object.end();
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// The way to the writer. Share it in an `Arc`; dropping the last one writes what is queued and ends the writer.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    dropped: Arc<Counter>,
}

impl AccessLog {
    /// Starts the writer. At most `capacity` lines wait for it. `dropped` counts those that found no room, and those
    /// that the sink refused ([`Metrics::access_log_dropped`](crate::metrics::Metrics::access_log_dropped)).
    ///
    /// # Errors
    /// The system starts no further thread.
    pub fn start(sink: impl Write + Send + 'static, capacity: usize, dropped: Arc<Counter>) -> io::Result<Self> {
        let (queue, lines) = sync_channel(capacity.max(1));
        let refused = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(sink, &lines, &refused))?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            dropped,
        })
    }

    /// Queues the line of a call, or drops it if the writer cannot keep up. Never waits.
    pub fn log(&self, record: &Record<'_>) {
        let mut line = Vec::with_capacity(512);
        record.write(&mut line);
        if self.queue.as_ref().is_none_or(|queue| queue.try_send(line).is_err()) {
            self.dropped.increment();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // The writer ends when the last line is out and nobody can send another.
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Lines that are written at once.
const BATCH: usize = 64 * 1024;

fn write_lines(mut sink: impl Write, lines: &Receiver<Vec<u8>>, refused: &Counter) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(line) = lines.recv() {
        let mut count = 1;
        batch.extend_from_slice(&line);
        while batch.len() < BATCH {
            match lines.try_recv() {
                Ok(line) => {
                    count += 1;
                    batch.extend_from_slice(&line);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        // A full disk or a closed pipe may get better; calls go on meanwhile and the loss is counted.
        if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
            refused.add(count);
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests;
