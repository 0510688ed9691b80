//! HTTPTranscodings: methods whose parameters all have a place in the request that they mean.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::rules::{HttpMethod, HttpParameter, HttpTranscoding, ParameterTarget};

use super::{
    Report,
    names::Names,
    transcodings::{name_of, template, types, word_of},
};
use crate::{
    document::{At, Document},
    kinds::{
        Kind, LANDFALL,
        dubbo_transcoding::Verb,
        filter::ExtensionRef,
        http_transcoding::{self as kind, To},
    },
};

/// Headers that say where a message goes and where it ends: no argument does.
const OURS: [&str; 7] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// All of them by name. One with a fault is there all the same: what names it has no fault of its own.
pub(super) fn translate<'a>(documents: &'a [Document], report: &mut Report) -> BTreeMap<&'a str, Arc<HttpTranscoding>> {
    let ours = documents.iter().filter(|d| d.kind == Kind::HttpTranscoding);
    ours.map(|document| (&*document.name, Arc::new(transcoding(document, report))))
        .collect()
}

/// The one that a filter names.
pub(super) fn referenced(
    at: &At<'_>,
    spec: &ExtensionRef,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Arc<HttpTranscoding>> {
    let (group, kind) = (&*spec.group, &*spec.kind);
    if (group, kind) != (LANDFALL, "HTTPTranscoding") {
        let what = format!("`{kind}` of group `{group}` is no filter of Dubbo's calls (InvalidKind)");
        let mend = "write `group: landfall.dev`, `kind: HTTPTranscoding`";
        report.problems.push(at.problem("kind", what, mend));
        return None;
    }
    names.need_http_transcoding(at, "name", &spec.name, report);
    names.http_transcoded.get(&*spec.name).cloned()
}

fn transcoding(document: &Document, report: &mut Report) -> HttpTranscoding {
    let mut made = HttpTranscoding {
        name: document.name.clone(),
        ..HttpTranscoding::default()
    };
    let Some(at) = document.spec() else { return made };
    made.types = at.field("types").map(|at| types(&at, report)).unwrap_or_default();
    for at in at.items("methods") {
        let Some(method) = method(&at, report) else { continue };
        let same =
            |known: &HttpMethod| known.method == method.method && known.parameters.len() == method.parameters.len();
        if made.methods.iter().any(same) {
            let what = format!("`{}` with so many parameters stands twice", method.method);
            let mend = "keep one: overloads are told apart by how many parameters they have";
            report.problems.push(at.problem("method", what, mend));
        }
        made.methods.push(method);
    }
    made
}

fn method(at: &At<'_>, report: &mut Report) -> Option<HttpMethod> {
    let spec: kind::Method = at.read()?;
    let path = template(at, &spec.path, report)?;
    let in_path: Vec<&str> = path.iter().filter_map(name_of).collect();
    let verb = spec.http_method.unwrap_or(Verb::Post);
    let mut parameters: Vec<HttpParameter> = Vec::new();
    for (wanted, at) in spec.parameters.iter().zip(at.items("parameters")) {
        if parameters.iter().any(|known| *known.name == *wanted.name) {
            let what = format!("the parameter `{}` stands twice", &*wanted.name);
            report
                .problems
                .push(at.problem("name", what, "give each a name of its own"));
        }
        parameters.push(parameter(&at, wanted, &in_path, verb, report));
    }
    for name in &in_path {
        if !parameters.iter().any(|parameter| *parameter.name == **name) {
            let what = format!("`{{{name}}}` is none of the parameters");
            let mend = "add it to `parameters`, or leave it out of the path";
            report.problems.push(at.problem("path", what, mend));
        }
    }
    Some(HttpMethod {
        method: (*spec.method).into(),
        verb: word_of(verb).into(),
        path,
        parameters,
    })
}

fn parameter(at: &At<'_>, spec: &kind::Parameter, in_path: &[&str], verb: Verb, report: &mut Report) -> HttpParameter {
    let name = &*spec.name;
    let has_place = in_path.contains(&name);
    let to = spec.to.unwrap_or(if has_place { To::Path } else { To::Body });
    let mut refuse = |field: &str, what: String, mend: &str| report.problems.push(at.problem(field, what, mend));
    if (to == To::Path) != has_place {
        let what = match has_place {
            true => format!("the path has `{{{name}}}`, so it cannot go elsewhere"),
            false => format!("the path has no `{{{name}}}`"),
        };
        let mend = "write `to: Path` for what the path has, and for nothing else";
        refuse("to", what, mend);
    }
    if to == To::Body && verb == Verb::Get {
        let what = format!("`{name}` would go into the body, which a GET does not have");
        refuse("to", what, "write `to: Query`, or another `httpMethod`");
    }
    if spec.query.is_some() && to != To::Query {
        let what = "`query` belongs to `to: Query`".to_owned();
        refuse("query", what, "remove it, or mend `to`");
    }
    if spec.header.is_some() && to != To::Header {
        let what = "`header` belongs to `to: Header`".to_owned();
        refuse("header", what, "remove it, or mend `to`");
    }
    let header = spec.header.as_deref().unwrap_or(name).to_ascii_lowercase();
    if to == To::Header && OURS.contains(&&*header) {
        let what = format!("the header `{header}` is not for arguments");
        refuse("header", what, "give it another name");
    }
    HttpParameter {
        name: name.into(),
        to: match to {
            To::Path => ParameterTarget::Path,
            To::Query => ParameterTarget::Query(spec.query.as_deref().unwrap_or(name).into()),
            To::Header => ParameterTarget::Header(header.into()),
            To::Body => ParameterTarget::Body,
        },
    }
}
