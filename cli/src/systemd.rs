//! What systemd, or whatever else started us with `NOTIFY_SOCKET`, is told: that the ports are open, how it stands, that
//! it ends. Nobody is told anything where nobody asked. Facts: sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

/// Longer than the longest drain: what is written at the end takes time as well.
const AFTER_DRAIN: Duration = Duration::from_secs(15);

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
