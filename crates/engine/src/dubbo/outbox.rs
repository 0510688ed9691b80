//! Frames on their way to a socket, in the order in which they were put in.
//!
//! ```text
//!  put ─▶ queue ─▶ writer task ─┬─ small frames gathered ─▶ one write
//!                               └─ large bodies as they are ─▶ no copy
//! ```
//!
//! The writer notes the id of the last frame that it has begun to write. Ids on a connection to an endpoint count up in
//! the order of the queue, so a call with a higher one was provably not sent.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use landfall_codec::dubbo2::{Frame, HEADER};
use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};

/// Bodies up to this many bytes are gathered into one write.
const SMALL: usize = 16 * 1024;
/// What is gathered before it is written.
const GATHERED: usize = 64 * 1024;
/// Frames taken from the queue at once.
const BATCH: usize = 128;

/// The way to one socket.
pub(super) struct Outbox {
    /// `None` once nothing more may be put in.
    queue: Mutex<Option<mpsc::UnboundedSender<Frame>>>,
    gauge: Arc<Gauge>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer tells.
#[derive(Default)]
struct Gauge {
    /// Id of the last frame begun.
    begun: AtomicU64,
    /// Bytes of bodies that wait.
    waiting: AtomicUsize,
    /// Told when something was written.
    written: Notify,
    /// Told when nothing more will be.
    ended: Notify,
}

impl Outbox {
    /// Starts a writer. It ends when the outbox is closed and empty, or when the peer takes nothing for `stall`.
    pub(super) fn start(socket: OwnedWriteHalf, stall: Duration) -> Self {
        let (queue, frames) = mpsc::unbounded_channel();
        let gauge = Arc::<Gauge>::default();
        let writer = tokio::spawn({
            let gauge = gauge.clone();
            async move {
                write(socket, frames, &gauge, stall).await;
                gauge.ended.notify_one();
            }
        });
        Self {
            queue: Mutex::new(Some(queue)),
            gauge,
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Puts a frame in; whether the socket may still take it.
    pub(super) fn put(&self, frame: Frame) -> bool {
        let length = frame.body.len();
        self.gauge.waiting.fetch_add(length, Ordering::Relaxed);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = queue.as_ref().is_some_and(|queue| queue.send(frame).is_ok());
        if !taken {
            self.gauge.waiting.fetch_sub(length, Ordering::Relaxed);
        }
        taken
    }

    /// Whether the frame of that id may have left, in part at least. For ids that count up.
    pub(super) fn has_begun(&self, id: u64) -> bool {
        self.gauge.begun.load(Ordering::Relaxed) >= id
    }

    /// Bytes of bodies that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.gauge.waiting.load(Ordering::Relaxed)
    }

    /// Resolves when something was written since the last time.
    pub(super) async fn written(&self) {
        self.gauge.written.notified().await;
    }

    /// Resolves once, when the socket takes nothing more.
    pub(super) async fn broken(&self) {
        self.gauge.ended.notified().await;
    }

    /// Takes nothing more; what is in is written, then the peer is told that no more comes.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// [Closes](Self::close) and waits until everything is written, or cannot be.
    pub(super) async fn finish(&self) {
        self.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.await;
        }
    }
}

async fn write(mut socket: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Frame>, gauge: &Gauge, stall: Duration) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut gathered = BytesMut::new();
    while frames.recv_many(&mut batch, BATCH).await > 0 {
        let mut last = 0;
        let mut small = 0;
        for Frame { header, body } in batch.drain(..) {
            last = header.id;
            gathered.reserve(HEADER);
            gathered.extend_from_slice(&header.encode());
            let large = body.len() > SMALL;
            if !large {
                gathered.extend_from_slice(&body);
                small += body.len();
            }
            if large || gathered.len() > GATHERED {
                gauge.begun.store(last, Ordering::Relaxed);
                let mut sent = send(&socket, &gathered, stall).await;
                gathered.clear();
                gauge.release(std::mem::take(&mut small));
                if large && sent.is_ok() {
                    sent = send(&socket, &body, stall).await;
                    gauge.release(body.len());
                }
                if sent.is_err() {
                    return;
                }
            }
        }
        if !gathered.is_empty() {
            gauge.begun.store(last, Ordering::Relaxed);
            if send(&socket, &gathered, stall).await.is_err() {
                return;
            }
            gathered.clear();
            gauge.release(small);
        }
        // One burst of answers must not hold its memory for ever.
        if gathered.capacity() > 4 * GATHERED {
            gathered = BytesMut::new();
        }
    }
    let _ = socket.shutdown().await;
}

impl Gauge {
    fn release(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.written.notify_one();
    }
}

/// Writes all of it. Only a socket that does not take it at once is waited for under a deadline.
async fn send(socket: &OwnedWriteHalf, mut bytes: &[u8], stall: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(stall, socket.writable())
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
