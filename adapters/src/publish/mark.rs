//! What every record of ours carries, so that nobody takes it for a native one and no loop forms.
//!
//! | metadata key | value |
//! |---|---|
//! | [`ORIGIN`] | registry, service and instance id the record began with, percent-encoded, joined by `/` |
//! | [`PATH`] | registries it went through, from the origin to the last one before where it stands, joined by `,` |
//! | [`CLUSTER`] | id of the Landfall cluster that wrote it |
//! | [`EPOCH`] | which writer of that cluster, counted |
//! | [`DIGEST`] | digest of all that matters, so that an unchanged record is not written again |
//!
//! Keys are letters and `-` only, which Consul's metadata, XML element names and Dubbo's URLs all allow. Values have
//! no `&`, `=`, `;`, `#`, blanks or quotes, and at most [`MAX_VALUE`] bytes, Consul's limit.
//!
//! The id, too, carries a [`TAG`]: in a registry that drops the metadata a record of ours is still known by it,
//! and is then [`Provenance::Unmarked`]: not native, and not published any further.
//!
//! Names of registries on a path are compared as text, also those another cluster wrote: a registry that several
//! clusters use has the same name in each, and two registries never share one.

use std::{collections::BTreeMap, fmt, sync::Arc};

use landfall_model::{Instance, Origin, RegistryName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

/// Key of the origin.
pub const ORIGIN: &str = "landfall-origin";
/// Key of the path.
pub const PATH: &str = "landfall-path";
/// Key of the cluster id.
pub const CLUSTER: &str = "landfall-cluster";
/// Key of the writer's epoch.
pub const EPOCH: &str = "landfall-epoch";
/// Key of the digest.
pub const DIGEST: &str = "landfall-digest";
/// All keys of ours.
pub const KEYS: [&str; 5] = [ORIGIN, PATH, CLUSTER, EPOCH, DIGEST];
/// In every id that we write.
pub const TAG: &str = "landfall~";
/// Longest value of a mark, in bytes: Consul's limit for metadata.
pub const MAX_VALUE: usize = 512;
/// An origin's instance id longer than this, encoded, is written as a digest (Dubbo's are whole URLs).
const MAX_INSTANCE: usize = 200;
/// Likewise its service name.
const MAX_SERVICE: usize = 200;
/// Most registries on a path that is read.
const MAX_PATH: usize = 16;

/// Kept as they are in encoded parts; everything else is percent-encoded.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b':');

/// Where a record came from, how it came, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The native record it stands for. Names that are too long are digests, see [`Mark::new`].
    pub origin: Origin,
    /// Registries it went through, the origin's first. Never empty, never the one it stands in.
    pub path: Vec<RegistryName>,
    /// Id of the cluster that wrote it.
    pub cluster: Arc<str>,
    /// Which writer of that cluster.
    pub epoch: u64,
}

/// What a record in a registry is to us.
#[derive(Clone, Debug, PartialEq)]
pub enum Provenance {
    /// Nobody's copy.
    Native,
    /// A copy, by us or by another cluster.
    Marked(Mark),
    /// A copy whose marks were lost or spoiled: not native, and published no further. With the reason.
    Unmarked(String),
}

impl Mark {
    /// The mark of a record of `registry` on its first step. Names too long for a mark become digests of themselves.
    pub fn new(origin: &Origin, cluster: Arc<str>, epoch: u64) -> Self {
        let origin = Origin {
            registry: origin.registry.clone(),
            service: fitting(&origin.service, MAX_SERVICE),
            instance: fitting(&origin.instance, MAX_INSTANCE),
        };
        Self {
            path: vec![origin.registry.clone()],
            origin,
            cluster,
            epoch,
        }
    }

    /// The id under which the record is written: the same for one origin, whoever writes it and however it came.
    /// Letters, digits, `-` and `~` only.
    pub fn id(&self) -> Arc<str> {
        let origin = &self.origin;
        let digest = digest_of(&[origin.service.as_bytes(), origin.instance.as_bytes()]);
        format!("{TAG}{}~{digest}", origin.registry).into()
    }

    /// Puts the marks into metadata.
    pub fn write(&self, digest: &str, metadata: &mut BTreeMap<Arc<str>, Arc<str>>) {
        let path: Vec<_> = self.path.iter().map(RegistryName::as_str).collect();
        for (key, value) in [
            (ORIGIN, origin_text(&self.origin)),
            (PATH, path.join(",")),
            (CLUSTER, self.cluster.to_string()),
            (EPOCH, self.epoch.to_string()),
            (DIGEST, digest.to_owned()),
        ] {
            metadata.insert(key.into(), value.into());
        }
    }
}

/// Reads what a record in a registry is to us.
pub fn provenance(instance: &Instance) -> Provenance {
    let get = |key: &str| instance.metadata.get(key).map(|value| &**value);
    let tagged = instance.id.contains(TAG);
    if !tagged && KEYS.iter().all(|key| get(key).is_none()) {
        return Provenance::Native;
    }
    match read(get) {
        Ok(mark) => Provenance::Marked(mark),
        Err(reason) => Provenance::Unmarked(reason),
    }
}

/// The digest a record of ours carries, if it still does.
pub fn digest_in(instance: &Instance) -> Option<&Arc<str>> {
    instance.metadata.get(DIGEST)
}

