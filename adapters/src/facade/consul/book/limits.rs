//! What is asked of a record before it is taken: Consul's own rules, and bounds of ours.

use std::collections::BTreeMap;

use super::{
    super::record::{Check, Service},
    Refusal,
};

/// What a registry takes at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances; twice as many checks.
    pub instances: usize,
    /// Bytes of a name, id, address or note.
    pub text: usize,
    /// Keys in the key-value store.
    pub keys: usize,
    /// Bytes of all keys and values, as they travel.
    pub kv_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 50_000,
            text: 4 << 10,
            keys: 10_000,
            kv_bytes: 32 << 20,
        }
    }
}

/// Consul's: pairs of metadata on a node or service.
const META_PAIRS: usize = 64;
/// Consul's: bytes of a key of metadata.
const META_KEY: usize = 128;
/// Consul's: bytes of a value of metadata.
const META_VALUE: usize = 512;
/// Tags of one instance.
const TAGS: usize = 256;

impl Limits {
    pub(super) fn check_service(&self, service: &Service) -> Result<(), Refusal> {
        if service.name.is_empty() {
            return Err(Refusal::Invalid("Missing service name".to_owned()));
        }
        if matches!(service.address.as_str(), "0.0.0.0" | "::" | "[::]") {
            return Err(Refusal::Invalid("Invalid service address".to_owned()));
        }
        if service.tags.len() > TAGS {
            return Err(Refusal::Invalid(format!("a service has at most {TAGS} tags")));
        }
        let texts = [&service.id, &service.name, &service.address];
        self.check_texts(texts.into_iter().chain(&service.tags))?;
        self.check_meta(&service.meta)
            .map_err(|what| Refusal::Invalid(format!("Invalid Service Meta: {what}")))
    }

    pub(super) fn check_check(&self, check: &Check) -> Result<(), Refusal> {
        self.check_texts([&check.id, &check.name, &check.notes, &check.output, &check.service])
    }

    pub(super) fn check_texts<'a>(&self, texts: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
        match texts.into_iter().find(|text| text.len() > self.text) {
            Some(_) => Err(Refusal::Invalid(format!("a text of more than {} bytes", self.text))),
            None => Ok(()),
        }
    }

    pub(super) fn check_meta(&self, meta: &BTreeMap<String, String>) -> Result<(), String> {
        if meta.len() > META_PAIRS {
            return Err(format!(
                "Metadata cannot contain more than {META_PAIRS} key/value pairs"
            ));
        }
        for (key, value) in meta {
            let shown = || key.chars().take(40).collect::<String>();
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if key.is_empty() {
                return Err("Couldn't load metadata pair ('', …): Key cannot be blank".to_owned());
            }
            if !key.bytes().all(allowed) {
                return Err(format!(
                    "Couldn't load metadata pair ('{}', …): Key contains invalid characters",
                    shown()
                ));
            }
            if key.len() > META_KEY {
                return Err(format!(
                    "Couldn't load metadata pair ('{}', …): Key is too long (limit: {META_KEY} characters)",
                    shown()
                ));
            }
            if value.len() > META_VALUE {
                return Err(format!(
                    "Couldn't load metadata pair ('{}', …): Value is too long (limit: {META_VALUE} characters)",
                    shown()
                ));
            }
        }
        Ok(())
    }
}
