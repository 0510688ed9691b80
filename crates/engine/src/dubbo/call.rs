//! A call from its frame to its answer.
//!
//! ```text
//!  read as far as the rules need ─▶ rule ─▶ backend ─▶ cluster ─┬─▶ endpoint ─▶ link ─▶ reply ─▶ its own id ─▶ outbox
//!        │ unreadable, no rule                                  │      └ failed: another try, if that is allowed
//!        └───────────────▶ fault ─▶ reply ◀─────────────────────┘
//! ```
//!
//! A call is tried again if it provably reached nobody, or if its rule declares its method idempotent; budget, number of
//! tries and waits are the cluster's policy, as for HTTP. Its time is what the consumer allows it, else the policy's.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderName;
use landfall_codec::{
    dubbo2::{Attachment, Attachments, Frame, Header, Identity, Kind, Request, Status},
    hessian2::Limits,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Proxy,
    fault::{Fault, class},
    link::Broken,
    session::Client,
};
use crate::{
    access_log::Record,
    call::{Call, HeaderView, Scheme},
    cluster::{ClusterRuntime, Failure, Lease, Tried, TryOutcome},
    moment::Moment,
    route::{
        BackendSlot,
        dubbo::{DubboRule, Facts},
    },
    runtime::{Choice, Runtime},
};

/// Carries one call to its end; whoever waits for it is answered.
pub(super) async fn carry(proxy: &Proxy, client: &Client, frame: Frame) {
    let header = frame.header;
    let runtime = match client.port.last_runtime() {
        Some(last) => last,
        None => proxy.runtime.load_full(),
    };
    let mut account = Account::open(&runtime, frame.body.len());
    let read = Read::of(&frame);
    let result = match &read {
        Ok(read) => attempt(proxy, client, &runtime, read, &frame, &mut account).await,
        Err(fault) => Err(fault.clone()),
    };
    let (reply, fault) = match result {
        Ok(reply) => {
            account.status = Some(reply.as_ref().map_or(Status::OK, |reply| status_of(&reply.header)));
            (reply, None)
        }
        Err(fault) => {
            account.status = Some(fault.status());
            account.class = Some(fault.class());
            (fault.reply(&header), Some(fault))
        }
    };
    account.sent = reply.as_ref().map_or(0, |reply| reply.body.len());
    if let Some(reply) = reply {
        let header = Header {
            id: header.id,
            ..reply.header
        };
        client.outbox.put(Frame { header, ..reply });
    }
    account.close();
    if let Some(log) = &proxy.access_log {
        let request = read.as_ref().ok();
        let words = fault.map(|fault| fault.to_string());
        log.log(&account.record(client, request, words.as_deref()));
    }
}

fn status_of(header: &Header) -> Status {
    match header.kind {
        Kind::Response(status) => status,
        Kind::Request { .. } => Status::OK,
    }
}

/// What can be told of a call.
struct Read {
    /// `None` for a serialization that we do not open.
    request: Option<Request>,
    method: String,
}

impl Read {
    fn of(frame: &Frame) -> Result<Self, Fault> {
        let serialization = frame.header.serialization;
        if serialization.is_dangerous() {
            return Err(Fault::Dangerous(serialization));
        }
        if serialization.readable() == landfall_codec::dubbo2::Readable::Opaque {
            return Ok(Self {
                request: None,
                method: String::new(),
            });
        }
        let request = Request::read(serialization, frame.body.clone(), Limits::default()).map_err(Fault::Unreadable)?;
        // Who is called must be clear before anything is decided by it.
        request.identity().map_err(Fault::Unreadable)?;
        let calls_back =
            |(key, _): (&str, &Attachment)| key.starts_with("sys_callback_arg-") || key == "dubbo.stub.event";
        if request.attachments.iter().any(calls_back) {
            return Err(Fault::Callback);
        }
        let method = request.invoked().map(|method| method.to_string()).unwrap_or_default();
        Ok(Self {
            request: Some(request),
            method,
        })
    }

    fn identity(&self) -> Option<Identity<'_>> {
        self.request.as_ref()?.identity().ok()
    }

    fn facts(&self) -> Option<Facts<'_>> {
        Some(Facts {
            identity: self.identity()?,
            method: &self.method,
            attachments: &self.request.as_ref()?.attachments,
        })
    }

    fn text(&self, key: &str) -> Option<String> {
        self.request.as_ref()?.attachments.get(key)?.to_text()
    }

    /// What the consumer allows the call: `_TO` is what is left of a chain of calls, `timeout` its own limit.
    fn patience(&self) -> Option<Duration> {
        let millis = |key| self.text(key)?.trim().parse::<u64>().ok().filter(|millis| *millis > 0);
        let millis = millis("_TO").or_else(|| millis("_to")).or_else(|| millis("timeout"));
        millis.map(Duration::from_millis)
    }

    /// The call as balancers see it: attachments are its headers, the service is its path.
    fn call<'a>(&'a self, view: &'a View<'a>, client: &Client) -> Call<'a> {
        Call {
            method: &self.method,
            scheme: Scheme::Http,
            host: "",
            path: self.identity().map_or("", |identity| identity.path),
            query: None,
            headers: view,
            client: client.address,
        }
    }
}

