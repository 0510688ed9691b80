//! What the fuzz targets read with.
//!
//! Most readers are public. Those that are not are compiled here from their own files, so that nothing has to become
//! public for the fuzzer's sake: the code is the same, and a change that no longer fits fails this build.

#![allow(dead_code, reason = "the files hold more than is fuzzed")]

pub(crate) use landfall_adapters::registry;

/// `adapters/src/consul`: answers of Consul.
pub mod consul {
    use std::sync::Arc;

    #[path = "../../../../adapters/src/consul/record.rs"]
    mod record;

    /// What `record` asks of the real one.
    struct Scope {
        tags: Vec<String>,
        exclude: Vec<String>,
    }

    /// A listing of names and a health answer.
    pub fn read(body: &[u8]) {
        for tags in [vec![], vec!["v1".to_owned()]] {
            let scope = Scope { tags, exclude: vec!["hidden".to_owned()] };
            if let Ok(listing) = record::listing(body, &scope) {
                assert!(!listing.names.iter().any(|name| &**name == "consul" || &**name == "hidden"));
            }
            if let Ok(reading) = record::health(&Arc::from("orders"), body, &scope) {
                let _ = reading.is_nothing();
                if let record::Reading::Service { instances, .. } = &reading {
                    assert!(instances.is_sorted_by(|a, b| a.id <= b.id));
                    super::well_formed(instances);
                }
            }
        }
    }
}

/// `adapters/src/zookeeper`: what Dubbo and Curator write into nodes.
pub mod zookeeper {
    use std::collections::BTreeMap;

    use landfall_adapters::Knowledge;
    pub use landfall_adapters::zookeeper::url;

    #[path = "../../../../adapters/src/zookeeper/application.rs"]
    mod application;
    #[path = "../../../../adapters/src/zookeeper/interface.rs"]
    mod interface;
    #[path = "../../../../adapters/src/zookeeper/merge.rs"]
    mod merge;

    use application::{Application, Document, Node};
    use merge::{Folder, Merge};

    /// An instance node, the metadata document it names, and the children of an interface's folder.
    pub fn read(node: &[u8], document: &[u8], providers: &[&str]) {
        let mut merge = Merge::default();
        let children = providers.iter().map(|name| ((*name).to_owned(), None)).collect();
        merge.put(Folder::Interface("a.B".to_owned()), interface::contribution("a.B", &children));
        let nodes = BTreeMap::from([(
            "n".to_owned(),
            Node { data: node.to_vec(), changed: None },
        )]);
        let mut documents = BTreeMap::new();
        if let Some(revision) = application::revision(node) {
            documents.insert(revision, Document::Data(document.to_vec()));
        }
        let folder = Folder::Application("shop".to_owned());
        let read = |merge: &Merge, documents: &BTreeMap<String, Document>| {
            let application =
                Application { name: "shop", nodes: &nodes, documents, interfaces: vec!["a.B"] };
            application::contribution(&application, merge.folder(&folder))
        };
        let first = read(&merge, &documents);
        merge.put(folder.clone(), first);
        check(&merge.drain());
        // The document is gone: what it said stays or is reported as gone, and nothing breaks.
        let second = read(&merge, &BTreeMap::new());
        merge.put(folder.clone(), second);
        check(&merge.drain());
        merge.remove(&folder);
        merge.remove(&Folder::Interface("a.B".to_owned()));
        for news in merge.drain() {
            assert!(!matches!(news, Knowledge::Service { .. }), "no folder is left to claim it");
        }
    }

    fn check(news: &[Knowledge]) {
        for knowledge in news {
            if let Knowledge::Service { instances, .. } = knowledge {
                super::well_formed(instances);
            }
        }
    }
}

/// `crates/engine/src/listen`: the head of an HTTP/1 request and the framing of its body.
pub mod listen {
    #[path = "../../../../crates/engine/src/listen/framing.rs"]
    mod framing;
    #[path = "../../../../crates/engine/src/listen/head.rs"]
    mod head;
    #[path = "../../../../crates/engine/src/listen/refusal.rs"]
    mod refusal;

