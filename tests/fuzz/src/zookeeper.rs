//! `adapters/src/zookeeper`: what Dubbo and Curator write into nodes.

use std::collections::BTreeMap;

use landfall_adapters::Knowledge;
pub use landfall_adapters::zookeeper::url;

#[path = "../../../adapters/src/zookeeper/application.rs"]
mod application;
#[path = "../../../adapters/src/zookeeper/curator.rs"]
mod curator;
#[path = "../../../adapters/src/zookeeper/interface.rs"]
mod interface;
#[path = "../../../adapters/src/zookeeper/merge.rs"]
mod merge;

use application::{Application, Document, Node};
use merge::{Folder, Merge};

/// An instance node, the metadata document it names, and the children of an interface's folder.
pub fn read(node: &[u8], document: &[u8], providers: &[&str]) {
    let mut merge = Merge::default();
    let children = providers.iter().map(|name| ((*name).to_owned(), None)).collect();
    merge.put(
        Folder::Interface("a.B".to_owned()),
        interface::contribution("a.B", &children),
    );
    let nodes = BTreeMap::from([(
        "n".to_owned(),
        Node {
            data: node.to_vec(),
            changed: None,
        },
    )]);
    let mut documents = BTreeMap::new();
    if let Some(revision) = application::revision(node) {
        documents.insert(revision, Document::Data(document.to_vec()));
    }
    let folder = Folder::Application("shop".to_owned());
    let read = |merge: &Merge, documents: &BTreeMap<String, Document>| {
        let application = Application {
            name: "shop",
            nodes: &nodes,
            documents,
            interfaces: vec!["a.B"],
        };
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
        assert!(
            !matches!(news, Knowledge::Service { .. }),
            "no folder is left to claim it"
        );
    }
}

fn check(news: &[Knowledge]) {
    for knowledge in news {
        if let Knowledge::Service { instances, .. } = knowledge {
            crate::well_formed(instances);
        }
    }
}
