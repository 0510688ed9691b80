//! From a port to a request: sockets that come and go, sniffing, TLS, strict reading.
//!
//! ```text
//!  Snapshot.listeners ─▶ ports (one per address and port) ─▶ one SO_REUSEPORT socket per worker
//!                                                              │ accept
//!                 TLS handshake ◀─ first byte 0x16 ────────────┤
//!                 HTTP/2 ◀──────── "PRI * HTTP/2.0" or ALPN ───┤
//!                 HTTP/1 ◀──────── anything else ──────────────┘
//!                    └─▶ wire: one checked request at a time ─▶ http (pingora)
//! ```
//!
//! Everything a listener says about hosts and certificates is looked up per connection, so a change of those
//! never touches a socket. Read [`ports`], then [`accept`], then [`wire`].

pub(crate) mod accept;
pub(crate) mod connection;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod inherited;
pub(crate) mod ports;
pub(crate) mod refusal;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod wire;
pub(crate) mod worker;
