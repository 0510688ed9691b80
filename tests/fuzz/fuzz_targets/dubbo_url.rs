//! Dubbo URLs as names of nodes: read, written and read again.
#![no_main]

use landfall_adapters::zookeeper::url::{DubboUrl, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    assert_eq!(decode(&encode(name)).as_deref(), Ok(name));
    let Ok(url) = DubboUrl::from_node_name(name) else {
        return;
    };
    let _ = url.plain();
    let sane = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if url.host.bytes().all(sane) || url.host.parse::<std::net::Ipv6Addr>().is_ok() {
        let again = DubboUrl::from_node_name(&url.to_node_name());
        assert_eq!(again.as_ref(), Ok(&url));
    }
});
