//! Copies of calls for mirrors: sent as any call, their answers thrown away.
//!
//! ```text
//!  call ─▶ mirror wants it? ─▶ room for another copy? ─▶ task: endpoint ─▶ link ─▶ reply: counted, and dropped
//!                                     └ no: no copy
//! ```
//!
//! A copy shares the bytes of its call and may outlive it, so how much all copies of a worker hold is limited. It is tried
//! once, and whatever becomes of it, the call does not notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use landfall_codec::dubbo2::Frame;
use tokio::time::Instant;

use super::{Proxy, exported::Called, fault::class, link::Broken, tries::status_of};
use crate::{
    authorize::Asked,
    call::Call,
    cluster::{Failure, Lease, Tried},
    moment::Moment,
    route::dubbo::DubboRule,
    runtime::Runtime,
};

/// How long an answer is waited for if the policy does not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much the copies of a worker hold.
#[derive(Debug, Default)]
pub(super) struct Copies {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// A copy's part of what may be held, given back when dropped.
struct Room {
    proxy: Arc<Proxy>,
    bytes: usize,
}

impl Room {
    /// `None` if all copies together would hold too much. One alone may be of any size that a call may have.
    fn take(proxy: &Arc<Proxy>, bytes: usize) -> Option<Self> {
        let copies = &proxy.copies;
        let (count, held) = (
            copies.count.fetch_add(1, Relaxed),
            copies.bytes.fetch_add(bytes, Relaxed),
        );
        let room = Self {
            proxy: proxy.clone(),
            bytes,
        };
        (count < proxy.options.calls && held < proxy.options.held).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.proxy.copies.count.fetch_sub(1, Relaxed);
        self.proxy.copies.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Starts the copies that the rule's mirrors want of a call, and that policies let their services have.
pub(super) fn start(
    (proxy, runtime): (&Arc<Proxy>, &Runtime),
    rule: &DubboRule,
    asked: &Asked<'_>,
    call: &Call<'_>,
    called: Called<'_>,
) {
    let mirrors = rule.rule.filters.mirrors().iter();
    for mirror in mirrors.filter(|mirror| mirror.wants(fastrand::u64(..))) {
        let Some(cluster) = runtime.cluster(mirror.to()) else {
            continue;
        };
        if !runtime.admits(&cluster.id, asked) {
            continue;
        }
        let Some(room) = Room::take(proxy, called.frame.body.len()) else {
            return;
        };
        if let Ok(mut lease) = cluster.pick(call, &Tried::default(), Moment::now(), fastrand::u64(..)) {
            let Ok(frame) = called.at(lease.endpoint()) else {
                lease.unjudged();
                continue;
            };
            tokio::spawn(send(room, lease, frame));
        }
    }
}

async fn send(room: Room, mut lease: Lease, frame: Frame) {
    let policy = lease.cluster().policy.clone();
    let (address, count) = (
        lease.endpoint().address,
        policy.limits.dubbo_connections.unwrap_or(1) as usize,
    );
    let (pool, limit) = (&room.proxy.pool, policy.connect_timeout);
    let link = match pool.link(address, count, limit, Instant::now() + limit).await {
        Ok((link, reused)) => {
            lease.connected(reused);
            link
        }
        Err(_) => return lease.failed(Failure::Connect, Moment::now()),
    };
    if link.is_read_only() {
        return lease.unjudged();
    }
    if !frame.header.wants_answer() {
        return match link.tell(frame) {
            Ok(()) => lease.unjudged(),
            Err(_) => lease.failed(Failure::Reset, Moment::now()),
        };
    }
    let patience = policy
        .request_timeout
        .filter(|limit| !limit.is_zero())
        .unwrap_or(PATIENCE);
    let answer = match link.call(frame, Some(Instant::now() + patience)) {
        Ok(waiting) => waiting.answer().await,
        Err(broken) => Err(broken),
    };
    let now = Moment::now();
    match answer {
        Ok(reply) => {
            lease.answered(class(status_of(&reply.header)), now);
        }
        Err(Broken::TooLarge) => {
            lease.answered(200, now);
        }
        Err(Broken::Late) => lease.failed(Failure::Timeout, now),
        Err(Broken::NotSent | Broken::Sent) => lease.failed(Failure::Reset, now),
    }
}
