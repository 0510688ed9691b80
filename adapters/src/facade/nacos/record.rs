//! One instance as Nacos has it: read from what clients send, with bounds, and written as servers answer it.
//!
//! | field | if it is missing |
//! |---|---|
//! | `ip` | an error |
//! | `port` | an error (0 is legal: no port) |
//! | `weight` | 1; 0 to 10,000 |
//! | `healthy`, `enabled`, `ephemeral` | true |
//! | `clusterName` | `DEFAULT` |
//! | `metadata` | none |
//!
//! Next on the path: [`book`](super::book).

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::book::{Key, Limits, Refusal};

/// Highest weight (api: `Constants`/console; more is refused by Nacos).
const HIGHEST_WEIGHT: f64 = 10_000.0;
/// The cluster of whoever names none.
pub const DEFAULT_CLUSTER: &str = "DEFAULT";
const INTERVAL: &str = "preserved.heart.beat.interval";
const TIMEOUT: &str = "preserved.heart.beat.timeout";
const DELETE: &str = "preserved.ip.delete.timeout";
const GENERATOR: &str = "preserved.instance.id.generator";
/// No beat is waited for longer, ms.
const LONGEST: u64 = 24 * 3600 * 1000;

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Address or name.
    pub ip: String,
    /// 0 to 65535.
    pub port: u16,
    /// Share of traffic; 1 is usual.
    pub weight: f64,
    /// Its own word, or what became of its beats.
    pub healthy: bool,
    /// Whether it is shown to callers.
    pub enabled: bool,
    /// It ends with its connection or its beats.
    pub ephemeral: bool,
    /// Its cluster, never empty.
    pub cluster: String,
    /// Anything.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// An instance as clients write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default)]
    weight: Option<f64>,
    #[serde(default)]
    healthy: Option<bool>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    ephemeral: Option<bool>,
    // A beat calls it `cluster`.
    #[serde(default, alias = "cluster")]
    cluster_name: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
}

impl Record {
    /// With nothing said but its address.
    pub fn at(ip: &str, port: u16) -> Self {
        Self {
            ip: ip.to_owned(),
            port,
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster: DEFAULT_CLUSTER.to_owned(),
            metadata: BTreeMap::new(),
        }
    }

