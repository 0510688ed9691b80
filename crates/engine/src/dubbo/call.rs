//! A call from its frame to its answer.
//!
//! ```text
//!  read as far as the rules need ─▶ rule ─▶ faults, mirrors ─▶ backend ─▶ cluster ─┬─▶ endpoint ─▶ link ─▶ reply ─▶ its own id ─▶ outbox
//!        │ unreadable, no rule                                  │      └ failed: another try, if that is allowed
//!        └───────────────▶ fault ─▶ reply ◀─────────────────────┘
//! ```
//!
//! Its time is what the consumer allows it, else the policy's. Next on the path: [`tries`](super::tries).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_codec::{
    Text,
    dubbo2::{Attachment, Frame, Header, Request, Status},
    hessian2::Limits,
};
use tokio::time::{Instant, sleep_until};

use super::{
    Proxy,
    exported::Called,
    fault::{Fault, class},
    mapped::Mapped,
    mirror,
    session::Client,
    tries::{Tally, Trial, status_of},
    view::View,
};
use crate::{
    access_log::Record,
    authorize::{Asked, DubboAsked},
    call::{Call, Scheme},
    cluster::{ClusterRuntime, Failure, Tried},
    moment::Moment,
    route::{
        BackendSlot,
        dubbo::{DubboRule, Facts},
    },
    runtime::{Choice, Runtime},
};

/// Carries one call to its end; whoever waits for it is answered.
pub(super) async fn carry(proxy: &Arc<Proxy>, client: &Client, frame: Frame) {
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

/// What can be told of a call.
struct Read {
    /// `None` for a serialization that we do not open.
    request: Option<Request>,
    method: Text,
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
                method: Text::default(),
            });
        }
        let request = Request::read(serialization, frame.body.clone(), Limits::default()).map_err(Fault::Unreadable)?;
        let calls_back =
            |(key, _): (&str, &Attachment)| key.starts_with("sys_callback_arg-") || key == "dubbo.stub.event";
        if request.attachments.iter().any(calls_back) {
            return Err(Fault::Callback);
        }
        let method = request.invoked().unwrap_or_default();
        Ok(Self {
            request: Some(request),
            method,
        })
    }

    /// What rules look at; `None` if the body is not opened. Who is called must be clear before anything is decided by it.
    fn facts(&self) -> Result<Option<Facts<'_>>, Fault> {
        let Some(request) = &self.request else {
            return Ok(None);
        };
        Ok(Some(Facts {
            identity: request.identity().map_err(Fault::Unreadable)?,
            method: &self.method,
            request,
        }))
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
    fn call<'a>(&'a self, path: &'a str, view: &'a View<'a>, client: &Client) -> Call<'a> {
        Call {
            method: &self.method,
            scheme: Scheme::Http,
            host: "",
            path,
            query: None,
            headers: view,
            client: client.address,
            peer: None,
        }
    }
}

