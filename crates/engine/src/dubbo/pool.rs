//! The connections of a worker to its endpoints: made when first needed, shared, replaced when they die.
//!
//! Calls that need a connection while it is being made wait for the same one. One that could not be made is made again
//! for the next call; how often an endpoint is asked then is the outlier ejection's business.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{DubboOptions, link::Link};

/// The connections of a worker.
pub(super) struct Pool {
    options: DubboOptions,
    /// Locked by this worker alone, and never while it waits.
    places: Mutex<HashMap<SocketAddr, Places>>,
}

/// The connections to one endpoint, used in turn.
#[derive(Default)]
struct Places {
    links: Vec<Option<Made>>,
    turn: usize,
}

/// `None` while the connection is being made; then it, or why there is none.
type Made = watch::Receiver<Option<Result<Arc<Link>, Arc<io::Error>>>>;

impl Pool {
    pub(super) fn new(options: DubboOptions) -> Self {
        Self {
            options,
            places: Mutex::default(),
        }
    }

    /// A connection to that address, one of `count`; `true` if it was there before.
    ///
    /// # Errors
    /// It cannot be made within `limit`, or is not there by `until`.
    pub(super) async fn link(
        &self,
        address: SocketAddr,
        count: usize,
        limit: Duration,
        until: Instant,
    ) -> Result<(Arc<Link>, bool), Arc<io::Error>> {
        let mut made = match self.place(address, count.max(1), limit) {
            Ok(link) => return Ok((link, true)),
            Err(made) => made,
        };
        let gone = || Arc::new(io::Error::from(io::ErrorKind::ConnectionAborted));
        // Only who has to wait needs a timer.
        let result = timeout_at(until, made.wait_for(Option::is_some)).await;
        let result = result.map_err(|_| Arc::new(io::ErrorKind::TimedOut.into()))?;
        let result = result.map_err(|_| gone())?;
        match &*result {
            Some(Ok(link)) => Ok((link.clone(), false)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(gone()),
        }
    }

    /// The connection whose turn it is, or where it will be told of.
    fn place(&self, address: SocketAddr, count: usize, limit: Duration) -> Result<Arc<Link>, Made> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let places = all.entry(address).or_default();
        places.links.resize(count, None);
        places.turn = (places.turn + 1) % count;
        let turn = places.turn;
        if let Some(Some(made)) = places.links.get(turn) {
            match &*made.borrow() {
                None => return Err(made.clone()),
                Some(Ok(link)) if link.is_alive() => return Ok(link.clone()),
                Some(_) => {}
            }
        }
        let (told, made) = watch::channel(None);
        if let Some(place) = places.links.get_mut(turn) {
            *place = Some(made.clone());
        }
        // Endpoints come and go; those that are gone leave dead connections behind.
        all.retain(|_, places| places.links.iter().flatten().any(is_of_use));
        let options = self.options;
        tokio::spawn(async move {
            let result = match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    crate::listen::accept::tune(&stream);
                    Ok(Arc::new(Link::start(stream, &options)))
                }
                Ok(Err(error)) => Err(Arc::new(error)),
                Err(_) => Err(Arc::new(io::Error::from(io::ErrorKind::TimedOut))),
            };
            told.send_replace(Some(result));
        });
        Err(made)
    }
}

fn is_of_use(made: &Made) -> bool {
    match &*made.borrow() {
        None => true,
        Some(Ok(link)) => link.is_alive(),
        Some(Err(_)) => false,
    }
}
