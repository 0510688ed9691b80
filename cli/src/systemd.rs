//! What systemd, or whatever else started us with `NOTIFY_SOCKET`, is told: that the ports are open, how it stands, that
//! it ends. Nobody is told anything where nobody asked. And the sockets that it opened for us. Facts: sd_notify(3),
//! sd_listen_fds(3).

use std::{net::TcpListener, sync::Arc, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::outcome::Failure;

/// Longer than the longest drain: what is written at the end takes time as well.
const AFTER_DRAIN: Duration = Duration::from_secs(15);

/// The listening sockets that this process was started with. Before other threads exist: it takes variables out of the
/// environment.
pub fn sockets() -> Result<Vec<Arc<TcpListener>>, Failure> {
    let mut given = ListenFd::from_env();
    let sockets = (0..given.len()).filter_map(|index| {
        let socket = given.take_tcp_listener(index);
        socket.map(|socket| socket.map(Arc::new)).transpose()
    });
    sockets.collect::<Result<_, _>>().map_err(|error| {
        Failure::Usage(format!(
            "a socket that this process was started with cannot be used: {error}\nIn the socket unit, ListenStream= must be \
             a port or an address with a port."
        ))
    })
}

/// The ports are open; whoever waits for us may go on.
pub fn ports_are_open() {
    tell(&[
        NotifyState::Ready,
        NotifyState::Status("ports are open; /readyz tells what is missing"),
    ]);
}

/// Every registry has answered, or what it last said is known.
pub fn serving() {
    tell(&[NotifyState::Status("serving")]);
}

/// It ends, and calls in flight have this long: the unit's own limit must not cut them.
pub fn stopping(patience: Duration) {
    let status = format!("ending; calls in flight have {} s", patience.as_secs());
    let longest = u32::try_from((patience + AFTER_DRAIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status(&status),
        NotifyState::ExtendTimeoutUsec(longest),
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how it stands");
    }
}
