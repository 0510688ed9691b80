//! A worker: one thread, one single-threaded runtime, its own listening sockets, its own pools of connections.
//!
//! Nothing a request needs is shared between workers but the runtime state it reads, so they do not wait for each
//! other. The kernel spreads connections over the workers' sockets (SO_REUSEPORT). A minimal pingora proxy
//! needed about 15 % more processor time per request on a work-stealing runtime.

use std::{io, net::TcpListener, sync::Arc, thread::JoinHandle};

use tokio::sync::mpsc;

use super::{
    accept::{self, Server},
    ports::Listening,
};

enum Order {
    Listen(TcpListener, Listening),
    Cut,
}

/// A thread that serves connections until it is dropped.
pub(crate) struct Worker {
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread. `server` is called on it, in its runtime.
    pub(crate) fn start(index: usize, server: impl FnOnce() -> Server + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("landfall-{index}"))
            .spawn(move || {
                runtime.block_on(async move {
                    let server = Arc::new(server());
                    while let Some(order) = inbox.recv().await {
                        let (socket, listening) = match order {
                            Order::Listen(socket, listening) => (socket, listening),
                            Order::Cut => {
                                server.cut();
                                continue;
                            }
                        };
                        match tokio::net::TcpListener::from_std(socket) {
                            Ok(socket) => {
                                tokio::spawn(accept::accept(socket, listening, server.clone()));
                            }
                            Err(error) => {
                                let port = listening.port().number();
                                tracing::error!(port, "cannot watch a listening socket: {error}")
                            }
                        }
                    }
                });
                // Dropping the runtime here ends every connection of this worker.
            })?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Has the worker accept connections from `socket`.
    pub(crate) fn listen(&self, socket: TcpListener, listening: Listening) {
        self.order(Order::Listen(socket, listening));
    }

    /// Has the worker end every connection.
    pub(crate) fn cut(&self) {
        self.order(Order::Cut);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Only a worker that is gone does not take it, and then the process is ending.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