/// Takes the marks out of metadata. Keys that our writing had to escape are again as they were at the origin; keys of
/// a record without our mark are never touched.
pub fn strip(metadata: &mut BTreeMap<Arc<str>, Arc<str>>) {
    if metadata.contains_key(ORIGIN) {
        super::escape::undo_keys(metadata);
    }
    for key in KEYS {
        metadata.remove(key);
    }
}

fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Mark, String> {
    let value = |key: &str| get(key).ok_or_else(|| format!("`{key}` is missing"));
    let origin = origin_from(value(ORIGIN)?)?;
    let names = value(PATH)?.split(',').map(RegistryName::new);
    let path: Vec<_> = names
        .take(MAX_PATH + 1)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`{PATH}`: {error}"))?;
    if path.len() > MAX_PATH {
        return Err(format!("`{PATH}` names more than {MAX_PATH} registries"));
    }
    if path.first() != Some(&origin.registry) {
        return Err(format!("`{PATH}` does not begin with the origin `{}`", origin.registry));
    }
    let epoch = value(EPOCH)?.parse().map_err(|_| format!("`{EPOCH}` is no number"))?;
    Ok(Mark {
        origin,
        path,
        cluster: value(CLUSTER)?.into(),
        epoch,
    })
}

fn origin_text(origin: &Origin) -> String {
    let part = |text: &str| utf8_percent_encode(text, PART).to_string();
    format!(
        "{}/{}/{}",
        origin.registry,
        part(&origin.service),
        part(&origin.instance)
    )
}

fn origin_from(text: &str) -> Result<Origin, String> {
    let bad = || format!("`{ORIGIN}` is not registry/service/instance");
    let mut parts = text.split('/');
    let (Some(registry), Some(service), Some(instance), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let decoded = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(|text| Arc::from(&*text))
            .map_err(|_| bad())
    };
    Ok(Origin {
        registry: RegistryName::new(registry).map_err(|error| format!("`{ORIGIN}`: {error}"))?,
        service: decoded(service)?,
        instance: decoded(instance)?,
    })
}

/// The text, or a digest of it when it is too long to be written.
fn fitting(text: &Arc<str>, longest: usize) -> Arc<str> {
    if utf8_percent_encode(text, PART).map(str::len).sum::<usize>() <= longest {
        text.clone()
    } else {
        format!("digest:{}", digest_of(&[text.as_bytes()])).into()
    }
}

/// 24 hexadecimal digits that stand for these texts, in this order.
pub fn digest_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..12]
        .iter()
        .fold(String::with_capacity(24), |mut text, byte| {
            fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}")).unwrap_or_default();
            text
        })
}

#[cfg(test)]
mod tests {
    use landfall_model::{Host, Status};
    use proptest::prelude::*;

    use super::*;

    fn origin(service: &str, instance: &str) -> Origin {
        Origin {
            registry: RegistryName::new("eureka").unwrap(),
            service: service.into(),
            instance: instance.into(),
        }
    }

    fn instance(id: &str, metadata: BTreeMap<Arc<str>, Arc<str>>) -> Instance {
        Instance {
            id: id.into(),
            host: Host::parse("10.0.0.1"),
            ports: Vec::new(),
            status: Status::Up,
            weight: 100,
            zone: None,
            metadata,
            changed: None,
        }
    }

    #[test]
    fn a_record_without_any_mark_is_native() {
        let plain = instance("orders-1", [("zone".into(), "a".into())].into());
        assert_eq!(provenance(&plain), Provenance::Native);
    }

    #[test]
    fn a_record_that_lost_its_marks_is_still_not_native() {
        let mark = Mark::new(&origin("orders", "h:orders:1"), "c1".into(), 1);
        let Provenance::Unmarked(reason) = provenance(&instance(&mark.id(), BTreeMap::new())) else {
            panic!("it would be published again");
        };
        assert!(reason.contains(ORIGIN), "{reason}");
    }

    #[test]
    fn one_origin_has_one_id_whoever_writes_it() {
        let one = Mark::new(&origin("orders", "a"), "c1".into(), 1);
        let mut other = Mark::new(&origin("orders", "a"), "c2".into(), 9);
        other.path.push(RegistryName::new("consul").unwrap());
        assert_eq!(one.id(), other.id());
        assert_ne!(one.id(), Mark::new(&origin("order", "sa"), "c1".into(), 1).id());
    }

    #[test]
    fn spoiled_marks_say_what_is_wrong() {
        let mark = Mark::new(&origin("orders", "a"), "c1".into(), 1);
        let mut metadata = BTreeMap::new();
        mark.write("d", &mut metadata);
        for (key, value) in [(ORIGIN, "eureka"), (PATH, "consul"), (EPOCH, "x"), (PATH, "eureka,,b")] {
            let mut spoiled = metadata.clone();
            spoiled.insert(key.into(), value.into());
            let Provenance::Unmarked(reason) = provenance(&instance("x", spoiled)) else {
                panic!("{key}={value} was read");
            };
            assert!(reason.contains(key), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn marks_survive_the_round_trip_and_fit_everywhere(service in ".{1,300}", id in ".{1,300}", epoch: u64) {
            let mark = Mark::new(&origin(&service, &id), "c1".into(), epoch);
            let mut metadata = BTreeMap::new();
            mark.write("0123", &mut metadata);
            for (key, value) in &metadata {
                prop_assert!(value.len() <= MAX_VALUE);
                prop_assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
                prop_assert!(!value.contains(['&', '=', ';', '#', ' ', '"', '\'']), "{value}");
            }
            prop_assert_eq!(provenance(&instance("x", metadata)), Provenance::Marked(mark));
        }
    }
}
