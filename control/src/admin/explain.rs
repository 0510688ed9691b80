//! `/api/v1/explain?method=&url=&header=`: what would become of a call, as the data path itself works it out.

use axum::{Json, extract::State, http::Uri};
use serde_json::Value;

use super::{
    Sources,
    answer::{Parameters, Refusal},
};
use crate::Question;

const EXAMPLE: &str = "ask for example ?method=GET&url=http://localhost:8080/orders/1&header=x-user:7";

pub async fn show(State(sources): State<Sources>, uri: Uri) -> Result<Json<Value>, Refusal> {
    let parameters = Parameters::read(&uri, &["method", "url", "header"])?;
    let bad = |error: String| Refusal::bad_request(error, EXAMPLE.to_owned());
    let url = parameters
        .get("url")
        .ok_or_else(|| bad("the parameter `url` is missing".to_owned()))?;
    let headers = parameters
        .all("header")
        .filter(|header| !header.is_empty())
        .map(|header| match header.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
            _ => Err(bad(format!("`{header}` is no header"))),
        })
        .collect::<Result<_, _>>()?;
    let question = Question {
        method: parameters.get("method").unwrap_or("GET").to_ascii_uppercase(),
        url: url.to_owned(),
        headers,
    };
    let Some(data_path) = &sources.data_path else {
        let error = "this process carries no traffic, so it cannot tell what would become of a call".to_owned();
        return Err(Refusal::unavailable(
            error,
            "ask a gateway, or run `landfall explain --config`".to_owned(),
        ));
    };
    data_path.explain(&question).map(Json).map_err(bad)
}
