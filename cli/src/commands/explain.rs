//! `landfall explain [METHOD] URL`: which route, filters and endpoints a call would meet, and why not others.

use std::{sync::Arc, time::Duration};

use landfall_engine::{
    explain::{ExplainRequest, explain as explain_call},
    metrics::Metrics,
    runtime::Runtime,
};
use serde_json::Value;

use super::look::look;
use crate::{
    admin,
    args::{ExplainArgs, Output},
    outcome::{Failure, chain},
    output::{self, cell, list},
};

/// From a configuration, or from a running Landfall.
pub async fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let (method, url) = args.method_and_url().ok_or_else(|| {
        let what = "only a method and a URL are explained: write `landfall explain GET http://localhost:8080/`";
        Failure::Usage(what.to_owned())
    })?;
    let url = with_arguments(url, &args.arguments)?;
    let answer = match &args.config {
        None => {
            let mut query = vec![("method", method), ("url", url.as_str())];
            query.extend(args.headers.iter().map(|header| ("header", header.as_str())));
            admin::ask(args.admin, "/api/v1/explain", &query).await?
        }
        Some(path) => {
            let look = look(path, Duration::from_secs(args.wait)).await?;
            let snapshot = look.control.snapshots().borrow().clone();
            let runtime = Runtime::compile(snapshot, None, &Arc::<Metrics>::default());
            let request = ExplainRequest {
                method: method.to_ascii_uppercase(),
                url,
                headers: args.headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
            };
            let explanation = explain_call(&runtime, &request).map_err(|error| Failure::Usage(chain(&error)))?;
            serde_json::to_value(explanation).map_err(|error| Failure::No(chain(&error)))?
        }
    };
    output::print(&match args.output {
        Output::Json => output::json(&answer),
        Output::Yaml => output::yaml(&answer)?,
        Output::Text | Output::Wide => text(&answer, args.output == Output::Wide),
    });
    if is_answered(&answer) {
        Ok(())
    } else {
        Err(Failure::No("no endpoint would get this call".to_owned()))
    }
}

/// The URL with the arguments of a Dubbo call in its query.
fn with_arguments(url: &str, arguments: &[String]) -> Result<String, Failure> {
    if !arguments.is_empty() && !url.starts_with("dubbo:") {
        let what = "--argument belongs to a call of Dubbo: write a URL such as `dubbo://host:20880/org.example.Greeter?method=hello`";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut url = url.to_owned();
    for (index, argument) in arguments.iter().enumerate() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url += &format!("argument.{index}=");
        for byte in argument.bytes() {
            if byte.is_ascii_alphanumeric() {
                url.push(char::from(byte));
            } else {
                url += &format!("%{byte:02x}");
            }
        }
    }
    Ok(url)
}

fn header(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| Failure::Usage(format!("`{text}` is no header: write `Name: value`")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A redirect is an answer, too; a refusal is not what anybody asks for.
fn is_answered(answer: &Value) -> bool {
    answer["outcome"]["kind"] != "answered"
}

fn text(answer: &Value, wide: bool) -> String {
    let mut out = format!("listener  {}\n", cell(&answer["listener"]));
    let outcome = &answer["outcome"];
    match outcome["kind"].as_str() {
        Some("redirected") => {
            out += &format!(
                "answer    {} to {}\n",
                cell(&outcome["status"]),
                cell(&outcome["location"])
            );
        }
        Some("answered") => out += &format!("answer    {}: {}\n", cell(&outcome["status"]), cell(&outcome["why"])),
        _ => {}
    }
    let route = &answer["route"];
    if route.is_object() {
        out += &format!(
            "route     {} rule {}: {}\n",
            cell(&route["route"]),
            cell(&route["rule"]),
            cell(&route["matched"])
        );
        out.extend(list(&route["filters"]).map(|filter| format!("filter    {}\n", cell(filter))));
    }
    for backend in list(&answer["backends"]) {
        out += &format!(
            "backend   {}: {} % of calls",
            cell(&backend["backend"]),
            cell(&backend["share"])
        );
        out += &format!(", as {}{}\n", cell(&backend["host"]), cell(&backend["path"]));
        out.extend(list(&backend["filters"]).map(|filter| format!("          {}\n", cell(filter))));
        if let Some(why) = backend["missing"].as_str() {
            out += &format!("          nothing: {why}\n");
        }
        if let Some(why) = backend["denied"].as_str() {
            out += &format!("          denied: {why}\n");
        }
        for endpoint in list(&backend["cluster"]["endpoints"]) {
            out += &format!(
                "          {}  weight {}  from {}\n",
                cell(&endpoint["address"]),
                cell(&endpoint["weight"]),
                cell(&endpoint["origin"])
            );
        }
    }
    let others: Vec<&Value> = list(&answer["others"]).collect();
    for other in others.iter().take(if wide { usize::MAX } else { 3 }) {
        let rule = format!("{} rule {}", cell(&other["route"]), cell(&other["rule"]));
        out += &format!(
            "not       {rule} ({}): {}\n",
            cell(&other["matches"]),
            cell(&other["why"])
        );
    }
    out.extend(list(&answer["notes"]).map(|note| format!("note      {}\n", cell(note))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_of_a_dubbo_call_go_into_its_url_whatever_is_in_them() {
        let arguments = ["Ann & Ünal".to_owned(), "42".to_owned()];
        let url = with_arguments("dubbo://a/b.C?method=d", &arguments).unwrap();
        assert_eq!(
            url,
            "dubbo://a/b.C?method=d&argument.0=Ann%20%26%20%c3%9cnal&argument.1=42"
        );
        let url = with_arguments("dubbo://a/b.C", &arguments[1..]).unwrap();
        assert_eq!(url, "dubbo://a/b.C?argument.0=42");
        assert_eq!(with_arguments("http://a/", &[]).unwrap(), "http://a/");
        assert!(matches!(
            with_arguments("http://a/", &arguments),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn an_answer_of_our_own_is_told_with_its_reason_and_is_no_success() {
        let answer = json!({"listener": "edge/web", "outcome": {"kind": "answered", "status": 404, "why": "no match"}});
        assert!(!is_answered(&answer));
        assert!(text(&answer, false).contains("answer    404: no match\n"));
        let redirect = json!({"outcome": {"kind": "redirected", "status": 302, "location": "https://a/"}});
        assert!(is_answered(&redirect));
        assert!(text(&redirect, false).contains("answer    302 to https://a/\n"));
    }
}
