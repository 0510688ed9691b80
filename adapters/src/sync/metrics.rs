//! Figures of sync, as Prometheus reads them: the status in another form.

use std::{fmt::Write as _, sync::Arc};

use tokio::sync::watch;

use super::status::{SyncStatus, TargetStatus};

/// Figures of every registry that is written.
#[derive(Clone, Debug)]
pub struct Metrics {
    status: watch::Receiver<Arc<SyncStatus>>,
}

impl Metrics {
    pub(super) fn new(status: watch::Receiver<Arc<SyncStatus>>) -> Self {
        Self { status }
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let status = self.status.borrow().clone();
        if status.targets.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "# HELP landfall_sync_writer Whether this process is the one that writes.\n\
             # TYPE landfall_sync_writer gauge\nlandfall_sync_writer {}\n",
            u8::from(status.writer)
        );
        type Value = fn(&TargetStatus) -> u64;
        let gauges: [(&str, &str, Value); 7] = [
            ("kept", "Records of ours that stand there as they are wanted.", |t| {
                count(t.kept)
            }),
            ("pending", "Writes that are to be done.", |t| count(t.pending)),
            ("waiting", "Writes that wait to be applied by hand.", |t| {
                count(t.waiting)
            }),
            ("held", "Writes that a guard holds back.", |t| count(t.held)),
            (
                "conflicts",
                "Services that are not written because something else has their name.",
                |t| count(t.conflicts),
            ),
            (
                "left_out",
                "Services or parts of them that are not to be written.",
                |t| count(t.left_out),
            ),
            ("leases", "Records whose leases are kept alive.", |t| t.figures.held),
        ];
        for (name, help, value) in gauges {
            family(out, &status, &format!("landfall_sync_{name}"), "gauge", help, &value);
        }
        let counters: [(&str, &str, Value); 5] = [
            ("removals", "Records removed.", |t| t.figures.removes),
            ("renewals", "Renewals of leases.", |t| t.figures.renewals),
            (
                "restores",
                "Records written again because the registry had lost them.",
                |t| t.figures.restores,
            ),
            ("send_failures", "Sends that failed, renewals included.", |t| {
                t.figures.failures
            }),
            ("errors", "Writes and removals that failed.", |t| t.errors),
        ];
        family(
            out,
            &status,
            "landfall_sync_writes_total",
            "counter",
            "Records written because they were new or had changed.",
            &|target| target.figures.puts,
        );
        for (name, help, value) in counters {
            family(
                out,
                &status,
                &format!("landfall_sync_{name}_total"),
                "counter",
                help,
                &value,
            );
        }
        let state = "landfall_sync_state";
        let _ = write!(
            out,
            "# HELP {state} What the target does, as a label.\n# TYPE {state} gauge\n"
        );
        for (target, shown) in &status.targets {
            let _ = writeln!(
                out,
                "{state}{{registry=\"{target}\",state=\"{}\"}} 1",
                shown.state.word()
            );
        }
    }
}

fn family(
    out: &mut String,
    status: &SyncStatus,
    name: &str,
    kind: &str,
    help: &str,
    value: &dyn Fn(&TargetStatus) -> u64,
) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (target, shown) in &status.targets {
        let _ = writeln!(out, "{name}{{registry=\"{target}\"}} {}", value(shown));
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