/// Attachments as headers.
struct View<'a>(Option<&'a Attachments>);

impl View<'_> {
    fn value(&self, name: &HeaderName) -> Option<&Attachment> {
        let all = self.0?.iter().rev();
        let mut named = all.filter(|(key, _)| key.eq_ignore_ascii_case(name.as_str()));
        named.next().map(|(_, value)| value)
    }
}

impl HeaderView for View<'_> {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        match self.value(name)? {
            Attachment::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    fn each(&self, name: &HeaderName, visit: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.first(name) {
            visit(value);
        }
    }
}

/// Finds the call's rule and cluster, and tries until there is an answer or no further try.
async fn attempt(
    proxy: &Proxy,
    client: &Client,
    runtime: &Arc<Runtime>,
    read: &Read,
    frame: &Frame,
    account: &mut Account,
) -> Result<Option<Frame>, Fault> {
    let table = runtime.dubbo(client.port.number(), client.local.ip());
    let rule = table.and_then(|table| table.find(read.facts().as_ref()));
    let rule = rule.ok_or(Fault::NoRoute)?;
    account.take(rule);
    let (backend, cluster) = match runtime.backend(&rule.rule, fastrand::u64(..)) {
        Choice::Cluster { backend, cluster } => (backend, cluster),
        Choice::Missing { backend, .. } => {
            account.backend = Some(backend.clone());
            return Err(Fault::NoBackend);
        }
        Choice::None => return Err(Fault::NoBackend),
    };
    account.backend = Some(backend.clone());
    account.cluster = Some(cluster.clone());
    cluster.begin_call(Moment::now());
    let limit = rule.rule.limit(&cluster.policy, read.patience());
    let deadline = limit.map(|limit| Instant::now() + limit);
    let idempotent = read.request.is_some() && rule.is_idempotent(&read.method);
    let view = View(read.request.as_ref().map(|request| &request.attachments));
    let mut tried = Tried::default();
    loop {
        let call = read.call(&view, client);
        let lease = cluster.pick(&call, &tried, Moment::now(), fastrand::u64(..))?;
        let (outcome, sent, repeatable, fault) =
            match one_try(proxy, cluster, lease, rule, frame, deadline, &mut tried, account).await {
                Try::Answered(reply, outcome) => {
                    // A provider whose threads are all busy has refused the call without running it.
                    let refused = status_of(&reply.header) == Status::BUSY;
                    match outcome {
                        Some(outcome) => (outcome, true, idempotent || refused, Ok(Some(reply))),
                        None => return Ok(Some(reply)),
                    }
                }
                Try::HandedOver => return Ok(None),
                Try::Elsewhere => continue,
                Try::TooLarge => return Err(Fault::AnswerTooLarge(proxy.options.payload)),
                Try::Failed(failure, sent) => (
                    TryOutcome::Failed(failure),
                    sent,
                    idempotent,
                    Err(Fault::Failed(failure)),
                ),
            };
        let is_over = |wait: Duration| deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
        if is_over(Duration::ZERO) {
            return fault;
        }
        let again = cluster.retry_if(
            account.tries,
            repeatable,
            outcome,
            sent,
            Moment::now(),
            fastrand::u64(..),
        );
        match again {
            Some(wait) if !is_over(wait) => sleep(wait).await,
            _ => return fault,
        }
    }
}

/// How one try ended.
enum Try {
    /// With a reply; with how it may be tried again, if its status is no result.
    Answered(Frame, Option<TryOutcome>),
    /// One way: nobody waits for more.
    HandedOver,
    /// The endpoint takes no new calls, and another may.
    Elsewhere,
    /// With a reply that is too large.
    TooLarge,
    /// Without a reply; whether the endpoint may have the call.
    Failed(Failure, bool),
}

