//! Eureka's records as they travel: the types, and how JSON and XML of them are read and written.
//!
//! ```text
//! bytes ──▶ read (lenient, JSON; XML is turned into JSON's shape first) ──▶ Applications / InstanceInfo
//! bytes ◀── write (strict: the field set every known client accepts)    ◀──        "
//! ```
//!
//! Reading forgives what real servers and clients get wrong: one object where an array is meant, numbers
//! and booleans as text, nulls, unknown fields, `@class` keys, both spellings of the override. It refuses
//! only what is no JSON, no XML, or not a list of applications. Whether a record makes sense is judged later:
//! by [`convert`](super::convert) for the follower and by [`book`](super::book) for a registration.
//!
//! [`census`] holds the reconcile hash. Next on the path: [`view`](super::view).

use std::collections::BTreeMap;

use landfall_model::Status;

pub mod census;
pub mod read;
pub mod write;
pub mod xml;

/// Instances in one answer; more is refused as not being a registry.
pub const MAX_INSTANCES: usize = 200_000;

/// The words for `actionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Registered, or registered again.
    Added,
    /// Status overridden.
    Modified,
    /// Cancelled or expired. The record keeps its last status.
    Deleted,
}

impl Action {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    /// From the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ADDED" => Some(Self::Added),
            "MODIFIED" => Some(Self::Modified),
            "DELETED" => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// One of Eureka's five words; any other text is [`Status::Unknown`], as in Netflix's own decoder.
pub fn status(text: &str) -> Status {
    exact_status(text).unwrap_or(Status::Unknown)
}

/// One of Eureka's five words, or nothing.
pub fn exact_status(text: &str) -> Option<Status> {
    [
        Status::Up,
        Status::Down,
        Status::Starting,
        Status::OutOfService,
        Status::Unknown,
    ]
    .into_iter()
    .find(|status| status.as_str() == text)
}

/// JSON or XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/xml`.
    Xml,
}

/// How much of each instance is written (`X-Eureka-Accept`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Full,
    /// Only what is needed to call it, as Netflix's server leaves out the rest: no metadata, lease, pages, override.
    Compact,
}

/// A list of applications: a full fetch, a delta, or a VIP's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applications {
    /// `versions__delta`.
    pub version: Option<String>,
    /// `apps__hashcode`: the reconcile hash of the *full* registry, also in a delta.
    pub hash: Option<String>,
    /// The applications.
    pub applications: Vec<Application>,
    /// Entries of `application` that could not be read at all.
    pub unreadable: Vec<Unreadable>,
}

/// One application with its instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Application {
    /// In upper case by the server's rule. Empty if it could not be read.
    pub name: String,
    /// Its instances.
    pub instances: Vec<InstanceInfo>,
    /// Entries of `instance` that could not be read at all.
    pub unreadable: Vec<Unreadable>,
}

/// An entry that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// How it begins.
    pub sample: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One instance, exactly as it was stated. Texts that were missing or null are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceInfo {
    /// After the fall-backs of the reference server: `instanceId`, the data centre's id, `hostName`.
    pub instance_id: String,
    /// `hostName`.
    pub host_name: String,
    /// `app`.
    pub app: String,
    /// `appGroupName`.
    pub app_group: Option<String>,
    /// `ipAddr`.
    pub ip: String,
    /// `sid`, if it says anything (`na` and `unknown` do not).
    pub sid: Option<String>,
    /// `port`.
    pub port: PortField,
    /// `securePort`.
    pub secure_port: PortField,
    /// `homePageUrl`.
    pub home_page: Option<String>,
    /// `statusPageUrl`.
    pub status_page: Option<String>,
    /// `healthCheckUrl`.
    pub health_check: Option<String>,
    /// `secureHealthCheckUrl`.
    pub secure_health_check: Option<String>,
    /// `vipAddress`; may be a list separated by commas.
    pub vip: Option<String>,
    /// `secureVipAddress`; may be a list separated by commas.
    pub secure_vip: Option<String>,
    /// `countryId`.
    pub country: i64,
    /// `dataCenterInfo`, if stated.
    pub data_center: Option<DataCenter>,
    /// `status`; `None` if missing.
    pub status: Option<Status>,
    /// `overriddenStatus`.
    pub overridden: Status,
    /// `leaseInfo`.
    pub lease: LeaseInfo,
    /// `isCoordinatingDiscoveryServer`.
    pub coordinating: bool,
    /// `metadata`, without `@class`.
    pub metadata: BTreeMap<String, String>,
    /// `lastUpdatedTimestamp`: ms since 1970 by the server's clock; 0 if not stated.
    pub last_updated: i64,
    /// `lastDirtyTimestamp`: ms since 1970 by the client's clock.
    pub last_dirty: Option<i64>,
    /// `actionType`.
    pub action: Option<Action>,
    /// `asgName`.
    pub asg: Option<String>,
}

/// A port with its switch. Missing is 0 and disabled, as Spring's decoder has it: no address is invented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortField {
    /// As stated; text that is no number is -1.
    pub number: i64,
    /// `@enabled`.
    pub enabled: bool,
}

/// `dataCenterInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataCenter {
    /// `Netflix`, `Amazon`, `MyOwn`. Empty if missing.
    pub name: String,
    /// Amazon's `instance-id`, `availability-zone` and so on.
    pub metadata: BTreeMap<String, String>,
}

/// `leaseInfo`: seconds, and ms since 1970 by the server's clock (0: not yet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseInfo {
    /// `renewalIntervalInSecs`.
    pub renewal_interval: i64,
    /// `durationInSecs`.
    pub duration: i64,
    /// `registrationTimestamp`.
    pub registered: i64,
    /// `lastRenewalTimestamp`: the time of renewal *plus the duration*, after the first heartbeat.
    pub renewed: i64,
    /// `evictionTimestamp`.
    pub evicted: i64,
    /// `serviceUpTimestamp`.
    pub up_since: i64,
}

impl Default for InstanceInfo {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            host_name: String::new(),
            app: String::new(),
            app_group: None,
            ip: String::new(),
            sid: None,
            port: PortField::default(),
            secure_port: PortField::default(),
            home_page: None,
            status_page: None,
            health_check: None,
            secure_health_check: None,
            vip: None,
            secure_vip: None,
            country: 1,
            data_center: None,
            status: None,
            overridden: Status::Unknown,
            lease: LeaseInfo::default(),
            coordinating: false,
            metadata: BTreeMap::new(),
            last_updated: 0,
            last_dirty: None,
            action: None,
            asg: None,
        }
    }
}

impl InstanceInfo {
    /// The status as it counts: missing is UNKNOWN, for nothing says that it may get traffic.
    pub fn known_status(&self) -> Status {
        self.status.unwrap_or(Status::Unknown)
    }

    /// When the server, or else the client, says it last changed. Ms since 1970.
    pub fn changed(&self) -> Option<i64> {
        [Some(self.last_updated), self.last_dirty]
            .into_iter()
            .flatten()
            .find(|ms| *ms > 0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
