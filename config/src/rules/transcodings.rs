//! DubboTranscodings: methods that can be called by the requests that they name, and types that can be read.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::rules::{
    DeclaredClass, DeclaredShape, DeclaredTypes, ParameterSource, PathPart, ResultForm, TranscodedMethod,
    TranscodedParameter, Transcoding,
};

use super::{Report, matches::wrong_path, names::Names};
use crate::{
    document::{At, Document},
    kinds::{
        Kind, LANDFALL,
        dubbo_transcoding::{self as kind, From, Verb},
        filter::ExtensionRef,
    },
};

/// All of them by name. One with a fault is there all the same: what names it has no fault of its own.
pub(super) fn translate<'a>(documents: &'a [Document], report: &mut Report) -> BTreeMap<&'a str, Arc<Transcoding>> {
    let ours = documents.iter().filter(|d| d.kind == Kind::DubboTranscoding);
    ours.map(|document| (&*document.name, Arc::new(transcoding(document, report))))
        .collect()
}

/// The one that a filter names.
pub(super) fn referenced(
    at: &At<'_>,
    spec: &ExtensionRef,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Arc<Transcoding>> {
    let (group, kind) = (&*spec.group, &*spec.kind);
    if (group, kind) != (LANDFALL, "DubboTranscoding") {
        let what = format!("`{kind}` of group `{group}` is no filter (InvalidKind)");
        let mend = "write `group: landfall.dev`, `kind: DubboTranscoding`";
        report.problems.push(at.problem("kind", what, mend));
        return None;
    }
    names.need_transcoding(at, "name", &spec.name, report);
    names.transcoded.get(&*spec.name).cloned()
}

fn transcoding(document: &Document, report: &mut Report) -> Transcoding {
    let mut made = Transcoding {
        name: document.name.clone(),
        ..Transcoding::default()
    };
    let Some(at) = document.spec() else { return made };
    made.methods = at.items("methods").iter().filter_map(|at| method(at, report)).collect();
    unreachable_methods(&at, &made.methods, report);
    made.types = at.field("types").map(|at| types(&at, report)).unwrap_or_default();
    let Some(spec) = at.read::<kind::DubboTranscodingSpec>() else {
        return made;
    };
    let owned = |text: &str| Arc::<str>::from(text);
    made.interface = spec.interface.as_deref().map(owned);
    made.group = spec.group.as_deref().map(owned);
    made.version = spec.version.as_deref().map(owned);
    made.generic = spec.generic.unwrap_or(false);
    made.exceptions = spec
        .exceptions
        .iter()
        .map(|exception| (owned(&exception.class), exception.status))
        .collect();
    let results = spec.results.unwrap_or_default();
    made.results = ResultForm {
        class_names: results.class_names.unwrap_or(false),
        millis: results.millis.unwrap_or(false),
        big_numbers_as_text: results.big_numbers_as_text.unwrap_or(false),
        cut_cycles: results.cut_cycles.unwrap_or(false),
    };
    made
}

fn method(at: &At<'_>, report: &mut Report) -> Option<TranscodedMethod> {
    let spec: kind::Method = at.read()?;
    let path = match &spec.path {
        Some(path) => Some(template(at, path, report)?),
        None => None,
    };
    let mut verbs: Vec<Arc<str>> = Vec::new();
    for verb in &spec.http_methods {
        let word = word_of(*verb);
        if !verbs.iter().any(|known| **known == *word) {
            verbs.push(word.into());
        }
    }
    if verbs.is_empty() {
        verbs.push("POST".into());
    }
    let in_path: Vec<&str> = path.iter().flatten().filter_map(name_of).collect();
    let parameters = match &spec.parameters {
        Some(list) => {
            let mut parameters: Vec<TranscodedParameter> = Vec::new();
            for (i, wanted) in list.iter().enumerate() {
                let at = at.items("parameters").get(i).cloned()?;
                if parameters.iter().any(|known| *known.name == *wanted.name) {
                    let what = format!("the parameter `{}` stands twice", &*wanted.name);
                    report
                        .problems
                        .push(at.problem("name", what, "give each a name of its own"));
                }
                let only_get = verbs.iter().all(|verb| &**verb == "GET");
                parameters.push(parameter(&at, wanted, &in_path, only_get, report));
            }
            Some(parameters)
        }
        None => None,
    };
    if let Some(parameters) = &parameters {
        for name in &in_path {
            if !parameters.iter().any(|parameter| *parameter.name == **name) {
                let what = format!("`{{{name}}}` is none of the parameters");
                report
                    .problems
                    .push(at.problem("path", what, "add it to `parameters`, or leave it out of the path"));
            }
        }
        let types = spec.method.split_once('(').map(|(_, rest)| rest.trim_end_matches(')'));
        let count = types.map(|types| types.split(',').filter(|one| !one.trim().is_empty()).count());
        if count.is_some_and(|count| count != parameters.len()) {
            let what = format!("{} parameters for `{}`", parameters.len(), &*spec.method);
            report
                .problems
                .push(at.problem("parameters", what, "write one for each parameter of the method"));
        }
    }
    Some(TranscodedMethod {
        method: (*spec.method).into(),
        path,
        verbs,
        parameters,
    })
}

/// The verb as it is sent.
pub(super) fn word_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::Post => "POST",
        Verb::Put => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
    }
}

