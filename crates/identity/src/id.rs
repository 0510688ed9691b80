//! SPIFFE IDs: `spiffe://<trust domain>/ns/<namespace>/sa/<service>`, read strictly.
//!
//! Nothing is repaired: an upper-case trust domain, a port, a percent or an empty segment is refused, because two spellings of
//! one name are two rows in a policy. Next on the path: [`leaf`](crate::leaf) finds the ID in a certificate.

use std::fmt;

/// The longest trust domain the standard allows.
const TRUST_DOMAIN: usize = 255;
/// The longest ID the standard allows, in bytes.
const WHOLE: usize = 2048;

/// Why a name is no SPIFFE ID of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Too long for the standard.
    #[error("a {what} has at most {limit} bytes, not {length}")]
    Long {
        /// Which part.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// Its length.
        length: usize,
    },
    /// An empty, relative or forbidden part.
    #[error("`{part}` cannot be a {what}: {rule}")]
    Part {
        /// Which part.
        what: &'static str,
        /// The part as it was read, shortened.
        part: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// Not of the form that Landfall issues.
    #[error("an identity has the form spiffe://<trust domain>/ns/<namespace>/sa/<service>")]
    Form,
}

/// A trust domain: everyone whose certificates lead to the same roots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// Reads a trust domain: `[a-z0-9._-]`, 1 to 255 bytes.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.len() > TRUST_DOMAIN {
            return Err(long("trust domain", TRUST_DOMAIN, text));
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(part(
                "trust domain",
                text,
                "a to z, 0 to 9, dot, dash and underscore are allowed",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    namespace: Box<str>,
    service: Box<str>,
}

impl SpiffeId {
    /// Joins the parts of an identity.
    pub fn new(trust_domain: &TrustDomain, namespace: &str, service: &str) -> Result<Self, IdError> {
        segment("namespace", namespace)?;
        segment("service", service)?;
        let id = Self {
            trust_domain: trust_domain.clone(),
            namespace: namespace.into(),
            service: service.into(),
        };
        let whole = id.to_string();
        if whole.len() > WHOLE {
            return Err(long("SPIFFE ID", WHOLE, &whole));
        }
        Ok(id)
    }

    /// The identity of a service of a registry. Registries such as Eureka compare names without case, so it is in lower case.
    pub fn of_service(trust_domain: &TrustDomain, registry: &str, name: &str) -> Result<Self, IdError> {
        Self::new(trust_domain, registry, &name.to_ascii_lowercase())
    }

    /// Reads an identity.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() > WHOLE {
            return Err(long("SPIFFE ID", WHOLE, text));
        }
        let rest = text.strip_prefix("spiffe://").ok_or(IdError::Form)?;
        let mut parts = rest.split('/');
        let trust_domain = TrustDomain::new(parts.next().unwrap_or_default())?;
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(service), None) => {
                Self::new(&trust_domain, namespace, service)
            }
            _ => Err(IdError::Form),
        }
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The namespace: the registry of the service.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.service
    }
}

impl SpiffeId {
    /// The identity as a DNS name, which stands beside it in the certificate: for verifiers that know DNS names alone.
    /// Half of the digest says who it is; nobody looks such a name up.
    pub fn server_name(&self) -> String {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(self.to_string());
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.svid.landfall.internal")
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service
        )
    }
}

fn segment(what: &'static str, text: &str) -> Result<(), IdError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.is_empty() || text == "." || text == ".." || !text.bytes().all(allowed) {
        let rule = "letters, digits, dot, dash and underscore are allowed, `.` and `..` are not";
        return Err(part(what, text, rule));
    }
    Ok(())
}

fn long(what: &'static str, limit: usize, text: &str) -> IdError {
    IdError::Long {
        what,
        limit,
        length: text.len(),
    }
}

/// Refused text goes to logs: a piece of it, escaped.
fn part(what: &'static str, text: &str, rule: &'static str) -> IdError {
    IdError::Part {
        what,
        part: text.chars().take(40).flat_map(char::escape_default).collect(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_outside_the_standard_are_refused() {
        let refused = [
            "",
            "spiffe://",
            "http://mesh/ns/a/sa/b",
            "spiffe://Mesh/ns/a/sa/b",
            "spiffe://mesh:1/ns/a/sa/b",
            "spiffe://u@mesh/ns/a/sa/b",
            "spiffe://mesh",
            "spiffe://mesh/",
            "spiffe://mesh/ns/a/sa/b/",
            "spiffe://mesh/ns//sa/b",
            "spiffe://mesh/ns/../sa/b",
            "spiffe://mesh/ns/a/sa/.",
            "spiffe://mesh/ns/a/sa/b?c",
            "spiffe://mesh/ns/a/sa/b#c",
            "spiffe://mesh/ns/a/sa/%62",
            "spiffe://mesh/NS/a/sa/b",
            "spiffe://mesh/ns/a/sa/b/c",
        ];
        for text in refused {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
        let long = format!("spiffe://mesh/ns/a/sa/{}", "b".repeat(WHOLE));
        assert!(matches!(SpiffeId::parse(&long), Err(IdError::Long { .. })));
        assert!(TrustDomain::new(&"a".repeat(255)).is_ok());
        assert!(matches!(TrustDomain::new(&"a".repeat(256)), Err(IdError::Long { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            domain in "[a-z0-9._-]{1,40}", namespace in "[A-Za-z0-9_-]{1,40}", service in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}",
        ) {
            let id = SpiffeId::new(&TrustDomain::new(&domain).unwrap(), &namespace, &service).unwrap();
            prop_assert_eq!(SpiffeId::parse(&id.to_string()).unwrap(), id);
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "(spiffe://)?[ -~]{0,60}") {
            if let Ok(id) = SpiffeId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
