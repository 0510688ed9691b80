//! The session that stands before a client's while its answer is held.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use pingora_core::protocols::{
    Digest,
    http::{
        HttpTask, ServerSession,
        custom::{CustomMessageWrite, server::Session as CustomSession},
    },
    l4::socket::SocketAddr,
};
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{super::verdict::HELD_TOO_LONG, HOLD, Whole, lock};

/// A hold without a call.
pub(super) struct Spare {
    pub(super) session: Box<ServerSession>,
    pub(super) seat: Arc<Mutex<Seat>>,
}

/// Where a hold and a client's session change places: pingora owns the hold as a trait object, out of which nothing
/// else can be had.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) client: Option<Box<ServerSession>>,
    pub(super) whole: Whole,
    pub(super) due: Option<Instant>,
    /// Whether the client may have seen something of the answer.
    pub(super) passed_on: bool,
}

impl Spare {
    pub(super) fn new() -> Self {
        let seat = Arc::default();
        let hold = Hold {
            // pingora's session that is none; nothing is asked of it before a client's takes its place.
            client: Box::new(ServerSession::new_custom(Box::new(()))),
            seat: Arc::clone(&seat),
            holding: false,
            head: None,
            body: BytesMut::new(),
            whole: Whole::default(),
            due: None,
        };
        Self {
            session: Box::new(ServerSession::new_custom(Box::new(hold))),
            seat,
        }
    }
}

/// A client's session whose answer waits until it is whole.
struct Hold {
    client: Box<ServerSession>,
    seat: Arc<Mutex<Seat>>,
    /// Until the answer is passed on.
    holding: bool,
    head: Option<Box<ResponseHeader>>,
    body: BytesMut,
    whole: Whole,
    due: Option<Instant>,
}

impl Hold {
    /// Changes places with the client's session, in or out.
    fn change(&mut self, enter: bool) {
        let mut seat = lock(&self.seat);
        if let Some(other) = &mut seat.client {
            std::mem::swap(&mut self.client, other);
        }
        seat.passed_on = !enter && !self.holding;
        self.holding = enter;
        self.head = None;
        self.body = BytesMut::new();
        self.whole = seat.whole;
        self.due = seat.due;
    }

    /// Keeps what comes; what it is not to keep goes on at once.
    async fn keep(&mut self, tasks: Vec<HttpTask>) -> Result<()> {
        for task in tasks {
            match task {
                HttpTask::Header(head, _) if head.status.is_informational() => {
                    let task = HttpTask::Header(head, false);
                    self.client.response_duplex_vec(vec![task]).await?;
                }
                HttpTask::Header(head, _) => self.head = Some(head),
                HttpTask::Body(Some(data), _) => {
                    // Copied: many small pieces must not cost more than the bytes in them.
                    if let Whole::Length(length) = self.whole {
                        self.body.reserve(length - self.body.len());
                    }
                    self.body.extend_from_slice(&data);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes what [`read_body_or_idle`](CustomSession::read_body_or_idle) has begun to pass on. It may have been left in
    /// the middle, because the endpoint sent more, and is taken up again.
    async fn complete(&mut self) -> Result<()> {
        if self.client.has_pending_downstream_proxy_tasks() {
            self.client.write_downstream_proxy_tasks().await?;
        }
        Ok(())
    }

    /// Ends the holding; what was held goes before `tasks`.
    fn release(&mut self, tasks: Vec<HttpTask>) -> Vec<HttpTask> {
        self.holding = false;
        self.due = None;
        let Some(head) = self.head.take() else {
            return tasks;
        };
        let mut all = Vec::with_capacity(tasks.len() + 2);
        all.push(HttpTask::Header(head, false));
        if !self.body.is_empty() {
            all.push(HttpTask::Body(Some(self.body.split().freeze()), false));
        }
        all.extend(tasks);
        all
    }
}

#[async_trait]
impl CustomSession for Hold {
    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        if self.holding {
            if let Some(failed) = tasks.iter().position(|task| matches!(task, HttpTask::Failed(_)))
                && let HttpTask::Failed(error) = tasks.swap_remove(failed)
            {
                return Err(error);
            }
            let coming = tasks.iter().map(|task| match task {
                HttpTask::Body(Some(data), _) => data.len(),
                _ => 0,
            });
            let length = self.body.len() + coming.sum::<usize>();
            let enough = match self.whole {
                // HTTP/2 may say later that it was the end.
                Whole::Length(whole) => length >= whole,
                Whole::End(until) => length > HOLD || until <= Instant::now(),
            };
            if !enough && !tasks.iter().any(HttpTask::is_end) {
                self.keep(tasks).await?;
                return Ok(false);
            }
            tasks = self.release(tasks);
        }
        self.complete().await?;
        self.client.response_duplex_vec(tasks).await
    }

    /// Changes places at the [`Seat`]. pingora calls this for nobody by itself.
    fn set_proxy_tasks_enabled(&mut self, enter: bool) {
        self.change(enter);
    }

    /// Whether anything is held.
    fn has_pending_proxy_tasks(&self) -> bool {
        self.head.is_some()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if let Whole::End(until) = self.whole
            && self.holding
        {
            let read = self.client.read_body_or_idle(no_body_expected);
            if let Ok(read) = timeout_at(until, read).await {
                return read;
            }
            // Where this thread is late, what the endpoint has sent meanwhile comes first.
            for _ in 0..2 {
                yield_now().await;
            }
            for task in self.release(Vec::new()) {
                self.client.send_downstream_proxy_task(task);
            }
        }
        self.complete().await?;
        let read = self.client.read_body_or_idle(no_body_expected);
        match self.due {
            None => read.await,
            Some(due) => timeout_at(due, read)
                .await
                .unwrap_or_else(|_| Err(Error::new(HELD_TOO_LONG))),
        }
    }

    /// Of the answer. An answer that ended without an end is passed on as it came.
    async fn finish(&mut self) -> Result<()> {
        let left = self.release(Vec::new());
        self.complete().await?;
        if !left.is_empty() {
            self.client.response_duplex_vec(left).await?;
        }
        self.client.finish_body().await
    }

    // From here on everything is passed on.

    fn req_header(&self) -> &RequestHeader {
        self.client.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.client.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.client.read_request_body().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.client.drain_request_body().await
    }

    async fn write_response_header(&mut self, answer: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.client.write_response_header(answer).await
    }

    async fn write_response_header_ref(&mut self, answer: &ResponseHeader, _end: bool) -> Result<()> {
        self.client.write_response_header_ref(answer).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.client.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.client.write_response_trailers(trailers).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.client.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.client.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.client.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.client.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.client.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.client.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.client.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.client.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.client.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.client.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.client.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.client.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.client.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.client.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.client.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {
        self.client.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.client.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.client.get_retry_buffer()
    }

    fn is_upgrade_req(&self) -> bool {
        self.client.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.client.was_upgraded()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
