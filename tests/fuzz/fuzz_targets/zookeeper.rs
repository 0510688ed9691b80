//! Nodes of ZooKeeper, parted by NUL: a Curator instance, a metadata document, then provider and configurator URLs, and
//! Dubbo's rules, which begin as YAML documents do.
#![no_main]

/// Where the first, second and third rule would lie.
const PLACES: [&str; 3] = ["shop.configurators", "a.B.condition-router", "shop.tag-router"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0);
    let (node, document) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (rules, urls): (Vec<&[u8]>, Vec<&[u8]>) = parts.partition(|part| part.starts_with(b"---"));
    let rules: Vec<_> = PLACES.into_iter().zip(rules).collect();
    let urls: Vec<&str> = urls
        .into_iter()
        .filter_map(|part| std::str::from_utf8(part).ok())
        .collect();
    landfall_fuzz::zookeeper::read(node, document, &urls, &rules);
});
