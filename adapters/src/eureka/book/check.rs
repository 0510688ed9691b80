//! What is asked of a registration before it is taken.

use std::collections::BTreeMap;

use super::Refusal;
use crate::eureka::wire::InstanceInfo;

/// What a registry takes at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances, all applications together.
    pub instances: usize,
    /// Bytes of keys and values of one instance's metadata.
    pub metadata_bytes: usize,
    /// Bytes of any other text of an instance.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 50_000,
            metadata_bytes: 64 << 10,
            text_bytes: 4 << 10,
        }
    }
}

/// What Netflix's server checks, in its order and words, and then our own limits.
pub(super) fn check(app: &str, info: &InstanceInfo, limits: &Limits) -> Result<(), Refusal> {
    let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
    match () {
        () if info.instance_id.is_empty() => return invalid("Missing instanceId"),
        () if info.host_name.is_empty() => return invalid("Missing hostname"),
        () if info.ip.is_empty() => return invalid("Missing ip address"),
        () if info.app.is_empty() => return invalid("Missing appName"),
        () if !info.app.eq_ignore_ascii_case(app) && info.app.to_uppercase() != app => {
            return Err(Refusal::Invalid(format!(
                "Mismatched appName, expecting {app} but was {}",
                info.app
            )));
        }
        () => {}
    }
    match &info.data_center {
        None => return invalid("Missing dataCenterInfo"),
        Some(center) if center.name.is_empty() => return invalid("Missing dataCenterInfo Name"),
        Some(_) => {}
    }
    for (name, port) in [("port", info.port), ("securePort", info.secure_port)] {
        if !(0..=65_535).contains(&port.number) {
            return Err(Refusal::Invalid(format!("{name} is no number from 0 to 65535")));
        }
    }
    let size = |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let center = info.data_center.as_ref().map_or(0, |center| size(&center.metadata));
    if size(&info.metadata) + center > limits.metadata_bytes {
        return Err(Refusal::TooLarge(format!(
            "metadata of more than {} bytes",
            limits.metadata_bytes
        )));
    }
    let texts = [&info.instance_id, &info.host_name, &info.ip, &info.app];
    let optional = [
        &info.app_group,
        &info.sid,
        &info.home_page,
        &info.status_page,
        &info.health_check,
        &info.secure_health_check,
        &info.vip,
        &info.secure_vip,
        &info.asg,
    ];
    match texts
        .into_iter()
        .chain(optional.into_iter().flatten())
        .find(|text| text.len() > limits.text_bytes)
    {
        Some(_) => Err(Refusal::TooLarge(format!(
            "a text of more than {} bytes",
            limits.text_bytes
        ))),
        None => Ok(()),
    }
}
