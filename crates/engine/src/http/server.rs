//! pingora's proxy with the settings we want.

use std::{sync::Arc, time::Duration};

use pingora_core::{
    apps::HttpServerOptions, protocols::http::v2::server::default_h2_options, server::configuration::ServerConf,
};
use pingora_proxy::HttpProxy;

use super::Gateway;

/// Idle connections to endpoints that a worker keeps.
const POOL: usize = 512;
/// pingora counts the first try too, and ours are limited by the policy.
const MAX_TRIES: usize = 64;
/// Streams a client may have open on one HTTP/2 connection.
const H2_STREAMS: u32 = 128;
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The proxy of one worker.
pub(crate) fn http_proxy(gateway: Gateway, h2_idle: Duration) -> Arc<HttpProxy<Gateway>> {
    let conf = ServerConf {
        threads: 1,
        max_retries: MAX_TRIES,
        upstream_keepalive_pool_size: POOL,
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(gateway, Arc::new(conf));
    proxy.handle_init_modules();
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(h2_idle);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(H2_STREAMS)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    proxy.h2_options = Some(h2);
    Arc::new(proxy)
}
