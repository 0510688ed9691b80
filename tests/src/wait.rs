//! Waiting for a condition with a deadline; never for a time alone.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// The usual patience: far longer than anything takes, so that a busy machine is no failure. The longest pause of ours is
/// that before a failing registry is asked again: 30 s.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer; panics with `what` and the last refusal after [`PATIENCE`].
pub async fn eventually<T, F, Fut>(what: &str, ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    within(PATIENCE, what, ask).await
}

/// The same with another patience.
pub async fn within<T, F, Fut>(patience: Duration, what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + patience;
    loop {
        let refusal = match ask().await {
            Ok(answer) => return answer,
            Err(refusal) => refusal,
        };
        assert!(Instant::now() < end, "{what}: not within {patience:?}: {refusal}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
