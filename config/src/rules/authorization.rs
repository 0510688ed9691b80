//! AuthorizationPolicies: what they apply to, and rules that can fit a call.

use std::sync::Arc;

use landfall_model::rules::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, IpBlock, OperationMatch, PolicyTarget, SourceMatch,
    TextLists, TextPattern,
};

use super::{Report, matches::wrong_path, names::Names, policies::target};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        authorization_policy::{Action, AuthorizationPolicySpec, Operation, Source},
        service_policy::TargetRef,
        text::Pattern,
    },
};

/// The policies in document order.
pub(super) fn translate(
    documents: &[Document],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Arc<AuthorizationPolicy>> {
    let mut policies = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::AuthorizationPolicy) {
        let Some(at) = document.spec() else { continue };
        let targets = targets(&at, names, report);
        let rules = at.items("rules").iter().map(|rule| self::rule(rule, report)).collect();
        let Some(spec) = at.read::<AuthorizationPolicySpec>() else {
            continue;
        };
        let action = match spec.action {
            None | Some(Action::Allow) => AuthorizationAction::Allow,
            Some(Action::Deny) => AuthorizationAction::Deny,
        };
        if action == AuthorizationAction::Deny && spec.rules.is_empty() {
            let what = "a DENY without rules denies nothing";
            let mend = "write `rules: [{}]` to deny every call, or remove the policy";
            report.warnings.push(at.problem("action", what, mend));
        }
        policies.push(Arc::new(AuthorizationPolicy {
            name: document.name.clone(),
            targets,
            action,
            rules,
        }));
    }
    policies
}

fn targets(at: &At<'_>, names: &Names<'_>, report: &mut Report) -> Vec<PolicyTarget> {
    let items = at.items("targetRefs");
    if items.is_empty() {
        return vec![PolicyTarget::All];
    }
    let mut targets = Vec::new();
    for at in &items {
        let spec = at.read::<TargetRef>();
        targets.extend(spec.and_then(|spec| target(at, &spec, names, report)));
    }
    targets
}

fn rule(at: &At<'_>, report: &mut Report) -> AuthorizationRule {
    let mut rule = AuthorizationRule::default();
    for from in at.items("from") {
        let Some(at) = from.field("source") else { continue };
        let Some(spec) = at.read::<Source>() else { continue };
        rule.from.push(SourceMatch {
            ip_blocks: blocks(&at, "ipBlocks", spec.ip_blocks.as_deref(), report),
            not_ip_blocks: blocks(&at, "notIpBlocks", spec.not_ip_blocks.as_deref(), report),
            principals: TextLists {
                any: patterns(&at, "principals", spec.principals.as_deref(), principal, report),
                none: patterns(&at, "notPrincipals", spec.not_principals.as_deref(), principal, report),
            },
            namespaces: TextLists {
                any: patterns(&at, "namespaces", spec.namespaces.as_deref(), any, report),
                none: patterns(&at, "notNamespaces", spec.not_namespaces.as_deref(), any, report),
            },
        });
    }
    for to in at.items("to") {
        let Some(at) = to.field("operation") else { continue };
        let Some(spec) = at.read::<Operation>() else { continue };
        rule.to.push(operation(&at, &spec, report));
    }
    rule
}

fn blocks(at: &At<'_>, field: &str, given: Option<&[Pattern]>, report: &mut Report) -> Vec<IpBlock> {
    let mut found = Vec::new();
    for (i, text) in given.unwrap_or_default().iter().enumerate() {
        match IpBlock::parse(text) {
            Some(block) => found.push(block),
            None => {
                let what = format!("`{}` is no block of addresses", text.escape_debug());
                let mend = "write an address such as `192.0.2.1`, or `192.0.2.0/24`";
                report.problems.push(at.problem(&format!("{field}[{i}]"), what, mend));
            }
        }
    }
    found
}

fn operation(at: &At<'_>, spec: &Operation, report: &mut Report) -> OperationMatch {
    let mut lists = |any: (&str, &Option<Vec<Pattern>>), none: (&str, &Option<Vec<Pattern>>), check: Check| TextLists {
        any: patterns(at, any.0, any.1.as_deref(), check, report),
        none: patterns(at, none.0, none.1.as_deref(), check, report),
    };
    OperationMatch {
        hosts: lists(("hosts", &spec.hosts), ("notHosts", &spec.not_hosts), host),
        methods: lists(("methods", &spec.methods), ("notMethods", &spec.not_methods), any),
        paths: lists(("paths", &spec.paths), ("notPaths", &spec.not_paths), path),
        dubbo_interfaces: lists(
            ("dubboInterfaces", &spec.dubbo_interfaces),
            ("notDubboInterfaces", &spec.not_dubbo_interfaces),
            any,
        ),
        dubbo_methods: lists(
            ("dubboMethods", &spec.dubbo_methods),
            ("notDubboMethods", &spec.not_dubbo_methods),
            any,
        ),
    }
}

/// What is wrong with a text of some field, and the text to compare with.
type Check = fn(&str) -> Result<String, String>;

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn principal(text: &str) -> Result<String, String> {
    match text.starts_with("spiffe://") {
        true => Err(format!(
            "`{}` begins with `spiffe://`, which is left out here",
            text.escape_debug()
        )),
        false => Ok(text.to_owned()),
    }
}

fn host(text: &str) -> Result<String, String> {
    if text.contains([':', '/']) && !text.starts_with('[') {
        return Err(format!("`{}` is no host without scheme and port", text.escape_debug()));
    }
    Ok(text.to_ascii_lowercase())
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('*') {
        wrong_path(text.strip_suffix('*').unwrap_or(text)).map_or(Ok(()), Err)?;
    }
    Ok(text.to_owned())
}

fn patterns(
    at: &At<'_>,
    field: &str,
    given: Option<&[Pattern]>,
    check: Check,
    report: &mut Report,
) -> Vec<TextPattern> {
    let mut found = Vec::new();
    for (i, text) in given.unwrap_or_default().iter().enumerate() {
        let place = format!("{field}[{i}]");
        let pattern = check(text).map(|text| TextPattern::parse(&text));
        match pattern {
            Ok(Some(pattern)) => found.push(pattern),
            Ok(None) => {
                let what = format!(
                    "`{}` has a `*` that is neither its beginning nor its end",
                    text.escape_debug()
                );
                report
                    .problems
                    .push(at.problem(&place, what, "write `text`, `text*`, `*text` or `*`"));
            }
            Err(what) => {
                let mend = "write the text as a request has it, with at most one `*` at an end";
                report.problems.push(at.problem(&place, what, mend));
            }
        }
    }
    found
}
