//! A connection to an endpoint, shared by the calls of a worker.
//!
//! ```text
//!  call ─▶ Link::call ─▶ pending: id 41 ─▶ outbox ─▶ endpoint
//!  call ◀─ oneshot ◀──── pending: id 41 ◀─ reader ◀─ endpoint
//!                              ▲               ├─ heartbeat: answered      ├─ "R": no new calls, if others can take them
//!                              └─ keeper:      └─ end, no Dubbo: everybody who waits is told
//!                                 time has run out, silence, nothing to do
//! ```
//!
//! A reply that nobody waits for is dropped: its caller has gone, or its time has run out.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use landfall_codec::dubbo2::{Decoded, Decoder, Event, Frame, Header, Status, reply};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    DubboOptions,
    outbox::Outbox,
    pending::Pending,
    pulse::{Beat, Pulse},
};

/// Memory that is taken at once, for what is read next.
const READ: usize = 16 * 1024;
/// What is read at once, at least. Frames of the last reads share one piece of memory until less than this is left of it.
const LEAST: usize = 4 * 1024;
/// Memory taken for a body whose length is only declared; the rest as it arrives.
const TRUSTED: usize = 1 << 20;

/// A connection to an endpoint.
pub(super) struct Link {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

struct Shared {
    pending: Mutex<Pending<oneshot::Sender<Answer>>>,
    outbox: Outbox,
    read_only: AtomicBool,
    used: Mutex<Instant>,
    pulse: Mutex<Pulse>,
    /// Told when the keeper's alarm is to go off sooner than it knows.
    sooner: Notify,
}

/// What comes of a call that was put on the connection.
pub(super) type Answer = Result<Frame, Broken>;

/// Why no reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection has died, and the endpoint cannot have the call.
    NotSent,
    /// The connection has died, and the endpoint may have run the call.
    Sent,
    /// The caller's time has run out; the endpoint may have run the call.
    Late,
    /// The reply is longer than allowed.
    TooLarge,
}

/// A call that waits for its reply. Dropped, it waits no more, and the reply will be dropped.
pub(super) struct Waiting {
    id: u64,
    answer: oneshot::Receiver<Answer>,
    shared: Arc<Shared>,
}

impl Link {
    /// Takes a connection into use.
    pub(super) fn start(stream: TcpStream, options: &DubboOptions) -> Self {
        let (read, write) = stream.into_split();
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            outbox: Outbox::start(write, options.stall),
            read_only: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
            pulse: Mutex::new(Pulse::new(options.heartbeat, Instant::now())),
            sooner: Notify::new(),
        });
        let task = tokio::spawn({
            let (shared, options) = (shared.clone(), *options);
            async move {
                tokio::select! {
                    () = shared.read(read, &options) => {}
                    () = shared.keep(&options) => {}
                }
                shared.die();
            }
        });
        Self {
            shared,
            reader: task.abort_handle(),
        }
    }

    /// Whether it takes calls at all.
    pub(super) fn is_alive(&self) -> bool {
        !self.shared.pending().has_ended()
    }

    /// Whether the endpoint has asked for no new calls.
    pub(super) fn is_read_only(&self) -> bool {
        self.shared.read_only.load(Ordering::Relaxed)
    }

    /// Sends a call whose reply is waited for, until `due` if that is given.
    pub(super) fn call(&self, frame: Frame, due: Option<Instant>) -> Result<Waiting, Broken> {
        self.shared.used_now();
        let (sender, answer) = oneshot::channel();
        let mut sooner = false;
        let id = self.shared.send(frame, |pending| {
            sooner = due.is_some_and(|due| pending.rouse_by(due));
            pending.open(sender, due)
        })?;
        if sooner {
            self.shared.sooner.notify_one();
        }
        Ok(Waiting {
            id,
            answer,
            shared: self.shared.clone(),
        })
    }

    /// Sends a call that has no reply.
    pub(super) fn tell(&self, frame: Frame) -> Result<(), Broken> {
        self.shared.used_now();
        self.shared.send(frame, Pending::next).map(|_| ())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        self.shared.die();
    }
}

