//! Who may call what: AuthorizationPolicies, in Istio's words.
//!
//! A policy has rules; a rule says `from` (sources) and `to` (operations). Of each list one entry has to fit, and of an
//! entry every field that is set. How policies are weighed against each other is the engine's: `engine/src/authorize.rs`.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use super::PolicyTarget;

/// Which calls of some services are let through, or are not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// What it applies to; never empty.
    pub targets: Vec<PolicyTarget>,
    /// What becomes of a call that a rule fits.
    pub action: AuthorizationAction,
    /// One has to fit. None: the policy fits no call.
    pub rules: Vec<AuthorizationRule>,
}

/// What becomes of a call that a policy fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AuthorizationAction {
    /// It goes through unless another policy denies it. Calls that no such policy fits are denied.
    Allow,
    /// It is denied, whatever other policies say.
    Deny,
}

/// Fits a call if one source and one operation do. An empty list fits all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AuthorizationRule {
    /// Who calls.
    pub from: Vec<SourceMatch>,
    /// What is called.
    pub to: Vec<OperationMatch>,
}

/// Where a call comes from. An empty list fits all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceMatch {
    /// The other end of the connection is in one of these.
    pub ip_blocks: Vec<IpBlock>,
    /// It is in none of these.
    pub not_ip_blocks: Vec<IpBlock>,
    /// SPIFFE ID of the caller, without `spiffe://`; callers outside of mutual TLS have none.
    pub principals: TextLists,
    /// The namespace in it.
    pub namespaces: TextLists,
}

/// What a call asks for. An empty list fits all; one that is not empty fits only calls that have the property.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationMatch {
    /// Host of an HTTP request, without port.
    pub hosts: TextLists,
    /// Method of an HTTP request.
    pub methods: TextLists,
    /// Path of an HTTP request, without query.
    pub paths: TextLists,
    /// Java interface of a call of Dubbo.
    pub dubbo_interfaces: TextLists,
    /// Method of a call of Dubbo.
    pub dubbo_methods: TextLists,
}

/// Texts of which one has to fit, and texts of which none may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TextLists {
    /// One has to fit, if there are any.
    pub any: Vec<TextPattern>,
    /// None may fit.
    pub none: Vec<TextPattern>,
}

impl TextLists {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }
}

/// A text with at most one `*`, at its beginning or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextPattern {
    /// `*`: any text that is not empty.
    Present,
    /// This text.
    Exact(Arc<str>),
    /// `text*`.
    Prefix(Arc<str>),
    /// `*text`.
    Suffix(Arc<str>),
}

impl TextPattern {
    /// Reads a pattern; `None` if a `*` stands in its middle, or there is nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest): (fn(Arc<str>) -> Self, &str) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text == "*" => return Some(Self::Present),
            (Some(rest), _) => (Self::Suffix, rest),
            (None, Some(rest)) => (Self::Prefix, rest),
            (None, None) => (Self::Exact, text),
        };
        (!rest.is_empty() && !rest.contains('*')).then(|| kind(rest.into()))
    }

    /// Whether a text fits.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Present => !text.is_empty(),
            Self::Exact(wanted) => **wanted == *text,
            Self::Prefix(wanted) => text.starts_with(&**wanted),
            Self::Suffix(wanted) => text.ends_with(&**wanted),
        }
    }
}

/// An address, or all addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IpBlock {
    base: IpAddr,
    bits: u8,
}

impl IpBlock {
    /// Reads `192.0.2.1`, `192.0.2.0/24` and their like of IPv6; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?))
            }
            Some(_) => return None,
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { base, bits })
    }

    /// Whether an address is in it. An IPv4 address inside of IPv6 counts as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_its_star_at_one_end_or_is_refused() {
        for (pattern, text, fits) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a*", "/ab/c", true),
            ("/a*", "/b", false),
            ("*.example.com", "x.example.com", true),
            ("*.example.com", "example.com", false),
            ("*", "x", true),
            ("*", "", false),
        ] {
            assert_eq!(
                TextPattern::parse(pattern).unwrap().fits(text),
                fits,
                "{pattern} {text}"
            );
        }
        for bad in ["", "**", "/a*b", "*a*", "/*/x"] {
            assert_eq!(TextPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_block_has_the_addresses_that_share_its_first_bits() {
        for (block, address, inside) in [
            ("10.1.0.0/16", "10.1.255.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("10.1.0.0/16", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            let found = IpBlock::parse(block).unwrap().contains(address.parse().unwrap());
            assert_eq!(found, inside, "{block} {address}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host",
        ] {
            assert_eq!(IpBlock::parse(bad), None, "{bad}");
        }
    }
}