    /// Reads the JSON of an instance, or of a beat.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: &Value, limits: &Limits) -> Result<Self, Refusal> {
        if !value.is_object() {
            return Err(Refusal::Invalid(
                "the instance cannot be read: it is no object".to_owned(),
            ));
        }
        let stated = Stated::deserialize(value)
            .map_err(|error| Refusal::Invalid(format!("the instance cannot be read: {error}")))?;
        let mut record = Self::at(stated.ip.as_deref().unwrap_or_default().trim(), 0);
        record.port = port(stated.port)?;
        record.weight = stated.weight.unwrap_or(1.0);
        record.healthy = stated.healthy.unwrap_or(true);
        record.enabled = stated.enabled.unwrap_or(true);
        record.ephemeral = stated.ephemeral.unwrap_or(true);
        if let Some(cluster) = stated.cluster_name.filter(|cluster| !cluster.trim().is_empty()) {
            record.cluster = cluster.trim().to_owned();
        }
        record.metadata = metadata(stated.metadata.unwrap_or_default())?;
        record.check(limits)?;
        Ok(record)
    }

    /// Nacos' own rules (`NamingUtils.checkInstanceIsLegal`), and bounds of ours.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let invalid = |what: String| Err(Refusal::Invalid(what));
        if self.ip.is_empty() {
            return invalid("Param 'ip' is required.".to_owned());
        }
        let words = |c: char| c.is_control() || c.is_whitespace() || c == '#' || c == '@';
        if self.ip.len() > limits.name || self.ip.contains(words) {
            return invalid("the instance's ip is no address".to_owned());
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.cluster.len() > limits.name || !self.cluster.chars().all(fine) {
            return invalid(
                "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: it is not)".to_owned(),
            );
        }
        if !(0.0..=HIGHEST_WEIGHT).contains(&self.weight) {
            return invalid(format!(
                "instance format invalid: The weights range from 0.0 to {HIGHEST_WEIGHT:?}"
            ));
        }
        let bytes: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > limits.metadata {
            return invalid(format!(
                "the instance has more than {} bytes of metadata",
                limits.metadata
            ));
        }
        let interval = self.preserved(INTERVAL, 5000);
        if self.preserved(TIMEOUT, 15_000) < interval || self.preserved(DELETE, 30_000) < interval {
            return invalid(
                "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'."
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What it is known by inside its service.
    pub fn id(&self) -> Arc<str> {
        instance_id(&self.ip, self.port, &self.cluster)
    }

    /// Without a beat for so long it is unhealthy, ms.
    pub fn beat_timeout(&self) -> u64 {
        self.preserved(TIMEOUT, 15_000)
    }

    /// Without a beat for so long it is gone, ms.
    pub fn delete_timeout(&self) -> u64 {
        self.preserved(DELETE, 30_000)
    }

    /// Time between two beats, ms.
    pub fn beat_interval(&self) -> u64 {
        self.preserved(INTERVAL, 5000)
    }

    fn preserved(&self, key: &str, otherwise: u64) -> u64 {
        let stated = self.metadata.get(key).and_then(|text| text.trim().parse().ok());
        stated.unwrap_or(otherwise).min(LONGEST)
    }

    /// As servers answer it.
    pub fn json(&self, key: &Key) -> Value {
        let grouped = key.grouped();
        let generator = self.metadata.get(GENERATOR).map_or("simple", String::as_str);
        json!({
            "instanceId": format!("{}#{grouped}", self.id()),
            "ip": self.ip, "port": self.port, "weight": self.weight, "healthy": self.healthy,
            "enabled": self.enabled, "ephemeral": self.ephemeral, "clusterName": self.cluster,
            "serviceName": grouped, "metadata": self.metadata,
            "instanceHeartBeatInterval": self.beat_interval(), "instanceHeartBeatTimeOut": self.beat_timeout(),
            "ipDeleteTimeout": self.delete_timeout(), "instanceIdGenerator": generator,
        })
    }
}

/// What an instance is known by inside its service.
pub(super) fn instance_id(ip: &str, port: u16, cluster: &str) -> Arc<str> {
    format!("{ip}#{port}#{cluster}").into()
}

/// A port that was stated.
pub(super) fn port(stated: Option<i64>) -> Result<u16, Refusal> {
    let stated = stated.ok_or_else(|| Refusal::Invalid("Param 'port' is required.".to_owned()))?;
    u16::try_from(stated).map_err(|_| Refusal::Invalid(format!("{stated} is no port")))
}

/// Metadata as text: Java's reader, too, takes numbers and truths for texts.
pub(super) fn metadata(stated: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut read = BTreeMap::new();
    for (key, value) in stated {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                let key: String = key.chars().take(40).collect();
                return Err(Refusal::Invalid(format!("metadata `{key}` is no text")));
            }
        };
        read.insert(key, text);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Record, Refusal> {
        Record::read(&value, &Limits::default())
    }

    #[test]
    fn what_is_left_out_is_as_in_nacos() {
        let record = read(json!({ "ip": " 10.0.0.1 ", "port": 80, "clusterName": null, "metadata": null })).unwrap();
        assert_eq!(record, Record::at("10.0.0.1", 80));
        let key = Key::new("", "", "orders", &Limits::default()).unwrap();
        let shown = record.json(&key);
        assert_eq!(shown["instanceId"], "10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@orders");
        assert_eq!(shown["serviceName"], "DEFAULT_GROUP@@orders");
        assert_eq!(
            (&shown["instanceHeartBeatTimeOut"], &shown["ipDeleteTimeout"]),
            (&json!(15_000), &json!(30_000))
        );
    }

    #[test]
    fn metadata_of_any_scalar_is_text() {
        let record =
            read(json!({ "ip": "a", "port": 1, "metadata": { "n": 1, "b": true, "z": null, "t": "x" } })).unwrap();
        let pairs: Vec<_> = record.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("b", "true"), ("n", "1"), ("t", "x")]);
    }

    #[test]
    fn what_cannot_be_an_instance_is_refused_with_the_reason() {
        let long = "x".repeat(70 << 10);
        for (stated, what) in [
            (json!({ "port": 1 }), "'ip' is required"),
            (json!({ "ip": "a" }), "'port' is required"),
            (json!({ "ip": "a b", "port": 1 }), "no address"),
            (json!({ "ip": "a#b", "port": 1 }), "no address"),
            (json!({ "ip": "a", "port": 70000 }), "70000 is no port"),
            (json!({ "ip": "a", "port": -1 }), "-1 is no port"),
            (json!({ "ip": "a", "port": 1, "weight": -0.5 }), "weights range"),
            (json!({ "ip": "a", "port": 1, "clusterName": "a,b" }), "clusterName"),
            (
                json!({ "ip": "a", "port": 1, "metadata": { "k": long } }),
                "bytes of metadata",
            ),
            (
                json!({ "ip": "a", "port": 1, "metadata": { "k": [] } }),
                "`k` is no text",
            ),
            (
                json!({ "ip": "a", "port": 1, "metadata": { "preserved.heart.beat.timeout": "1000" } }),
                "heart beat interval",
            ),
            (json!([1]), "cannot be read"),
            (json!({ "ip": 7, "port": 1 }), "cannot be read"),
        ] {
            let refused = read(stated.clone()).unwrap_err().to_string();
            assert!(refused.contains(what), "{stated}: {refused}");
        }
    }
}