/// Finds the call's rule and cluster, and tries until there is an answer or no further try.
async fn attempt(
    proxy: &Arc<Proxy>,
    client: &Client,
    runtime: &Arc<Runtime>,
    read: &Read,
    frame: &Frame,
    account: &mut Account,
) -> Result<Option<Frame>, Fault> {
    let table = runtime.dubbo(client.port.number(), client.local.ip());
    let facts = read.facts()?;
    let rule = table.and_then(|table| table.find(facts.as_ref()));
    let rule = rule.ok_or(Fault::NoRoute)?;
    account.take(rule);
    if let Some(refused) = rule.refuses(facts.as_ref()) {
        return Err(Fault::Refused(refused));
    }
    let (began, choice) = (Instant::now(), runtime.backend(&rule.rule, fastrand::u64(..)));
    let limit = match &choice {
        Choice::Cluster { cluster, .. } => rule.rule.limit(&cluster.policy, read.patience()),
        Choice::Missing { .. } | Choice::None => read.patience(),
    };
    let deadline = limit.map(|limit| began + limit);
    suffer(rule, deadline).await?;
    let (backend, cluster) = match choice {
        Choice::Cluster { backend, cluster } => (backend, cluster),
        Choice::Missing { backend, .. } => {
            account.backend = Some(backend.clone());
            return Err(Fault::NoBackend);
        }
        Choice::None => return Err(Fault::NoBackend),
    };
    account.backend = Some(backend.clone());
    account.cluster = Some(cluster.clone());
    let dubbo = facts.as_ref().map_or(DubboAsked::Opaque, |facts| DubboAsked::Method {
        interface: facts.identity.interface,
        method: facts.method,
    });
    if let Some(mapping) = &rule.mapping {
        let request = read.request.as_ref().zip(facts.as_ref().map(|facts| facts.identity));
        let (request, identity) = request.ok_or(Fault::Foreign(frame.header.serialization))?;
        let mapped = Mapped::of(proxy, mapping, frame, request)?;
        let view = View(Some(&request.attachments));
        let call = read.call(identity.path, &view, client);
        if !runtime.admits(&cluster.id, &mapped.asked(client.address, dubbo).of()) {
            return Err(Fault::Denied);
        }
        cluster.begin_call(Moment::now());
        let trial = Trial {
            proxy,
            cluster,
            rule: &rule.rule,
            deadline,
            repeatable: rule.is_idempotent(&read.method) || cluster.repeats(mapped.verb()),
        };
        let pick = |tried: &Tried| cluster.pick(&call, tried, Moment::now(), fastrand::u64(..));
        let reply = trial.run_by(pick, &mapped, &mut account.tally).await?;
        return Ok(reply.filter(|_| frame.header.wants_answer()));
    }
    let asked = Asked::dubbo(client.address.ip(), dubbo);
    if !runtime.admits(&cluster.id, &asked) {
        return Err(Fault::Denied);
    }
    cluster.begin_call(Moment::now());
    let trial = Trial {
        proxy,
        cluster,
        rule: &rule.rule,
        deadline,
        repeatable: read.request.is_some() && rule.is_idempotent(&read.method),
    };
    let view = View(read.request.as_ref().map(|request| &request.attachments));
    let called = Called {
        frame,
        request: read.request.as_ref().zip(facts.map(|facts| facts.identity)),
    };
    let path = facts.map_or("", |facts| facts.identity.path);
    let call = read.call(path, &view, client);
    mirror::start((proxy, runtime), rule, &asked, &call, called);
    let pick = |tried: &Tried| cluster.pick(&call, tried, Moment::now(), fastrand::u64(..));
    trial
        .run(pick, |endpoint| called.at(endpoint), &mut account.tally)
        .await
}

/// Lets the call meet the rule's faults.
async fn suffer(rule: &DubboRule, deadline: Option<Instant>) -> Result<(), Fault> {
    if let Some(delay) = rule.faults.delay(fastrand::u64(..)) {
        let until = Instant::now() + delay;
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= until) {
            sleep_until(deadline).await;
            return Err(Fault::Failed(Failure::Timeout));
        }
        sleep_until(until).await;
    }
    match rule.faults.abort(fastrand::u64(..)) {
        Some(status) => Err(Fault::OnPurpose(status)),
        None => Ok(()),
    }
}

/// The figures of a call, taken however it ends.
struct Account {
    runtime: Arc<Runtime>,
    started: Moment,
    rule: Option<Arc<DubboRule>>,
    backend: Option<Arc<BackendSlot>>,
    cluster: Option<Arc<ClusterRuntime>>,
    tally: Tally,
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
            tally: Tally::default(),
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
        let identity = read.and_then(|read| read.facts().ok()?).map(|facts| facts.identity);
        let attachment = |key| {
            let request = read?.request.as_ref()?;
            request.attachments.text(key).map(str::as_bytes)
        };
        Record {
            time: SystemTime::now() - took,
            client: client.address,
            peer: None,
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
            upstream_took: self.tally.upstream,
            route: self.rule.as_ref().map(|rule| (&*rule.rule.route, rule.rule.index)),
            cluster: self.cluster.as_ref().map(|cluster| &cluster.id),
            endpoint: self.tally.endpoint,
            tries: self.tally.tries,
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