#[expect(
    clippy::too_many_arguments,
    reason = "what a try needs, once; a type for it would say no more"
)]
async fn one_try(
    proxy: &Proxy,
    cluster: &Arc<ClusterRuntime>,
    mut lease: Lease,
    rule: &DubboRule,
    frame: &Frame,
    deadline: Option<Instant>,
    tried: &mut Tried,
    account: &mut Account,
) -> Try {
    let policy = &cluster.policy;
    let address = lease.endpoint().address;
    let known = tried.contains(&lease);
    tried.add(&lease);
    account.endpoint = Some(address);
    let now = Instant::now();
    let count = policy.limits.dubbo_connections.unwrap_or(1) as usize;
    let left = deadline.map_or(policy.connect_timeout, |deadline| {
        policy.connect_timeout.min(deadline.saturating_duration_since(now))
    });
    let connected = timeout_at(now + left, proxy.pool.link(address, count, policy.connect_timeout)).await;
    let link = match connected {
        Ok(Ok((link, reused))) => {
            lease.connected(reused);
            link
        }
        Ok(Err(_)) | Err(_) => {
            account.tries += 1;
            lease.failed(Failure::Connect, Moment::now());
            return Try::Failed(Failure::Connect, false);
        }
    };
    if link.is_read_only() && !known && cluster.members().len() > 1 {
        // Not its fault, and no try of the call. If nobody else can take it, it will be chosen again.
        lease.unjudged();
        return Try::Elsewhere;
    }
    account.tries += 1;
    let due = match (rule.rule.try_timeout(policy), deadline) {
        (Some(limit), Some(deadline)) => Some(deadline.min(now + limit)),
        (Some(limit), None) => Some(now + limit),
        (None, deadline) => deadline,
    };
    let copy = frame.clone();
    if !frame.header.wants_answer() {
        return match link.tell(copy) {
            Ok(()) => {
                lease.unjudged();
                Try::HandedOver
            }
            Err(_) => {
                lease.failed(Failure::Reset, Moment::now());
                Try::Failed(Failure::Reset, false)
            }
        };
    }
    let answer = match link.call(copy) {
        Ok(waiting) => match due {
            Some(due) => timeout_at(due, waiting.answer()).await,
            None => Ok(waiting.answer().await),
        },
        Err(broken) => Ok(Err(broken)),
    };
    match answer {
        Ok(Ok(reply)) => {
            let class = class(status_of(&reply.header));
            account.upstream = Some(lease.answered(class, Moment::now()));
            Try::Answered(reply, (class != 200).then_some(TryOutcome::Status(class)))
        }
        Ok(Err(Broken::TooLarge)) => {
            account.upstream = Some(lease.answered(200, Moment::now()));
            Try::TooLarge
        }
        Ok(Err(broken)) => {
            lease.failed(Failure::Reset, Moment::now());
            Try::Failed(Failure::Reset, broken == Broken::Sent)
        }
        Err(_) => {
            lease.failed(Failure::Timeout, Moment::now());
            Try::Failed(Failure::Timeout, true)
        }
    }
}

/// The figures of a call, taken however it ends.
struct Account {
    runtime: Arc<Runtime>,
    started: Moment,
    rule: Option<Arc<DubboRule>>,
    backend: Option<Arc<BackendSlot>>,
    cluster: Option<Arc<ClusterRuntime>>,
    endpoint: Option<SocketAddr>,
    tries: u32,
    upstream: Option<Duration>,
    /// `None` until the caller was answered.
    status: Option<Status>,
    /// What the status is counted as, if that is not for the status to say.
    class: Option<u16>,
    received: usize,
    sent: usize,
    took: Option<Duration>,
}

impl Account {
    fn open(runtime: &Arc<Runtime>, received: usize) -> Self {
        Self {
            runtime: runtime.clone(),
            started: Moment::now(),
            rule: None,
            backend: None,
            cluster: None,
            endpoint: None,
            tries: 0,
            upstream: None,
            status: None,
            class: None,
            received,
            sent: 0,
            took: None,
        }
    }

    fn take(&mut self, rule: &Arc<DubboRule>) {
        rule.rule.metrics.started();
        self.rule = Some(rule.clone());
    }

    fn close(&mut self) {
        if self.took.is_some() {
            return;
        }
        let took = Moment::now().since(self.started);
        self.took = Some(took);
        let unrouted = &self.runtime.metrics().unrouted;
        let metrics = self.rule.as_ref().map_or(unrouted, |rule| &rule.rule.metrics);
        if self.rule.is_none() {
            unrouted.started();
        }
        let counted = self.class.or_else(|| self.status.map(class)).unwrap_or_default();
        metrics.finished(counted, took, self.received as u64, self.sent as u64);
        if let Some(backend) = &self.backend {
            backend.metrics.finished(counted);
        }
    }

    fn record<'a>(&'a self, client: &Client, read: Option<&'a Read>, error: Option<&'a str>) -> Record<'a> {
        let took = self.took.unwrap_or_default();
        let identity = read.and_then(Read::identity);
        let attachment = |key| {
            let request = read?.request.as_ref()?;
            request.attachments.text(key).map(str::as_bytes)
        };
        Record {
            time: SystemTime::now() - took,
            client: client.address,
            method: read.map_or("", |read| &read.method),
            scheme: "dubbo",
            host: b"",
            path: identity.map_or(b"", |identity| identity.path.as_bytes()),
            query: None,
            protocol: "Dubbo2",
            status: self.status.map_or(0, |status| u16::from(status.0)),
            received: self.received as u64,
            sent: self.sent as u64,
            took,
            upstream_took: self.upstream,
            route: self.rule.as_ref().map(|rule| (&*rule.rule.route, rule.rule.index)),
            cluster: self.cluster.as_ref().map(|cluster| &cluster.id),
            endpoint: self.endpoint,
            tries: self.tries,
            error,
            request_id: None,
            trace: attachment("traceparent"),
            user_agent: None,
        }
    }
}

impl Drop for Account {
    /// A call whose connection is cut gets no other notice of its end.
    fn drop(&mut self) {
        self.close();
    }
}
