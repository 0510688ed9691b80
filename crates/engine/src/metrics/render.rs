//! The Prometheus text format (version 0.0.4). Names and labels are stable: dashboards rely on them.

use std::fmt::Write;

use landfall_model::snapshot::Since;

use super::{
    Metrics,
    histogram::{BOUNDS, Reading},
    series::{CLASSES, CONNECTIONS, FAILURES, NO_ENDPOINT},
};
use crate::{moment::Moment, runtime::Runtime};

impl Metrics {
    /// Appends every figure. The gauges of clusters and versions are those of `runtime`.
    pub fn render(&self, runtime: &Runtime, out: &mut String) {
        let mut text = Text(out);
        self.render_engine(runtime, &mut text);
        self.render_routes(&mut text);
        self.render_clusters(&mut text);
        render_endpoints(runtime, &mut text);
    }

    fn render_engine(&self, runtime: &Runtime, text: &mut Text<'_>) {
        text.family("landfall_snapshot_version", "gauge", "Version of the snapshot in use.");
        text.sample("landfall_snapshot_version", "", runtime.version());
        text.family("landfall_rules_version", "gauge", "Version of the rules in use.");
        text.sample("landfall_rules_version", "", runtime.rules_version());
        text.family(
            "landfall_broken_rules",
            "gauge",
            "Rules and matches that did not compile and answer 500 or nothing.",
        );
        text.sample("landfall_broken_rules", "", runtime.problems().len() as u64);
        let counters = [
            ("landfall_compiles_total", "Snapshots compiled.", &self.compiles),
            (
                "landfall_connections_total",
                "Connections taken by listeners.",
                &self.connections,
            ),
            (
                "landfall_connections_refused_total",
                "Connections ended before a request: over a limit, bad TLS, not understood.",
                &self.connections_refused,
            ),
            (
                "landfall_access_log_dropped_total",
                "Access log lines dropped because the writer could not keep up.",
                &self.access_log_dropped,
            ),
        ];
        for (name, help, counter) in counters {
            text.family(name, "counter", help);
            text.sample(name, "", counter.get());
        }
        let name = "landfall_change_to_first_use_seconds";
        text.family(
            name,
            "histogram",
            "From an instance's change to the moment calls could use it; since the registry's own time of the \
             change, or since its answer told of it where it stamps none (Consul).",
        );
        for (label, since) in [("registry", Since::Registry), ("answer", Since::Answer)] {
            let labels = format!("since=\"{label}\"");
            text.histogram(name, &labels, &self.change_to_first_use(since).read());
        }
    }

    fn render_routes(&self, text: &mut Text<'_>) {
        let series = self.series();
        let none = (std::sync::Arc::from(""), 0);
        let routes: Vec<_> = std::iter::once((&none, &self.unrouted))
            .chain(&series.routes)
            .map(|((route, rule), figures)| (format!("route=\"{}\",rule=\"{rule}\"", Escaped(route)), figures))
            .collect();
        let name = "landfall_requests_total";
        text.family(
            name,
            "counter",
            "Finished requests by rule and status class; route \"\" is what no rule took.",
        );
        for (labels, figures) in &routes {
            text.classes(name, labels, &figures.by_class());
        }
        let name = "landfall_requests_in_flight";
        text.family(name, "gauge", "Requests that are not finished.");
        for (labels, figures) in &routes {
            text.sample(name, labels, figures.in_flight());
        }
        let name = "landfall_request_duration_seconds";
        text.family(
            name,
            "histogram",
            "From a request's head to the last byte of its answer.",
        );
        for (labels, figures) in &routes {
            text.histogram(name, labels, &figures.latency());
        }
        let name = "landfall_request_body_bytes_total";
        text.family(name, "counter", "Bytes of request bodies.");
        for (labels, figures) in &routes {
            text.sample(name, labels, figures.received());
        }
        let name = "landfall_response_body_bytes_total";
        text.family(name, "counter", "Bytes of answer bodies.");
        for (labels, figures) in &routes {
            text.sample(name, labels, figures.sent());
        }
        let name = "landfall_backend_requests_total";
        text.family(name, "counter", "Finished requests by rule, backend and status class.");
        for ((route, rule, backend), figures) in &series.backends {
            let (route, name_text) = (Escaped(route), Escaped(&backend.name));
            let mut labels = format!("route=\"{route}\",rule=\"{rule}\",backend=\"{name_text}");
            if let Some(namespace) = &backend.namespace {
                let _ = write!(labels, ".{}", Escaped(namespace));
            }
            if let Some(port) = backend.port {
                let _ = write!(labels, ":{port}");
            }
            labels.push('"');
            text.classes(name, &labels, &figures.by_class());
        }
    }

