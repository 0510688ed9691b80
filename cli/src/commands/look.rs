//! A configuration and its registries looked at once, without carrying traffic: for `explain --config` and `check`.

use std::{path::Path, sync::Arc, time::Duration};

use landfall_adapters::hub::{Hub, HubOptions};
use landfall_config::{Config, ConfigFollower, follow, load};
use landfall_control::{Control, ControlOptions, resolve};
use tokio::time::Instant;

use crate::{outcome::Failure, run::refused};

/// Registries that are followed for a moment.
pub struct Look {
    /// What stands in the files, without embedded registries: those live inside the process that is run.
    pub config: Arc<Config>,
    /// Joins both.
    pub control: Control,
    _follower: ConfigFollower,
}

/// Loads the configuration and follows its registries until each is ready, for at most `wait`.
pub async fn look(path: &Path, wait: Duration) -> Result<Look, Failure> {
    let mut config = load(path).map_err(|error| refused(&error))?;
    config.registries.retain(|registry| registry.spec.embedded.is_none());
    let hub = Arc::new(Hub::start(HubOptions::default()));
    let follower = follow(path, config.clone());
    let state = follower.state();
    let control = Control::start(ControlOptions {
        config: state,
        hub,
        trust_domain: None,
        look_up: resolve::system(),
    })
    .await;
    let end = Instant::now() + wait;
    while !control.readiness(None).ready && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Look {
        config: Arc::new(config),
        control,
        _follower: follower,
    })
}
