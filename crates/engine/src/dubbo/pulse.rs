//! Whether the other end of a connection is still there: heartbeats in silence, and an end to too long a silence.
//!
//! Java does the same (`HeartbeatTimerTask`, `CloseTimerTask`): any frame counts as life.

use std::time::Duration;

use tokio::time::Instant;

/// Silence of so many heartbeats ends a connection.
const LOST: u32 = 3;

/// The life of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    heartbeat: Duration,
    heard: Instant,
    sent: Instant,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Rest,
    /// Send a heartbeat.
    Send,
    /// Give the connection up.
    Lost,
}

impl Pulse {
    pub(super) fn new(heartbeat: Duration, now: Instant) -> Self {
        Self {
            heartbeat,
            heard: now,
            sent: now,
        }
    }

    /// Bytes have come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// What the silence so far asks for; a heartbeat that it asks for counts as sent.
    pub(super) fn beat(&mut self, now: Instant) -> Beat {
        let silence = now.saturating_duration_since(self.heard);
        if silence >= self.heartbeat * LOST {
            return Beat::Lost;
        }
        let since = now.saturating_duration_since(self.sent.max(self.heard));
        if since < self.heartbeat {
            return Beat::Rest;
        }
        self.sent = now;
        Beat::Send
    }

    /// How often to ask.
    pub(super) fn every(&self) -> Duration {
        (self.heartbeat / 4).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_answered_by_heartbeats_and_after_three_of_them_the_connection_is_lost() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(Duration::from_secs(60), start);
        assert_eq!(pulse.beat(at(59)), Beat::Rest);
        assert_eq!(pulse.beat(at(60)), Beat::Send);
        assert_eq!(pulse.beat(at(75)), Beat::Rest, "one was sent just now");
        assert_eq!(pulse.beat(at(120)), Beat::Send);
        assert_eq!(pulse.beat(at(180)), Beat::Lost);

        let mut pulse = Pulse::new(Duration::from_secs(60), start);
        assert_eq!(pulse.beat(at(60)), Beat::Send);
        pulse.heard(at(61));
        assert_eq!(pulse.beat(at(120)), Beat::Rest);
        assert_eq!(pulse.beat(at(121)), Beat::Send);
        assert_eq!(pulse.beat(at(240)), Beat::Send, "240 - 61 is less than three times 60");
        assert_eq!(pulse.beat(at(241)), Beat::Lost);
    }
}