/// The name of a parameter.
pub(super) fn name_of(part: &PathPart) -> Option<&str> {
    match part {
        PathPart::Text(_) => None,
        PathPart::Parameter(name) => Some(name),
    }
}

/// The segments of a path with parameters.
pub(super) fn template(at: &At<'_>, path: &str, report: &mut Report) -> Option<Vec<PathPart>> {
    let mend = "write a path such as `/orders/{id}`: what is in braces is a whole segment";
    let plain: String = path.chars().filter(|c| !matches!(c, '{' | '}')).collect();
    if let Some(what) = wrong_path(&plain) {
        report.problems.push(at.problem("path", what, mend));
        return None;
    }
    let mut parts: Vec<PathPart> = Vec::new();
    for segment in path.split('/').skip(1) {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let part = match inner {
            Some(name) if is_parameter(name) => PathPart::Parameter(name.into()),
            None if !segment.contains(['{', '}']) => PathPart::Text(segment.into()),
            _ => {
                let what = format!("`{}` is neither a text nor a parameter", segment.escape_debug());
                report.problems.push(at.problem("path", what, mend));
                return None;
            }
        };
        if let Some(name) = name_of(&part)
            && parts.iter().filter_map(name_of).any(|known| known == name)
        {
            let what = format!("`{{{name}}}` stands twice");
            report
                .problems
                .push(at.problem("path", what, "give each a name of its own"));
        }
        parts.push(part);
    }
    Some(parts)
}

/// A Java name, or a place from 0.
fn is_parameter(name: &str) -> bool {
    let java = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    !name.is_empty()
        && name.len() <= 256
        && name.chars().all(java)
        && (!name.starts_with(|c: char| c.is_ascii_digit()) || name.parse::<u8>().is_ok())
}

fn parameter(
    at: &At<'_>,
    spec: &kind::Parameter,
    in_path: &[&str],
    only_get: bool,
    report: &mut Report,
) -> TranscodedParameter {
    let name = &*spec.name;
    let has_place = in_path.contains(&name);
    let from = spec.from.unwrap_or(if has_place { From::Path } else { From::Body });
    let mut refuse = |field: &str, what: String, mend: &str| report.problems.push(at.problem(field, what, mend));
    if (from == From::Path) != has_place {
        let what = match has_place {
            true => format!("the path has `{{{name}}}`, so it cannot come from elsewhere"),
            false => format!("the path has no `{{{name}}}`"),
        };
        refuse(
            "from",
            what,
            "write `from: Path` for what the path has, and for nothing else",
        );
    }
    if from == From::Body && only_get {
        let what = format!("`{name}` would come from the body, which a GET does not have");
        refuse("from", what, "write `from: Query`, or another of `httpMethods`");
    }
    if spec.query.is_some() && from != From::Query {
        refuse(
            "query",
            "`query` belongs to `from: Query`".to_owned(),
            "remove it, or mend `from`",
        );
    }
    if spec.header.is_some() && from != From::Header {
        refuse(
            "header",
            "`header` belongs to `from: Header`".to_owned(),
            "remove it, or mend `from`",
        );
    }
    if spec.default.is_some() && !matches!(from, From::Query | From::Header) {
        let what = "`default` belongs to `from: Query` and `from: Header`".to_owned();
        refuse("default", what, "remove it, or mend `from`");
    }
    if spec.optional == Some(true) && from != From::Body {
        let what = "`optional` belongs to `from: Body`".to_owned();
        refuse("optional", what, "write a `default`");
    }
    TranscodedParameter {
        name: name.into(),
        from: match from {
            From::Path => ParameterSource::Path,
            From::Query => ParameterSource::Query(spec.query.as_deref().unwrap_or(name).into()),
            From::Header => {
                let header = spec.header.as_deref().unwrap_or(name);
                ParameterSource::Header(header.to_ascii_lowercase().into())
            }
            From::Body => ParameterSource::Body,
        },
        default: spec.default.as_deref().map(Into::into),
        optional: spec.optional.unwrap_or(false),
    }
}

