//! The stream that pingora reads a client from: plain or TLS, with what was read too far in front.
//!
//! ```text
//!  socket ─▶ [TLS] ─▶ buffer ─▶ framing ─▶ pingora       one request at a time, checked before it is handed on
//!  socket ◀─ [TLS] ◀─ out ◀──────────────── pingora      head and small body leave in one packet
//! ```
//!
//! Three things pingora does not do happen here. A request is checked strictly ([`head`](super::head),
//! [`framing`](super::framing)) and its last byte is where reading ends, so bytes of the next request wait here
//! instead of being an error. A deadline ([`Connection::due`]) ends reads and writes however the bytes trickle.
//! And nothing is held while a connection is idle: the buffers exist from the first byte of a request to its end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    accept::LAST_CALL,
    connection::Connection,
    framing::Framing,
    head::{self, Head},
    refusal::Refusal,
    transport::{LINGER, LINGER_AT_MOST, Transport, end_with},
};

mod digest;

/// Bytes asked for at a time while a head is read.
const READ: usize = 4096;
/// Writes up to this many bytes wait for a flush or for company.
const GATHER: usize = 4096;
/// … but only this long. An origin that sends head and body apart does so within microseconds; a packet saved is
/// worth more than that, and nobody notices it.
const COMPANY: Duration = Duration::from_millis(2);
/// The HTTP/2 connection preface.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One client's stream.
pub(crate) struct Wire {
    transport: Transport,
    /// Read and not handed on, from `at`.
    buffer: Vec<u8>,
    at: usize,
    /// How many bytes of `buffer` belong to the present request and may be handed on.
    ready: usize,
    framing: Framing,
    /// Written and not sent, from `sent`.
    out: Vec<u8>,
    sent: usize,
    /// Whether bytes are handed on as they come: HTTP/2, or after an upgrade.
    raw: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// When what waits in `out` is sent without company.
    send_by: Option<Instant>,
    /// Set when all is said and the client may still be sending: until when that is thrown away.
    linger_until: Option<Instant>,
    connection: Arc<Connection>,
    digest: Arc<ProxyDigest>,
}

/// Why there is no next request.
#[derive(Debug)]
pub(crate) enum NoHead {
    /// The client is gone or silent: close without a word.
    Closed,
    /// It sent something that is answered and not served.
    Refused(Refusal),
}

impl Wire {
    /// A stream with what is known of it. `read` are bytes that were read before; they come first.
    pub(crate) fn new(transport: Transport, read: Vec<u8>, connection: Arc<Connection>) -> io::Result<Self> {
        let header = ResponseHeader::build(200, Some(0)).map_err(|error| io::Error::other(error.to_string()))?;
        let digest = ProxyDigest::new(Box::new(header), Some(Box::new(connection.clone())));
        Ok(Self {
            transport,
            buffer: read,
            at: 0,
            ready: 0,
            framing: Framing::Done,
            out: Vec::new(),
            sent: 0,
            raw: connection.h2,
            timer: None,
            send_by: None,
            linger_until: None,
            connection,
            digest: Arc::new(digest),
        })
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits up to `idle` for a request to begin and up to `slow` for its head to be complete, and checks it.
    /// After `Ok` pingora finds exactly one request here.
    pub(crate) async fn next_head(&mut self, idle: Duration, slow: Duration) -> Result<(), NoHead> {
        self.connection.set_rest(None);
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
            self.connection.set_idle(true);
            let idle = if self.connection.port.is_closed() {
                idle.min(LAST_CALL)
            } else {
                idle
            };
            self.connection.set_deadline(Some(Instant::now() + idle));
            let readable = self.wait_readable().await;
            self.connection.set_idle(false);
            readable?;
        }
        self.connection.set_deadline(Some(Instant::now() + slow));
        let mut seen = 0;
        let mut empty_lines = 0;
        let end = loop {
            // RFC 9112 section 2.2: an empty line before a request is forgiven.
            while empty_lines < 2 && self.buffer.starts_with(b"\r\n") {
                self.buffer.drain(..2);
                empty_lines += 1;
            }
            if let Some(end) = head::find_end(&self.buffer, seen).map_err(NoHead::Refused)? {
                break end;
            }
            seen = self.buffer.len();
            self.fill().await?;
        };
        self.connection.set_deadline(None);
        let Head { length, mut body, cut } = head::check(&self.buffer[..end]).map_err(NoHead::Refused)?;
        let length = length - cut.as_ref().map_or(0, |cut| cut.len());
        if let Some(cut) = cut {
            self.buffer.drain(cut);
        }
        self.ready = length + body.scan(&self.buffer[length..]).map_err(NoHead::Refused)?;
        self.framing = body;
        Ok(())
    }

