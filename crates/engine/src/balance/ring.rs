//! Ring hash: the same key goes to the same endpoint, and an endpoint that comes or goes moves only its own share.
//!
//! Every endpoint has points on a circle of 64-bit numbers, at hashes of its address; a key belongs to the next point.
//! When that endpoint is closed the call goes to the next open one along the circle. The hash is fixed, so gateways
//! that see the same endpoints agree. A call without the key is placed at random. Slow start does not apply: the
//! share of an endpoint here is its keys.

use std::sync::Arc;

use http::{HeaderName, header};
use landfall_model::{Endpoint, rules};

use super::Balancer;
use crate::{
    call::{Call, HeaderView},
    cluster::Gate,
    moment::{Dice, mix, scale},
};

/// Points of an endpoint with the greatest weight lie between a half of this and this.
const POINTS: u64 = 256;

/// Points that are looked at for an open endpoint before the rest is searched in order.
const NEIGHBOURS: usize = 1024;

/// The ring hash balancer.
#[derive(Debug)]
pub struct RingHash {
    key: Key,
    /// Sorted by place; the second half is the endpoint's index.
    points: Box<[(u64, u32)]>,
}

#[derive(Debug)]
enum Key {
    SourceIp,
    Header(HeaderName),
    Cookie(Arc<str>),
    Path,
    /// A header name that HTTP does not allow: no call has it.
    Never,
}

impl RingHash {
    /// Over these endpoints.
    pub fn new(key: &rules::HashKey, endpoints: &[Arc<Endpoint>]) -> Self {
        // Rounded up to a power of two, so that the points of an endpoint rarely depend on the others.
        let unit = endpoints
            .iter()
            .map(|endpoint| endpoint.weight)
            .max()
            .unwrap_or(1)
            .max(1);
        let unit = u64::from(unit).next_power_of_two();
        let mut points = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let seed = hash(endpoint.address.to_string().as_bytes());
            let count = (u64::from(endpoint.weight) * POINTS / unit).max(1);
            points.extend((0..count).map(|point| (mix(seed ^ mix(point + 1)), index as u32)));
        }
        points.sort_unstable();
        Self {
            key: match key {
                rules::HashKey::SourceIp => Key::SourceIp,
                rules::HashKey::Header(name) => HeaderName::from_bytes(name.as_bytes()).map_or(Key::Never, Key::Header),
                rules::HashKey::Cookie(name) => Key::Cookie(name.clone()),
                rules::HashKey::Path => Key::Path,
            },
            points: points.into(),
        }
    }

    fn place(&self, call: &Call<'_>) -> Option<u64> {
        match &self.key {
            Key::SourceIp => Some(match call.client.ip() {
                std::net::IpAddr::V4(ip) => hash(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            Key::Header(name) => call.headers.first(name).map(hash),
            Key::Cookie(name) => cookie(call.headers, name),
            Key::Path => Some(hash(call.path.as_bytes())),
            Key::Never => None,
        }
    }
}

impl Balancer for RingHash {
    fn pick(&self, call: &Call<'_>, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        let place = self.place(call).unwrap_or_else(|| dice.bits());
        let start = self.points.partition_point(|(point, _)| *point < place);
        let (after, before) = (&self.points[start..], &self.points[..start]);
        let along = after.iter().chain(before).map(|(_, index)| *index as usize);
        // Where so many neighbours are closed, the order on the circle is no longer worth a walk over all points.
        let near = along.take(NEIGHBOURS).find(|index| gate.admits(*index));
        near.or_else(|| gate.open_from(scale(place, gate.members().len().max(1) as u64) as usize))
    }
}

/// The hash of the cookie's value, if the call has that cookie.
fn cookie(headers: &dyn HeaderView, name: &str) -> Option<u64> {
    let mut found = None;
    headers.each(&header::COOKIE, &mut |value| {
        let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let mut values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        found = found.or_else(|| values.next().map(hash));
    });
    found
}

/// FNV-1a, then mixed; the same on every host and in every version.
fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}
