//! Listening sockets that somebody else has opened and keeps open, such as a socket unit of systemd.
//!
//! ```text
//!  systemd: socket [::]:443 ──▶ this process: each worker accepts from the same one
//!                     └───────▶ the next process, with whoever has come meanwhile
//! ```
//!
//! Connections wait in the socket while nobody accepts, so a restart loses none. Therefore such a socket is never
//! closed the way [`accept`](super::accept) closes our own: what waits there is the next process's.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use super::ports::PortKey;

/// The sockets that were given to this process.
#[derive(Default)]
pub(crate) struct Inherited(Vec<(SocketAddr, Arc<TcpListener>)>);

impl Inherited {
    /// Takes sockets over.
    ///
    /// # Errors
    /// The system does not tell the address of one, or does not let it be used without blocking.
    pub(crate) fn new(sockets: &[Arc<TcpListener>]) -> io::Result<Self> {
        let sockets = sockets.iter().map(|socket| {
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket.clone()))
        });
        sockets.collect::<io::Result<_>>().map(Self)
    }

    /// The same socket once for each of `workers`, if one was given for this address.
    pub(crate) fn sockets(
        &self,
        (address, port): PortKey,
        workers: usize,
    ) -> Option<io::Result<(Vec<TcpListener>, SocketAddr)>> {
        let wanted = match address {
            Some(address) => vec![address],
            None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
        };
        let (bound, socket) = self
            .0
            .iter()
            .find(|(bound, _)| bound.port() == port && wanted.contains(&bound.ip()))?;
        let each = (0..workers).map(|_| socket.try_clone()).collect::<io::Result<_>>();
        Some(each.map(|sockets| (sockets, *bound)))
    }

    /// The addresses that none of these ports asks for.
    pub(crate) fn unasked<'a>(&'a self, bound: &'a [SocketAddr]) -> impl Iterator<Item = SocketAddr> + 'a {
        let addresses = self.0.iter().map(|(address, _)| *address);
        addresses.filter(|address| !bound.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_the_listener_of_its_address_and_port_and_no_other() {
        let every = Arc::new(TcpListener::bind("0.0.0.0:0").unwrap());
        let one = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let (every_at, one_at) = (every.local_addr().unwrap(), one.local_addr().unwrap());
        let inherited = Inherited::new(&[every, one]).unwrap();
        let given = |address: Option<&str>, port| {
            let key = (address.map(|address| address.parse().unwrap()), port);
            let sockets = inherited.sockets(key, 3)?;
            let (sockets, bound) = sockets.unwrap();
            Some((sockets.len(), bound))
        };
        assert_eq!(given(None, every_at.port()), Some((3, every_at)));
        assert_eq!(given(Some("127.0.0.1"), one_at.port()), Some((3, one_at)));
        // Less than was asked for, or more, or something else.
        assert_eq!(given(None, one_at.port()), None);
        assert_eq!(given(Some("127.0.0.1"), every_at.port()), None);
        assert_eq!(given(Some("127.0.0.2"), one_at.port()), None);
        assert_eq!(inherited.unasked(&[every_at]).collect::<Vec<_>>(), [one_at]);
    }
}