    /// Tells HTTP/2 with prior knowledge from HTTP/1 by the first bytes, within `limit`.
    pub(crate) async fn sniff_h2(
        transport: &mut Transport,
        buffer: &mut Vec<u8>,
        limit: Duration,
    ) -> Result<bool, NoHead> {
        let decide = async {
            loop {
                let known = buffer.len().min(PREFACE.len());
                if buffer[..known] != PREFACE[..known] {
                    return Ok(false);
                }
                if known == PREFACE.len() {
                    return Ok(true);
                }
                let mut chunk = [0; 512];
                let mut read = ReadBuf::new(&mut chunk);
                std::future::poll_fn(|cx| transport.poll_read(cx, &mut read))
                    .await
                    .map_err(|_| NoHead::Closed)?;
                match read.filled() {
                    [] => return Err(NoHead::Closed),
                    bytes => buffer.extend_from_slice(bytes),
                }
            }
        };
        match tokio::time::timeout(limit, decide).await {
            Ok(decided) => decided,
            Err(_) if buffer.is_empty() => Err(NoHead::Closed),
            Err(_) => Err(NoHead::Refused(SLOW_HEAD)),
        }
    }

    /// Sends a refusal and ends the connection in a way that lets the client read it.
    pub(crate) async fn refuse(mut self, refusal: Refusal) {
        self.freely();
        let _ = end_with(&mut self, &refusal.to_bytes()).await;
    }

    /// From here on bytes belong to no request and no deadline of one.
    fn freely(&mut self) {
        self.connection.set_rest(None);
        self.connection.set_deadline(None);
        self.raw = true;
    }

