//! `adapters/src/zookeeper`: what Dubbo and Curator write into nodes.

pub use files::read;

/// The adapter's own files in one module, for what is fuzzed is visible to its siblings only.
#[path = "../../../adapters/src/zookeeper"]
mod files {
    use std::{collections::BTreeMap, sync::Arc};

    use landfall_adapters::Knowledge;
    use landfall_adapters::zookeeper::url;

    mod application;
    mod curator;
    mod governance;
    mod interface;
    mod merge;

    use application::{Application, Document, Node};
    use governance::{Found, Governance};
    use merge::{Folder, Merge};

    /// An instance node, the metadata document it names, the children of an interface's folder, and Dubbo's rules.
    pub fn read(node: &[u8], document: &[u8], providers: &[&str], rules: &[(&str, &[u8])]) {
        let mut merge = Merge::default();
        let children = providers.iter().map(|name| (Arc::from(*name), None)).collect();
        merge.put(
            Folder::Interface("a.B".to_owned()),
            interface::contribution("a.B", &children, None),
        );
        let nodes = BTreeMap::from([(
            Arc::from("n"),
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
        // Dubbo's rules over what was found.
        let mut found = Found::default();
        for (name, data) in rules {
            found.nodes.insert(Arc::from(*name), data.to_vec());
        }
        let children = providers.iter().map(|name| Arc::from(*name)).collect();
        found.folders.insert("a.B".to_owned(), children);
        merge.govern(Governance::new(&found));
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
}
