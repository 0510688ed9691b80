//! Writing, strictly: exactly the fields and shapes that the strictest reader accepts.
//!
//! Spring's reader fails on any field it does not know and on a missing array; Netflix's wants `@class`
//! and text for ports' `@enabled`, timestamps and the coordinating flag; python's reads XML only.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Application, Applications, DataCenter, Detail, Format, InstanceInfo, LeaseInfo, PortField, xml};

/// `{"applications": …}` or `<applications>…`.
pub fn applications(applications: &Applications, format: Format, detail: Detail) -> Vec<u8> {
    match format {
        Format::Json => json("applications", &ApplicationsOut(applications, detail)),
        Format::Xml => xml::write_applications(applications, detail),
    }
}

/// `{"application": …}` or `<application>…`.
pub fn application(application: &Application, format: Format, detail: Detail) -> Vec<u8> {
    match format {
        Format::Json => json("application", &ApplicationOut(application, detail)),
        Format::Xml => xml::write_application(application, detail),
    }
}

/// `{"instance": …}` or `<instance>…`.
pub fn instance(instance: &InstanceInfo, format: Format) -> Vec<u8> {
    match format {
        Format::Json => json("instance", &InstanceOut(instance, Detail::Full)),
        Format::Xml => xml::write_instance(instance),
    }
}

/// The Java class a data centre's record names: typed readers need it.
pub(super) fn class_of(data_center: &DataCenter) -> &'static str {
    match data_center.name.as_str() {
        "Amazon" => "com.netflix.appinfo.AmazonInfo",
        _ => "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
    }
}

/// The name of a data centre as one of the three words readers know.
pub(super) fn data_center_name(data_center: &DataCenter) -> &'static str {
    match data_center.name.as_str() {
        "Amazon" => "Amazon",
        "Netflix" => "Netflix",
        _ => "MyOwn",
    }
}

struct Root<'a, T>(&'static str, &'a T);
struct ApplicationsOut<'a>(&'a Applications, Detail);
struct ApplicationOut<'a>(&'a Application, Detail);
struct InstanceOut<'a>(&'a InstanceInfo, Detail);
struct PortOut(PortField);
struct DataCenterOut<'a>(&'a DataCenter, Detail);
struct LeaseOut(LeaseInfo);

fn json<T: Serialize>(root: &'static str, body: &T) -> Vec<u8> {
    // Writing text and numbers into memory cannot fail; there is no map with odd keys and no writer to break.
    serde_json::to_vec(&Root(root, body)).unwrap_or_default()
}

impl<T: Serialize> Serialize for Root<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

impl Serialize for ApplicationsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list: Vec<_> = self
            .0
            .applications
            .iter()
            .map(|one| ApplicationOut(one, self.1))
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("versions__delta", self.0.version.as_deref().unwrap_or("1"))?;
        map.serialize_entry("apps__hashcode", self.0.hash.as_deref().unwrap_or(""))?;
        map.serialize_entry("application", &list)?;
        map.end()
    }
}

impl Serialize for ApplicationOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list: Vec<_> = self.0.instances.iter().map(|one| InstanceOut(one, self.1)).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("instance", &list)?;
        map.end()
    }
}

impl Serialize for InstanceOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(info, detail) = *self;
        let full = detail == Detail::Full;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instanceId", &info.instance_id)?;
        map.serialize_entry("hostName", &info.host_name)?;
        map.serialize_entry("app", &info.app)?;
        for (name, value) in [("appGroupName", &info.app_group), ("sid", &info.sid)] {
            if let Some(value) = value.as_ref().filter(|_| full) {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("ipAddr", &info.ip)?;
        map.serialize_entry("status", info.known_status().as_str())?;
        if full {
            map.serialize_entry("overriddenStatus", info.overridden.as_str())?;
        }
        map.serialize_entry("port", &PortOut(info.port))?;
        map.serialize_entry("securePort", &PortOut(info.secure_port))?;
        map.serialize_entry(
            "dataCenterInfo",
            &DataCenterOut(info.data_center.as_ref().unwrap_or(&DataCenter::default()), detail),
        )?;
        for (name, value) in optional_texts(info, detail) {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        // The original's two codecs differ in this: text in the full form, a number in the compact one.
        if !full {
            map.serialize_entry("lastUpdatedTimestamp", &info.last_updated)?;
        } else {
            map.serialize_entry("lastUpdatedTimestamp", &info.last_updated.to_string())?;
            map.serialize_entry("countryId", &info.country)?;
            map.serialize_entry("leaseInfo", &LeaseOut(info.lease))?;
            map.serialize_entry("metadata", &info.metadata)?;
            map.serialize_entry("isCoordinatingDiscoveryServer", bool_text(info.coordinating))?;
            map.serialize_entry("lastDirtyTimestamp", &dirty(info).to_string())?;
        }
        if let Some(action) = info.action {
            map.serialize_entry("actionType", action.as_str())?;
        }
        map.end()
    }
}

/// The optional texts that JSON and XML write alike.
pub(super) fn optional_texts(
    info: &InstanceInfo,
    detail: Detail,
) -> impl Iterator<Item = (&'static str, &Option<String>)> {
    let always = [
        ("vipAddress", &info.vip),
        ("secureVipAddress", &info.secure_vip),
        ("asgName", &info.asg),
    ];
    let pages = [
        ("homePageUrl", &info.home_page),
        ("statusPageUrl", &info.status_page),
        ("healthCheckUrl", &info.health_check),
        ("secureHealthCheckUrl", &info.secure_health_check),
    ];
    always
        .into_iter()
        .chain(pages.into_iter().filter(move |_| detail == Detail::Full))
}

/// What is written of an Amazon data centre's record.
pub(super) fn amazon(data_center: &DataCenter, detail: Detail) -> BTreeMap<&str, &str> {
    let kept = |key: &str| detail == Detail::Full || AMAZON.contains(&key);
    let pairs = data_center
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    pairs.filter(|(key, _)| kept(key)).collect()
}

/// What a compact answer keeps of it (`AbstractEurekaJacksonCodec`).
const AMAZON: [&str; 5] = [
    "instance-id",
    "public-ipv4",
    "public-hostname",
    "local-ipv4",
    "availability-zone",
];

/// Readers take it as a number, so there must be one.
pub(super) fn dirty(info: &InstanceInfo) -> i64 {
    info.last_dirty.unwrap_or(info.last_updated)
}

pub(super) fn bool_text(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

impl Serialize for PortOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("$", &self.0.number)?;
        map.serialize_entry("@enabled", bool_text(self.0.enabled))?;
        map.end()
    }
}

impl Serialize for DataCenterOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("@class", class_of(self.0))?;
        map.serialize_entry("name", data_center_name(self.0))?;
        // Only Amazon's class has this field.
        if self.0.name == "Amazon" {
            map.serialize_entry("metadata", &amazon(self.0, self.1))?;
        }
        map.end()
    }
}

impl Serialize for LeaseOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        for (name, value) in lease_fields(self.0) {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// The lease's fields in the order of the reference server.
pub(super) fn lease_fields(lease: LeaseInfo) -> [(&'static str, i64); 6] {
    [
        ("renewalIntervalInSecs", lease.renewal_interval),
        ("durationInSecs", lease.duration),
        ("registrationTimestamp", lease.registered),
        ("lastRenewalTimestamp", lease.renewed),
        ("evictionTimestamp", lease.evicted),
        ("serviceUpTimestamp", lease.up_since),
    ]
}
