//! Asking a running Landfall through its admin API.

use std::{net::SocketAddr, time::Duration};

use reqwest::Method;
use serde_json::Value;

use crate::outcome::{Failure, chain};

/// Asks for `path` (with query) and returns the JSON answer.
pub async fn ask(admin: SocketAddr, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    send(admin, Method::GET, path, query).await
}

/// Has something done, and returns the JSON answer.
pub async fn tell(admin: SocketAddr, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    send(admin, Method::POST, path, query).await
}

async fn send(admin: SocketAddr, method: Method, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    let unreachable = |error: reqwest::Error| {
        Failure::Unreachable(format!(
            "no answer from http://{admin}{path}: {}\nIs Landfall running there? Another address is named with --admin.",
            chain(&error)
        ))
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .map_err(unreachable)?;
    let answer = client
        .request(method, format!("http://{admin}{path}"))
        // What a page in a browser cannot set without being asked first; see the admin API's guard.
        .header("x-landfall", "1")
        .query(query)
        .send()
        .await
        .map_err(unreachable)?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(unreachable)?;
    if status.is_success() {
        return Ok(body);
    }
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let told = format!("{}\n{}", text("error"), text("mend"));
    Err(Failure::No(if told.trim().is_empty() {
        format!("{path}: {status}")
    } else {
        told.trim().to_owned()
    }))
}
