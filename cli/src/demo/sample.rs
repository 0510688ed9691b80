//! A sample service that behaves as a Spring Cloud application does: it registers itself with Eureka by
//! HTTP, renews its lease, and says good-bye. It knows nothing of Landfall.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::outcome::{Failure, chain};

/// Eureka's clients renew each 30 s; this one does it as a test profile would.
const RENEWAL: Duration = Duration::from_secs(5);

/// A running instance.
pub struct Sample {
    name: &'static str,
    instance: String,
    address: SocketAddr,
    registry: Option<Registration>,
    serving: JoinHandle<()>,
}

struct Registration {
    client: reqwest::Client,
    base: String,
    renewing: JoinHandle<()>,
}

struct Answer {
    service: &'static str,
    instance: String,
    world: &'static str,
}

impl Sample {
    /// Serves on a free loopback port. `world` is part of its answers.
    pub async fn start(name: &'static str, number: u8, world: &'static str) -> Result<Self, Failure> {
        let no_port = |error: std::io::Error| {
            Failure::Unreachable(format!("the sample service {name} found no free port: {error}"))
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let instance = format!("{name}-{number}");
        let state = Arc::new(Answer {
            service: name,
            instance: instance.clone(),
            world,
        });
        let app = Router::new().fallback(answer).with_state(state);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!("a sample service ended: {error}");
            }
        });
        Ok(Self {
            name,
            instance,
            address,
            registry: None,
            serving,
        })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its instance id.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Registers with the Eureka server at `base` and renews its lease from then on.
    pub async fn register(&mut self, base: &str) -> Result<(), Failure> {
        let failed =
            |what: String| Failure::Unreachable(format!("{} cannot register at {base}: {what}", self.instance));
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build();
        let client = client.map_err(|error| failed(chain(&error)))?;
        let body = self.record();
        post(&client, base, self.name, &body).await.map_err(failed)?;
        let renewing = tokio::spawn(renew(
            client.clone(),
            base.to_owned(),
            self.name,
            self.instance.clone(),
            body,
        ));
        self.registry = Some(Registration {
            client,
            base: base.to_owned(),
            renewing,
        });
        Ok(())
    }

    /// Says good-bye to its registry, then stops.
    pub async fn stop(self) {
        if let Some(registry) = &self.registry {
            registry.renewing.abort();
            let url = format!("{}/apps/{}/{}", registry.base, self.name.to_uppercase(), self.instance);
            if let Err(error) = registry.client.delete(url).send().await {
                tracing::debug!("{} left without a good-bye: {error}", self.instance);
            }
        }
        self.serving.abort();
    }

    fn record(&self) -> Value {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        let home = format!("http://{}/", self.address);
        json!({ "instance": {
            "instanceId": self.instance, "hostName": ip, "app": self.name.to_uppercase(), "ipAddr": ip, "status": "UP",
            "overriddenStatus": "UNKNOWN", "sid": "na", "countryId": 1,
            "port": { "$": port, "@enabled": "true" }, "securePort": { "$": 443, "@enabled": "false" },
            "dataCenterInfo": { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" },
            "leaseInfo": { "renewalIntervalInSecs": RENEWAL.as_secs(), "durationInSecs": 3 * RENEWAL.as_secs() },
            "metadata": { "management.port": port.to_string() },
            "homePageUrl": home, "statusPageUrl": format!("{home}actuator/info"), "healthCheckUrl": format!("{home}actuator/health"),
            "vipAddress": self.name, "secureVipAddress": self.name, "isCoordinatingDiscoveryServer": false,
            "lastUpdatedTimestamp": millis(), "lastDirtyTimestamp": millis(), "actionType": null
        }})
    }
}

async fn answer(State(answer): State<Arc<Answer>>, method: Method, uri: Uri) -> Json<Value> {
    Json(json!({
        "service": answer.service, "instance": answer.instance, "foundIn": answer.world,
        "method": method.as_str(), "path": uri.path(),
    }))
}

async fn post(client: &reqwest::Client, base: &str, name: &str, body: &Value) -> Result<(), String> {
    let url = format!("{base}/apps/{}", name.to_uppercase());
    let answer = client
        .post(url)
        .json(body)
        .send()
        .await
        .map_err(|error| chain(&error))?;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(()),
        other => Err(format!("the registry answered {other}")),
    }
}

/// Eureka's lease: 404 means that the registry does not know us any more, so register again.
async fn renew(client: reqwest::Client, base: String, name: &'static str, instance: String, body: Value) {
    let url = format!("{base}/apps/{}/{instance}", name.to_uppercase());
    loop {
        tokio::time::sleep(RENEWAL).await;
        let answer = client.put(&url).query(&[("status", "UP")]).send().await;
        if answer.is_ok_and(|answer| answer.status() == StatusCode::NOT_FOUND)
            && let Err(why) = post(&client, &base, name, &body).await
        {
            tracing::debug!("{instance} could not register again: {why}");
        }
    }
}

fn millis() -> u128 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_millis())
}
