//! A document that says what it is, and a finger ([`At`]) to point into it.
//!
//! [`read`] finds kind and name, checks the shape and keeps what is sound. A document with a fault still
//! counts as existing, so one fault does not make a dozen. Next on the path: [`rules`](crate::rules).

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, LazyLock},
};

mod at;

pub(crate) use at::At;

use crate::{
    kinds::{Kind, LATER, registry::StaticSpec, schema_of},
    problem::{MAX_PROBLEMS, Problem, suggestion},
    shape::{self, Shape},
    source::Source,
    yaml::{self, Content, Environment, Node},
};

/// A document of a known kind.
#[derive(Debug)]
pub(crate) struct Document {
    pub file: Arc<str>,
    /// Where relative paths start.
    pub base: Arc<Path>,
    pub kind: Kind,
    shape: &'static Shape,
    pub name: Arc<str>,
    /// `default` when not written.
    pub namespace: Arc<str>,
    node: Node,
    /// Where the document stands inside a `kind: List`, as a prefix of paths.
    prefix: String,
    /// Nodes with a fault of their own.
    broken: BTreeSet<u32>,
}

/// Reads all documents of a source; what is wrong goes to `problems`.
pub(crate) fn read(source: &Source, environment: &Environment<'_>, problems: &mut Vec<Problem>) -> Vec<Document> {
    let text = match source.decode() {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let (nodes, mut found) = yaml::parse(&source.name, text, environment);
    let mut documents = Vec::new();
    for node in nodes {
        if found.len() > MAX_PROBLEMS {
            break;
        }
        for (node, prefix) in unfold(node) {
            documents.extend(recognise(source, node, prefix, &mut found));
        }
    }
    problems.append(&mut found);
    documents
}

/// The items of a `kind: List`, as `kubectl get -o yaml` writes them, or the document itself.
fn unfold(node: Node) -> Vec<(Node, String)> {
    let is_list = node.get("kind").and_then(Node::as_text) == Some("List");
    match (is_list, node) {
        (
            true,
            Node {
                content: Content::Map(entries),
                ..
            },
        ) => entries
            .into_iter()
            .filter(|entry| entry.key == "items")
            .filter_map(|entry| match entry.value.content {
                Content::List(items) => Some(items),
                _ => None,
            })
            .flatten()
            .enumerate()
            .map(|(i, item)| (item, format!("items[{i}]")))
            .collect(),
        (_, node) => vec![(node, String::new())],
    }
}

/// Which kind and name a document has. Its shape is checked here too.
fn recognise(source: &Source, node: Node, prefix: String, problems: &mut Vec<Problem>) -> Option<Document> {
    let refuse = |at: &Node, field: &str, what: String, mend: String| Problem {
        file: source.name.clone(),
        line: at.line,
        column: at.column,
        path: join(&prefix, field),
        what,
        mend,
    };
    if !matches!(node.content, Content::Map(_)) {
        let what = format!("{} is no document", node.describe());
        let mend = "write a mapping with apiVersion, kind, metadata and spec".to_owned();
        problems.push(refuse(&node, "", what, mend));
        return None;
    }
    let word = |field: &str| node.get(field).and_then(Node::as_text);
    let Some(kind_word) = word("kind") else {
        let at = node.get("kind").unwrap_or(&node);
        let names = Kind::ALL.iter().map(|k| k.name());
        problems.push(refuse(
            at,
            "kind",
            "the document does not say what it is".into(),
            crate::problem::one_of(names),
        ));
        return None;
    };
    let kind_node = node.get("kind").unwrap_or(&node);
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == kind_word) else {
        let shown = kind_word.escape_debug();
        problems.push(match LATER.iter().find(|(name, _)| *name == kind_word) {
            Some((_, group)) => {
                let what = format!("the kind {shown} ({group}) is known, but not supported yet");
                refuse(
                    kind_node,
                    "kind",
                    what,
                    "remove the document: it would have no effect".to_owned(),
                )
            }
            None => {
                let names = Kind::ALL.iter().map(|k| k.name());
                refuse(
                    kind_node,
                    "kind",
                    format!("unknown kind `{shown}`"),
                    suggestion(kind_word, names),
                )
            }
        });
        return None;
    };
    let versions = kind.versions();
    let version = word("apiVersion");
    if version.is_none_or(|version| !versions.contains(&version)) {
        let at = node.get("apiVersion").unwrap_or(&node);
        let what = match version {
            Some(version) => format!(
                "`{}` is not the apiVersion of a {}",
                version.escape_debug(),
                kind.name()
            ),
            None => "no apiVersion".to_owned(),
        };
        problems.push(refuse(at, "apiVersion", what, format!("write `{}`", versions[0])));
    }

    let broken = check(source, &node, kind.shape(), &prefix, problems);
    let metadata = |field: &str| node.get("metadata").and_then(|m| m.get(field)).and_then(Node::as_text);
    let name = metadata("name").unwrap_or_default().into();
    let namespace = metadata("namespace").unwrap_or("default").into();
    let (file, base) = (source.name.clone(), source.base.clone());
    Some(Document {
        file,
        base,
        kind,
        shape: kind.shape(),
        name,
        namespace,
        node,
        prefix,
        broken,
    })
}