    fn render_clusters(&self, text: &mut Text<'_>) {
        let series = self.series();
        let clusters: Vec<_> = series
            .clusters
            .iter()
            .map(|(id, figures)| (format!("cluster=\"{}\"", Escaped(&id.to_string())), figures))
            .collect();
        let name = "landfall_upstream_tries_total";
        text.family(name, "counter", "Tries at endpoints by how they ended.");
        for (labels, figures) in &clusters {
            let answers = CLASSES.iter().copied().zip(figures.by_class()).skip(1);
            for (result, count) in answers.chain(FAILURES.iter().copied().zip(figures.failures())) {
                text.sample(name, &format!("{labels},result=\"{result}\""), count);
            }
        }
        let name = "landfall_upstream_latency_seconds";
        text.family(
            name,
            "histogram",
            "From the choice of an endpoint to the head of its answer.",
        );
        for (labels, figures) in &clusters {
            text.histogram(name, labels, &figures.latency());
        }
        let name = "landfall_upstream_connections_total";
        text.family(
            name,
            "counter",
            "Connections used by tries: new, or kept from an earlier call.",
        );
        for (labels, figures) in &clusters {
            for (kind, count) in CONNECTIONS.iter().zip(figures.connections()) {
                text.sample(name, &format!("{labels},kind=\"{kind}\""), count);
            }
        }
        let name = "landfall_retries_total";
        text.family(name, "counter", "Tries after the first.");
        for (labels, figures) in &clusters {
            text.sample(name, labels, figures.retries.get());
        }
        let name = "landfall_retry_budget_exhausted_total";
        text.family(name, "counter", "Retries refused by the budget.");
        for (labels, figures) in &clusters {
            text.sample(name, labels, figures.retries_refused.get());
        }
        let name = "landfall_ejections_total";
        text.family(
            name,
            "counter",
            "Endpoints left out for a while because their calls kept failing.",
        );
        for (labels, figures) in &clusters {
            text.sample(name, labels, figures.ejections.get());
        }
        let name = "landfall_no_endpoint_total";
        text.family(name, "counter", "Calls that got no endpoint, by reason.");
        for (labels, figures) in &clusters {
            for (reason, counter) in NO_ENDPOINT.iter().zip(&figures.no_endpoint) {
                text.sample(name, &format!("{labels},reason=\"{reason}\""), counter.get());
            }
        }
    }
}

fn render_endpoints(runtime: &Runtime, text: &mut Text<'_>) {
    let now = Moment::now();
    let clusters: Vec<_> = runtime
        .clusters()
        .iter()
        .map(|cluster| (format!("cluster=\"{}\"", Escaped(&cluster.id.to_string())), cluster))
        .collect();
    let name = "landfall_endpoints";
    text.family(name, "gauge", "Endpoints of a cluster.");
    for (labels, cluster) in &clusters {
        text.sample(name, labels, cluster.members().len() as u64);
    }
    let name = "landfall_endpoints_ejected";
    text.family(name, "gauge", "Endpoints that are left out now.");
    for (labels, cluster) in &clusters {
        text.sample(name, labels, cluster.ejected(now) as u64);
    }
    let name = "landfall_upstream_in_flight";
    text.family(name, "gauge", "Tries that are not over.");
    for (labels, cluster) in &clusters {
        text.sample(name, labels, u64::from(cluster.in_flight()));
    }
}

/// The text so far. Writing to a `String` cannot fail.
struct Text<'o>(&'o mut String);

impl Text<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    /// One sample per status class that has been seen.
    fn classes(&mut self, name: &str, labels: &str, counts: &[u64]) {
        for (class, count) in CLASSES.iter().zip(counts) {
            // 2xx is always shown, so that a rate has a start.
            if *count > 0 || *class == "2xx" {
                let _ = writeln!(self.0, "{name}{{{labels},status=\"{class}\"}} {count}");
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, reading: &Reading) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (count, (_, bound)) in reading.counts.iter().zip(&BOUNDS) {
            sum += count;
            let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {sum}");
        }
        let count = reading.count();
        let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let seconds = reading.sum_micros as f64 / 1e6;
        let braces = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let _ = writeln!(self.0, "{name}_sum{braces} {seconds}\n{name}_count{braces} {count}");
    }
}

/// A label's value with `\`, `"` and line ends escaped.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            match part.as_bytes().last() {
                Some(b'\\') => write!(f, "{}\\\\", &part[..part.len() - 1])?,
                Some(b'"') => write!(f, "{}\\\"", &part[..part.len() - 1])?,
                Some(b'\n') => write!(f, "{}\\n", &part[..part.len() - 1])?,
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), r#"a\"b\\c\nd"#);
    }
}
