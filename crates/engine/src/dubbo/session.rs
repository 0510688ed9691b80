//! A client's connection: frames in, a call for each, answers out as they come.
//!
//! ```text
//!  socket ─▶ decoder ─┬─ call ─▶ [call] ─▶ … ─▶ outbox ─▶ socket      many at once
//!                     ├─ heartbeat ─▶ answered here
//!                     ├─ too long ─▶ refused, its body passed over
//!                     └─ no Dubbo ─▶ the end: where the next frame begins cannot be known
//!  the port closes ─▶ "R" ─▶ a last call ─▶ nothing more is read ─▶ what is in flight is answered ─▶ the end
//! ```
//!
//! When the connection ends, its calls are dropped with it: their endpoints are released, and their replies are dropped
//! as they come. Next on the path: [`call`](super::call).

use std::{
    future::{Future, pending, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{StreamExt, stream::FuturesUnordered};
use landfall_codec::dubbo2::{Decoded, Decoder, Event, Frame, reply};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Proxy, call,
    fault::Fault,
    link::make_room,
    outbox::Outbox,
    pulse::{Beat, Pulse},
};
use crate::{
    listen::ports::{Port, Stage},
    metrics::Metrics,
};

/// How long a client may take to read its last answers and close.
const LINGER: Duration = Duration::from_secs(2);

/// What the calls of a connection share.
pub(super) struct Client {
    /// The other end.
    pub(super) address: SocketAddr,
    /// Our end.
    pub(super) local: SocketAddr,
    /// The port it came in on.
    pub(super) port: Arc<Port>,
    /// The way back.
    pub(super) outbox: Outbox,
    /// Bytes of requests in flight.
    held: AtomicUsize,
}

/// Bytes of a request in flight, counted while this lives.
struct Held {
    client: Arc<Client>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.client.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Serves a client until it leaves, falls silent, or its port closes.
pub(crate) async fn serve(
    proxy: &Arc<Proxy>,
    stream: TcpStream,
    (address, local): (SocketAddr, SocketAddr),
    port: &Arc<Port>,
    metrics: &Metrics,
) {
    let options = proxy.options;
    let (mut socket, write) = stream.into_split();
    let client = Arc::new(Client {
        address,
        local,
        port: port.clone(),
        outbox: Outbox::start(write, options.stall),
        held: AtomicUsize::new(0),
    });
    let mut decoder = Decoder::new(options.payload);
    let mut input = BytesMut::new();
    let mut calls = FuturesUnordered::new();
    let mut pulse = Pulse::new(options.heartbeat, Instant::now());
    let mut tick = interval(pulse.every());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What hardly ever happens is asked for once and not again with every frame.
    let mut stage = port.stage();
    let mut closed = pin!(stage.wait_for(|stage| *stage == Stage::Closed));
    let mut broken = pin!(client.outbox.broken());
    // From when on nothing more is read, once the port is closed.
    let mut leaves: Option<Instant> = None;
    let mut reads = true;
    while reads || !calls.is_empty() {
        let has_room = client.held.load(Ordering::Relaxed) < options.held && client.outbox.waiting() < options.held;
        let mut wanted = 0;
        if reads && has_room {
            match decoder.decode(&mut input) {
                Ok(Decoded::Frame(frame)) => {
                    if calls.len() >= options.calls && !frame.header.event {
                        refuse(&client, &frame, &Fault::TooMany);
                    } else if let Some(frame) = attend(&client, frame) {
                        calls.push(hold(&client, proxy, frame));
                    }
                    continue;
                }
                Ok(Decoded::Oversized(header)) => {
                    let empty = Frame::new(header, bytes::Bytes::new());
                    refuse(&client, &empty, &Fault::TooLarge(options.payload));
                    continue;
                }
                Ok(Decoded::NeedMore(more)) => wanted = more,
                Err(error) => {
                    metrics.connections_refused.increment();
                    tracing::debug!(client = %address, port = port.number(), "closed: {error}");
                    reads = false;
                    continue;
                }
            }
            make_room(&mut input, wanted);
        }
        tokio::select! {
            () = some_end(&mut calls), if !calls.is_empty() => {}
            read = socket.read_buf(&mut input), if wanted > 0 => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => pulse.heard(Instant::now()),
            },
            () = &mut broken => return,
            () = client.outbox.written(), if reads && !has_room => {}
            _ = &mut closed, if leaves.is_none() => {
                client.outbox.put(reply::read_only(0));
                leaves = Some(Instant::now() + options.last_call);
            }
            () = at(leaves), if reads => reads = false,
            _ = tick.tick(), if reads => match pulse.beat(Instant::now()) {
                Beat::Rest => {}
                Beat::Send => {
                    client.outbox.put(reply::heartbeat(0));
                }
                // Silence while its calls run is a client that waits; its end shows by itself.
                Beat::Lost if !calls.is_empty() => {}
                Beat::Lost => return,
            },
        }
    }
    client.outbox.finish().await;
    // Closing while the client still sends would reset the connection, and it would never see its last answers.
    let _ = timeout(LINGER, discard(&mut socket)).await;
}

/// Resolves when calls have ended: all those that have by then.
async fn some_end<F: Future<Output = ()>>(calls: &mut FuturesUnordered<F>) {
    let mut some = false;
    poll_fn(|context| {
        while let Poll::Ready(Some(())) = calls.poll_next_unpin(context) {
            some = true;
        }
        match some {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

async fn discard(socket: &mut (impl AsyncRead + Unpin)) {
    let mut discarded = [0; 4096];
    while socket.read(&mut discarded).await.is_ok_and(|read| read > 0) {}
}

/// Does what a frame asks of the connection; gives it back if it is a call.
fn attend(client: &Client, frame: Frame) -> Option<Frame> {
    match Event::of(&frame) {
        Some(Event::Heartbeat) if frame.header.wants_answer() => {
            client.outbox.put(reply::heartbeat_answer(&frame.header));
            None
        }
        Some(_) => None,
        None => frame.header.is_request().then_some(frame),
    }
}

fn refuse(client: &Client, frame: &Frame, fault: &Fault) {
    if frame.header.is_request()
        && let Some(reply) = fault.reply(&frame.header)
    {
        client.outbox.put(reply);
    }
}

/// A call, with its bytes counted from now on.
fn hold(client: &Arc<Client>, proxy: &Arc<Proxy>, frame: Frame) -> impl Future<Output = ()> + Send + use<> {
    let bytes = frame.body.len();
    client.held.fetch_add(bytes, Ordering::Relaxed);
    let held = Held {
        client: client.clone(),
        bytes,
    };
    let (client, proxy) = (client.clone(), proxy.clone());
    async move {
        call::carry(&proxy, &client, frame).await;
        drop(held);
    }
}
