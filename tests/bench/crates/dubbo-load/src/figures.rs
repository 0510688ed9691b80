//! What a run came to.

use std::{fmt, time::Duration};

/// Latencies of the answered calls, each kept, so that the percentiles are exact.
#[derive(Default)]
pub struct Figures {
    latencies: Vec<Duration>,
    /// Calls that were begun more than [`LATE`] after they were due.
    pub late: usize,
    /// From the first call that was due to the last answer.
    pub took: Duration,
}

/// Delay of a call behind its time that is worth telling.
pub const LATE: Duration = Duration::from_millis(1);

impl Figures {
    /// Counts an answer.
    pub fn answered(&mut self, latency: Duration) {
        self.latencies.push(latency);
    }

    /// Puts the latencies in order; needed before they are shown.
    pub fn close(&mut self, took: Duration) {
        self.took = took;
        self.latencies.sort_unstable();
    }

    /// The latency that so many in a thousand calls did not exceed, in microseconds.
    fn micros(&self, thousandth: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = (self.latencies.len() * thousandth)
            .div_ceil(1000)
            .saturating_sub(1)
            .min(last);
        self.latencies
            .get(place)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

impl fmt::Display for Figures {
    /// One JSON object; latencies in microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, seconds) = (self.latencies.len(), self.took.as_secs_f64());
        let rate = requests as f64 / seconds.max(f64::MIN_POSITIVE);
        write!(
            f,
            r#"{{"requests": {requests}, "late": {}, "seconds": {seconds:.6}, "rate": {rate:.3}"#,
            self.late
        )?;
        for (name, thousandth) in [("p50", 500), ("p99", 990), ("p999", 999), ("max", 1000)] {
            write!(f, r#", "{name}": {:.1}"#, self.micros(thousandth))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_calls_themselves() {
        let mut figures = Figures::default();
        for micros in (1..=1000).rev() {
            figures.answered(Duration::from_micros(micros));
        }
        figures.close(Duration::from_secs(2));
        assert_eq!(
            figures.to_string(),
            r#"{"requests": 1000, "late": 0, "seconds": 2.000000, "rate": 500.000, "p50": 500.0, "p99": 990.0, "p999": 999.0, "max": 1000.0}"#
        );
    }
}