    /// Waits until there is something to read, holding no buffer for it where that is possible.
    async fn wait_readable(&mut self) -> Result<(), NoHead> {
        let mut first = [0; 1];
        let mut first = ReadBuf::new(&mut first);
        std::future::poll_fn(|cx| {
            let polled = match &mut self.transport {
                Transport::Plain(tcp) => tcp.poll_read_ready(cx),
                tls => tls.poll_read(cx, &mut first),
            };
            match polled {
                Poll::Pending => {
                    self.connection.watch(cx);
                    self.poll_deadline(cx)
                }
                ready => ready,
            }
        })
        .await
        .map_err(|_| NoHead::Closed)?;
        match (&self.transport, first.filled()) {
            (Transport::Tls(_), []) => Err(NoHead::Closed),
            (_, bytes) => {
                self.buffer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    async fn fill(&mut self) -> Result<(), NoHead> {
        let read = std::future::poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Pending => self.poll_deadline(cx).map_ok(|()| 0),
            ready => ready,
        })
        .await;
        match read {
            Ok(0) => Err(NoHead::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !self.buffer.is_empty() => {
                Err(NoHead::Refused(SLOW_HEAD))
            }
            Err(_) => Err(NoHead::Closed),
        }
    }

    /// Reads into the buffer; zero is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let length = self.buffer.len();
        self.buffer.resize(length + READ, 0);
        let mut read = ReadBuf::new(&mut self.buffer[length..]);
        let polled = self.transport.poll_read(cx, &mut read);
        let count = read.filled().len();
        self.buffer.truncate(length + count);
        polled.map_ok(|()| count)
    }

    /// Throws away what the client still sends, until it ends, is silent or `until`: closing at once would reset the
    /// connection, and the client would never see its answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<io::Result<()>> {
        loop {
            self.buffer.clear();
            let now = Instant::now();
            match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) if now < until => self.connection.set_deadline(Some(until.min(now + LINGER))),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return self.poll_deadline(cx).map(|_| Ok(())),
            }
        }
    }

    /// Pending while there is time left; the waker is set for its end.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let due = match (self.connection.due(), self.send_by) {
                (Some(due), Some(send_by)) => due.min(send_by),
                (due, send_by) => match due.or(send_by) {
                    Some(due) => due,
                    None => return Poll::Pending,
                },
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            // A timer that is too early is left alone: it costs one wake, moving it costs every request.
            if timer.deadline() > due || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.connection.due().is_some_and(|due| due <= now) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if self.send_by.is_some_and(|send_by| send_by <= now) {
                self.send_by = None;
                // The socket's own waker leads back to a write; what does not fit now waits for it.
                let _ = self.poll_send(cx, &[])?;
            }
        }
    }

    /// Hands on what belongs to the present request.
    fn poll_request(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ready > 0 {
            let count = self.ready.min(buf.remaining());
            buf.put_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            self.ready -= count;
            self.tidy();
            return Poll::Ready(Ok(()));
        }
        if self.framing.is_done() {
            if self.connection.is_upgraded() {
                self.raw = true;
                return self.poll_raw(cx, buf);
            }
            return self.poll_end(cx);
        }
        let before = buf.filled().len();
        ready!(self.transport.poll_read(cx, buf))?;
        let (framing, connection) = (&mut self.framing, &self.connection);
        let read = &buf.filled()[before..];
        connection.moved();
        let own = framing.scan(read).map_err(|refusal| {
            connection.refuse(refusal);
            io::Error::new(io::ErrorKind::InvalidData, refusal.why)
        })?;
        self.buffer.extend_from_slice(&read[own..]);
        buf.set_filled(before + own);
        Poll::Ready(Ok(()))
    }

    /// The request is complete: what comes now is the next one, which waits, or the client's end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx))? {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at < self.buffer.len() {
            let count = (self.buffer.len() - self.at).min(buf.remaining());
            buf.put_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            self.tidy();
            return Poll::Ready(Ok(()));
        }
        let polled = self.transport.poll_read(cx, buf);
        if polled.is_ready() {
            self.connection.moved();
        }
        polled
    }

    /// Drops what was handed on, once that is everything or the request is.
    fn tidy(&mut self) {
        if self.at == self.buffer.len() {
            self.buffer = Vec::new();
            self.at = 0;
        } else if self.ready == 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }

    /// Sends what waits, and then as much of `data` as goes out with it; says how much of `data` that was.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let waiting = &self.out[self.sent..];
            if waiting.is_empty() {
                self.out.clear();
                self.sent = 0;
                self.send_by = None;
                return match data {
                    [] => Poll::Ready(Ok(0)),
                    data => self.transport.poll_write(cx, data),
                };
            }
            let slices = [io::IoSlice::new(waiting), io::IoSlice::new(data)];
            let count = ready!(self.transport.poll_write_vectored(cx, &slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let waited = waiting.len();
            self.sent += count.min(waited);
            if count > waited {
                self.out.clear();
                self.sent = 0;
                return Poll::Ready(Ok(count - waited));
            }
        }
    }
}

const SLOW_HEAD: Refusal = Refusal::with(408, "request head not complete in time");

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match this.raw {
            true => this.poll_raw(cx, buf),
            false => this.poll_request(cx, buf),
        };
        // pingora waits for the endpoint. What it wrote and did not flush (the head, parts of a body of known
        // length) must not wait with it.
        if polled.is_pending() && this.send_by.is_none() && this.sent < this.out.len() {
            this.send_by = Some(Instant::now() + COMPANY);
        }
        match polled {
            Poll::Pending => this.poll_deadline(cx),
            ready => ready,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.connection.h2 && this.out.len() + data.len() <= GATHER {
            this.out.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        match this.poll_send(cx, data) {
            Poll::Pending => this.poll_deadline(cx).map_ok(|()| 0),
            ready => ready,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.connection.h2 {
            return this.transport.poll_write_vectored(cx, data);
        }
        let first = data
            .iter()
            .find(|slice| !slice.is_empty())
            .map_or(&[][..], |slice| slice);
        Pin::new(this).poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.h2
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match this.poll_send(cx, &[]) {
            Poll::Ready(Ok(_)) => this.transport.poll_flush(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        match polled {
            Poll::Pending => this.poll_deadline(cx),
            ready => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let until = match this.linger_until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut *this).poll_flush(cx))?;
                ready!(this.transport.poll_shutdown(cx))?;
                if this.raw || (this.framing.is_done() && this.buffer.is_empty()) {
                    return Poll::Ready(Ok(()));
                }
                this.freely();
                let now = Instant::now();
                this.connection.set_deadline(Some(now + LINGER));
                *this.linger_until.insert(now + LINGER_AT_MOST)
            }
        };
        this.poll_linger(cx, until)
    }
}