/// Whether every request that the second takes is one that the first takes.
fn covers(first: &TranscodedMethod, second: &TranscodedMethod) -> bool {
    let name = |of: &TranscodedMethod| of.method.split('(').next().unwrap_or_default().to_owned();
    let paths = match (&first.path, &second.path) {
        (Some(first), Some(second)) => {
            first.len() == second.len()
                && first.iter().zip(second).all(|pair| match pair {
                    (PathPart::Parameter(_), _) => true,
                    (PathPart::Text(first), PathPart::Text(second)) => first == second,
                    (PathPart::Text(_), PathPart::Parameter(_)) => false,
                })
        }
        (None, None) => name(first) == name(second),
        (None, Some(second)) => matches!(second.last(), Some(PathPart::Text(last)) if **last == name(first)),
        (Some(_), None) => false,
    };
    paths && second.verbs.iter().all(|verb| first.verbs.contains(verb))
}

/// Warns of methods that no request reaches, because an earlier one takes it.
fn unreachable_methods(at: &At<'_>, methods: &[TranscodedMethod], report: &mut Report) {
    if at.items("methods").len() != methods.len() {
        return;
    }
    for (i, method) in methods.iter().enumerate() {
        let Some(first) = methods.iter().take(i).position(|first| covers(first, method)) else {
            continue;
        };
        let what = format!("no request comes here, since `methods[{first}]` takes it");
        let mend = "put it before that one, give it another path, or remove it";
        report.warnings.push(at.problem(&format!("methods[{i}]"), what, mend));
    }
}

/// Types declared by hand.
pub(super) fn types(at: &At<'_>, report: &mut Report) -> DeclaredTypes {
    let mut types = DeclaredTypes::default();
    let Some(spec) = at.read::<kind::Types>() else {
        return types;
    };
    if let Some(text) = spec.definition {
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        let what = match &parsed {
            Err(error) => Some(format!("it is no JSON: {error}")),
            Ok(json) if !json.get("canonicalName").is_some_and(serde_json::Value::is_string) => {
                Some("it has no text `canonicalName`".to_owned())
            }
            Ok(_) => None,
        };
        if let Some(what) = what {
            let mend = "copy the whole definition that a provider has written, or use `methods` and `classes`";
            report.problems.push(at.problem("definition", what, mend));
        }
        types.definition = Some(text.into());
    }
    for (i, signature) in spec.methods.iter().enumerate() {
        balanced(at, &format!("methods[{i}]"), signature, report);
        types.methods.push((**signature).into());
    }
    for (i, class) in spec.classes.iter().enumerate() {
        let field = format!("classes[{i}]");
        balanced(at, &format!("{field}.name"), &class.name, report);
        let shape = match (&class.fields, &class.constants) {
            (Some(fields), None) => {
                for (name, of) in fields {
                    balanced(at, &format!("{field}.fields.{name}"), of, report);
                }
                let pair = |(name, of): (&String, &crate::kinds::text::JavaType)| (name.as_str().into(), (**of).into());
                DeclaredShape::Fields(fields.iter().map(pair).collect())
            }
            (None, Some(constants)) => DeclaredShape::Constants(constants.iter().map(|name| (**name).into()).collect()),
            _ => {
                let what = "a class has `fields`, an enum `constants`";
                report.problems.push(at.problem(&field, what, "write one of the two"));
                continue;
            }
        };
        types.classes.push(DeclaredClass {
            name: (*class.name).into(),
            shape,
        });
    }
    types
}

/// Brackets must close, each by its own kind.
fn balanced(at: &At<'_>, field: &str, text: &str, report: &mut Report) {
    let mut open = Vec::new();
    let closes = text.chars().all(|c| match c {
        '<' => {
            open.push('>');
            true
        }
        '[' => {
            open.push(']');
            true
        }
        '>' | ']' => open.pop() == Some(c),
        _ => true,
    });
    if !closes || !open.is_empty() {
        let what = format!("the brackets of `{}` do not close", text.escape_debug());
        report
            .problems
            .push(at.problem(field, what, "write a type such as `java.util.List<com.example.Order>`"));
    }
}
