//! `/api/v1/openapi.json`: the methods of Dubbo's services that can be called with JSON.

use axum::{
    extract::State,
    http::{Uri, header},
    response::IntoResponse,
};

use super::{
    Sources,
    answer::{Parameters, Refusal},
};

pub async fn show(State(sources): State<Sources>, uri: Uri) -> Result<impl IntoResponse, Refusal> {
    Parameters::read(&uri, &[])?;
    let Some(data_path) = &sources.data_path else {
        let error = "this process carries no traffic, so no method is called by it".to_owned();
        return Err(Refusal::unavailable(error, "ask a gateway".to_owned()));
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], data_path.openapi()))
}