impl Waiting {
    /// Waits for the reply.
    pub(super) async fn answer(mut self) -> Answer {
        // The sender is kept until it is used, so there is always an answer.
        (&mut self.answer).await.unwrap_or(Err(Broken::Sent))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.pending().close(self.id);
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending<oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins. Heartbeats are no use: a connection that carries nothing else is given up in the end.
    fn used_now(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Puts a frame into the outbox under an id of this connection. Under the lock, so that ids leave in their order.
    fn send(
        &self,
        frame: Frame,
        id: impl FnOnce(&mut Pending<oneshot::Sender<Answer>>) -> Option<u64>,
    ) -> Result<u64, Broken> {
        let mut pending = self.pending();
        let id = id(&mut pending).ok_or(Broken::NotSent)?;
        let header = Header { id, ..frame.header };
        if self.outbox.put(Frame { header, ..frame }) {
            return Ok(id);
        }
        pending.close(id);
        Err(Broken::NotSent)
    }

    /// Reads until the end, or bytes that are no Dubbo.
    async fn read(&self, mut socket: OwnedReadHalf, options: &DubboOptions) {
        let mut decoder = Decoder::new(options.payload);
        let mut input = BytesMut::new();
        loop {
            let wanted = match decoder.decode(&mut input) {
                Ok(Decoded::Frame(frame)) => {
                    self.take(frame);
                    continue;
                }
                Ok(Decoded::Oversized(header)) => {
                    self.resolve(&header, Err(Broken::TooLarge));
                    continue;
                }
                Ok(Decoded::NeedMore(wanted)) => wanted,
                Err(error) => {
                    tracing::warn!("an endpoint does not speak Dubbo: {error}");
                    return;
                }
            };
            make_room(&mut input, wanted);
            match socket.read_buf(&mut input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.pulse().heard(Instant::now()),
            }
        }
    }

    /// Keeps the time until the connection breaks, has been silent too long, or has had nothing to do for long.
    async fn keep(&self, options: &DubboOptions) {
        let mut tick = interval(self.pulse().every());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut broken = pin!(self.outbox.broken());
        let mut sooner = pin!(self.sooner.notified());
        let (mut alarm, mut is_set) = (pin!(sleep_until(Instant::now())), false);
        loop {
            tokio::select! {
                () = &mut broken => return,
                () = &mut sooner => sooner.set(self.sooner.notified()),
                () = &mut alarm, if is_set => {
                    let late = self.pending().late(Instant::now());
                    for caller in late {
                        // Its caller may be going just now.
                        let _ = caller.send(Err(Broken::Late));
                    }
                }
                _ = tick.tick() => {
                    if !self.beat(options) {
                        return;
                    }
                    continue;
                }
            }
            let next = self.pending().alarm();
            is_set = next.is_some();
            if let Some(next) = next {
                alarm.as_mut().reset(next);
            }
        }
    }

    /// Sends a heartbeat if one is due; whether the connection is to be kept.
    fn beat(&self, options: &DubboOptions) -> bool {
        let now = Instant::now();
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = now.saturating_duration_since(used);
        if idle >= options.idle && self.pending().end_if_idle() {
            return false;
        }
        let beat = self.pulse().beat(now);
        if beat == Beat::Send {
            let _ = self.send(reply::heartbeat(0), Pending::next);
        }
        beat != Beat::Lost
    }

    fn take(&self, frame: Frame) {
        match Event::of(&frame) {
            Some(Event::ReadOnly) => self.read_only.store(true, Ordering::Relaxed),
            Some(Event::Writable) => self.read_only.store(false, Ordering::Relaxed),
            Some(Event::Heartbeat) if frame.header.wants_answer() => {
                self.outbox.put(reply::heartbeat_answer(&frame.header));
            }
            Some(Event::Heartbeat | Event::Unknown) => {}
            // A provider that calls: it may mean any of the clients behind us, and does not know of them.
            None if frame.header.is_request() => {
                let text = "gateway: a provider cannot call its consumers through a gateway";
                let refusal = reply::error(&frame.header, Status::SERVICE_NOT_FOUND, text);
                refusal.map(|refusal| self.outbox.put(refusal));
            }
            None => {
                let header = frame.header;
                self.resolve(&header, Ok(frame));
            }
        }
    }

    fn resolve(&self, header: &Header, answer: Answer) {
        if header.is_request() || header.event {
            return;
        }
        let caller = self.pending().close(header.id);
        if let Some(caller) = caller {
            // Its caller may be going just now.
            let _ = caller.send(answer);
        }
    }

    /// Tells everybody who waits, and lets the socket go.
    fn die(&self) {
        let waiting = self.pending().end();
        for (id, caller) in waiting {
            let broken = match self.outbox.has_begun(id) {
                true => Broken::Sent,
                false => Broken::NotSent,
            };
            let _ = caller.send(Err(broken));
        }
        self.outbox.close();
    }
}

/// Room for what is to come: for a large body at once, so that it is not moved as it grows, but not on the word of a
/// header alone.
pub(super) fn make_room(input: &mut BytesMut, wanted: usize) {
    let trusted = TRUSTED.max(input.len());
    if input.capacity() - input.len() >= wanted.clamp(LEAST, trusted) {
        return;
    }
    input.reserve(wanted.clamp(READ, trusted));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// An endpoint that answers heartbeats until the connection ends; how many there were.
    async fn answer_heartbeats(listener: TcpListener) -> usize {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut decoder, mut input, mut count) = (Decoder::new(1024), BytesMut::new(), 0);
        loop {
            while let Ok(Decoded::Frame(frame)) = decoder.decode(&mut input) {
                assert_eq!(Event::of(&frame), Some(Event::Heartbeat));
                count += 1;
                let mut bytes = BytesMut::new();
                reply::heartbeat_answer(&frame.header).encode(&mut bytes);
                socket.write_all(&bytes).await.unwrap();
            }
            if socket.read_buf(&mut input).await.unwrap() == 0 {
                return count;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_carries_nothing_but_heartbeats_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let options = DubboOptions {
            heartbeat: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            ..DubboOptions::default()
        };
        let link = Link::start(stream, &options);
        let beats = tokio::time::timeout(Duration::from_secs(3600), answer_heartbeats(listener)).await;
        let beats = beats.expect("the connection still stands after an hour");
        assert!((1..=5).contains(&beats), "{beats} heartbeats in five minutes");
        assert!(!link.is_alive());
    }
}
