//! Consul's records as a facade keeps them: nodes, services, checks, and values under keys.
//!
//! They are saved as they stand here (field names are ours, not Consul's); `render` writes them
//! as Consul does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Health of a check, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Good.
    Passing,
    /// Takes traffic, but something is odd.
    Warning,
    /// Bad.
    Critical,
}

impl Health {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// From the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Passing, Self::Warning, Self::Critical]
            .into_iter()
            .find(|health| health.as_str() == text)
    }
}

/// Who keeps a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// A client, through the agent's endpoints.
    #[default]
    Agent,
    /// A client, through the catalog's endpoints: no check of it is run, nothing expires.
    Catalog,
    /// Nobody here: it is shown as another registry has it.
    Mirror,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// A UUID; empty if none was given.
    #[serde(default)]
    pub id: String,
    /// Its address.
    pub address: String,
    /// `TaggedAddresses`.
    #[serde(default)]
    pub tagged: BTreeMap<String, String>,
    /// `Meta`.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
}

/// A service instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Unique on its node.
    pub id: String,
    /// Its name.
    pub name: String,
    /// In the order they were given.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Empty: that of the node.
    #[serde(default)]
    pub address: String,
    /// 0: none.
    #[serde(default)]
    pub port: u16,
    /// `TaggedAddresses`.
    #[serde(default)]
    pub tagged: BTreeMap<String, (String, u16)>,
    /// `Meta`.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// `Weights`: passing, warning.
    pub weights: (u16, u16),
    /// `EnableTagOverride`.
    #[serde(default)]
    pub tag_override: bool,
    /// Who keeps it.
    #[serde(default)]
    pub owner: Owner,
}

/// A check of a node or of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Unique on its node.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: Health,
    /// For people.
    #[serde(default)]
    pub notes: String,
    /// What it said last.
    #[serde(default)]
    pub output: String,
    /// Of which service; empty: of the node.
    #[serde(default)]
    pub service: String,
    /// How its status is found out.
    #[serde(default)]
    pub probe: Probe,
    /// Between two probes, ms.
    #[serde(default)]
    pub interval: u64,
    /// Patience of one probe, ms.
    #[serde(default)]
    pub timeout: u64,
    /// Its service is removed after it has been critical for that long, ms; 0: never.
    #[serde(default)]
    pub deregister_after: u64,
    /// This many good results in a row before it passes.
    #[serde(default)]
    pub good_before: u32,
    /// This many bad results in a row before it is critical.
    #[serde(default)]
    pub bad_before: u32,
}

/// How the status of a check is found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// By nobody here: it stands as it was stated.
    #[default]
    Stated,
    /// A client says so at least this often, ms.
    Ttl(u64),
    /// By an HTTP request.
    Http {
        /// Where.
        url: String,
        /// `GET` unless told otherwise.
        method: String,
        /// With these headers.
        headers: Vec<(String, String)>,
        /// With this body.
        body: String,
        /// Whatever its certificate says.
        skip_verify: bool,
    },
    /// By a connection to `host:port`.
    Tcp(String),
    /// Taken over from another registry: its client says so, now and then, and meanwhile a connection to `host:port`
    /// tells whether anybody is there. Empty: only its client does.
    Inherited(String),
}

impl Probe {
    /// Consul's word for the kind of check.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stated => "",
            Self::Ttl(_) | Self::Inherited(_) => "ttl",
            Self::Http { .. } => "http",
            Self::Tcp(_) => "tcp",
        }
    }
}

/// A value under a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Base64 of it, as it travels.
    pub value: String,
    /// The client's own number.
    #[serde(default)]
    pub flags: u64,
    /// When it was made.
    pub created: u64,
    /// When it was changed.
    pub modified: u64,
}