/// Checks the shape; gives the nodes that have a fault.
fn check(source: &Source, node: &Node, shape: &Shape, prefix: &str, problems: &mut Vec<Problem>) -> BTreeSet<u32> {
    let (mut faults, mut broken, before) = (Vec::new(), BTreeSet::new(), problems.len());
    shape::check(node, shape, prefix, &mut faults, &mut broken);
    for fault in faults {
        let shape::Fault {
            line,
            column,
            path,
            what,
            mend,
        } = fault;
        // A place that has been complained about already gets no second complaint.
        if !problems[..before].iter().any(|p| (p.line, p.column) == (line, column)) {
            problems.push(Problem {
                file: source.name.clone(),
                line,
                column,
                path,
                what,
                mend,
            });
        }
    }
    broken
}

/// Reads the documents of a services file, whose whole is what a `static` block holds.
pub(crate) fn read_services(
    source: &Source,
    environment: &Environment<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Document> {
    static SHAPE: LazyLock<Shape> = LazyLock::new(|| shape::compile(&schema_of::<StaticSpec>()));
    let text = match source.decode() {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let (nodes, mut found) = yaml::parse(&source.name, text, environment);
    let document = |node| {
        let broken = check(source, &node, &SHAPE, "", &mut found);
        let (file, base, empty) = (source.name.clone(), source.base.clone(), Arc::from(""));
        let (name, namespace, prefix) = (Arc::clone(&empty), empty, String::new());
        Document {
            file,
            base,
            kind: Kind::Registry,
            shape: &SHAPE,
            name,
            namespace,
            node,
            prefix,
            broken,
        }
    };
    let documents = nodes.into_iter().map(document).collect();
    problems.append(&mut found);
    documents
}

fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("", field) => field.to_owned(),
        (path, "") => path.to_owned(),
        (path, field) if field.starts_with('[') => format!("{path}{field}"),
        (path, field) => format!("{path}.{field}"),
    }
}

impl Document {
    /// The whole of it.
    pub fn root(&self) -> At<'_> {
        let (node, shape, path) = (&self.node, self.shape, self.prefix.clone());
        At {
            document: self,
            node,
            shape,
            path,
        }
    }

    /// Its `spec`, if there is one.
    pub fn spec(&self) -> Option<At<'_>> {
        self.root().field("spec")
    }

    /// `kind name`, for people.
    pub fn label(&self) -> String {
        match (self.kind.namespaced(), &*self.namespace) {
            (true, namespace) if namespace != "default" => format!("{} {namespace}/{}", self.kind.name(), self.name),
            _ => format!("{} {}", self.kind.name(), self.name),
        }
    }

    /// `file:line`, to refer to from another document.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.node.line)
    }
}