    /// A request, read in pieces of `step` bytes and at once: both must agree, and whatever is accepted must be a
    /// request to another reader too.
    pub fn read(bytes: &[u8], step: usize) {
        let whole = head::find_end(bytes, 0);
        let mut pieces = Ok(None);
        let mut seen = 0;
        while seen < bytes.len() && pieces == Ok(None) {
            let next = (seen + step.max(1)).min(bytes.len());
            pieces = head::find_end(&bytes[..next], seen);
            seen = next;
        }
        if bytes.len() <= head::MAX_HEAD {
            assert_eq!(whole, pieces, "the pieces a head comes in make no difference");
        }
        let Ok(Some(end)) = whole else { return };
        let Ok(head) = head::check(&bytes[..end]) else { return };
        assert_eq!(head.length, end);
        agrees(&bytes[..end], &head);

        let rest = &bytes[end..];
        let mut once = head.body;
        let at_once = once.scan(rest);
        let mut body = head.body;
        let mut taken = 0;
        let in_pieces = loop {
            if taken >= rest.len() || body.is_done() {
                break Ok(taken);
            }
            let piece = &rest[taken..(taken + step.max(1)).min(rest.len())];
            match body.scan(piece) {
                Ok(more) => taken += more,
                Err(refusal) => break Err(refusal),
            }
        };
        assert_eq!(at_once, in_pieces, "the pieces a body comes in make no difference");
        if at_once.is_ok() {
            assert_eq!(once, body);
        }
    }

    fn agrees(bytes: &[u8], head: &head::Head) {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(bytes).expect("what is accepted is HTTP/1");
        assert_eq!(parsed, httparse::Status::Complete(bytes.len()));
        let values = |name: &str| -> Vec<&[u8]> {
            let same = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            same.map(|field| field.value).collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "one way to tell the length");
        assert!(values("host").len() <= 1);
        if let [length] = lengths[..] {
            let length = std::str::from_utf8(length).expect("digits").trim().parse().expect("a number");
            assert_eq!(head.body, framing::Framing::length(length));
        }
        if let Some(cut) = &head.cut {
            let target = request.path.unwrap_or_default();
            let left = [&bytes[..cut.start], &bytes[cut.end..]].concat();
            assert!(target.starts_with("http") || target.starts_with("HTTP") || !target.starts_with('/'));
            let mut fields = [httparse::EMPTY_HEADER; 256];
            let mut origin = httparse::Request::new(&mut fields);
            assert!(origin.parse(&left).is_ok_and(|status| status.is_complete()));
            assert!(origin.path.is_some_and(|path| path.starts_with('/')), "what is left is the origin form");
        }
    }
}

/// `crates/engine/src/access_log/json.rs`: any bytes become valid JSON.
pub mod access_log {
    use std::time::{Duration, SystemTime};

    #[path = "../../../../crates/engine/src/access_log/json.rs"]
    mod json;

    /// One line with these bytes in it.
    pub fn write(bytes: &[u8], number: u64) {
        let mut line = Vec::new();
        let text = String::from_utf8_lossy(bytes);
        let mut object = json::Object::begin(&mut line);
        let year_9999 = Duration::from_secs(number % 253_402_300_800);
        object.time("time", SystemTime::UNIX_EPOCH + year_9999);
        object.text("text", bytes);
        object.display("shown", &text);
        object.optional("absent", None);
        object.number("number", number);
        object.end();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        let read: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
        assert_eq!(read["text"], *text);
        assert_eq!(read["shown"], *text);
        assert_eq!(read["number"], number);
        assert_eq!(read["time"].as_str().map(str::len), Some(27));
    }
}

/// What the hub expects of every adapter's instances.
fn well_formed(instances: &[landfall_model::Instance]) {
    for instance in instances {
        assert!(!instance.id.is_empty());
        assert!(instance.ports.iter().all(|port| port.number > 0));
    }
}
