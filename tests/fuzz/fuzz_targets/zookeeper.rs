//! Nodes of ZooKeeper: a Curator instance, a metadata document and provider URLs, parted by NUL.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0);
    let (node, document) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let providers: Vec<&str> = parts.filter_map(|part| std::str::from_utf8(part).ok()).collect();
    landfall_fuzz::zookeeper::read(node, document, &providers);
});
