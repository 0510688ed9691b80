//! The socket under a client's stream, plain or behind TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

/// How long a client that is told an end gets to read it, from when it last sent something.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// … and in all: what it sends is thrown away, and must not keep a socket for ever.
pub(super) const LINGER_AT_MOST: Duration = Duration::from_secs(10);

/// A plain or TLS connection.
pub(crate) enum Transport {
    /// Plain text.
    Plain(TcpStream),
    /// Behind a handshake; boxed, for it is ten times the size of the other.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, data),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, data),
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, data),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, data),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Sends the last words, half-closes, and reads on for a moment: closing at once while the client still sends
/// would reset the connection, and the client would never see the answer.
pub(crate) async fn end_with<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, words: &[u8]) -> io::Result<()> {
    let say = async {
        stream.write_all(words).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(LINGER, say).await {
        Ok(said) => said?,
        Err(_) => return Ok(()),
    }
    discard(stream).await;
    Ok(())
}

/// Reads and throws away until the client ends, is silent for [`LINGER`], or has sent for [`LINGER_AT_MOST`].
async fn discard<S: AsyncRead + Unpin>(stream: &mut S) {
    let until = Instant::now() + LINGER_AT_MOST;
    // On the heap, for it would else be part of every connection's task.
    let mut discarded = vec![0; 16384];
    loop {
        let patience = until.min(Instant::now() + LINGER);
        match tokio::time::timeout_at(patience, stream.read(&mut discarded)).await {
            Ok(Ok(1..)) if Instant::now() < until => {}
            _ => return,
        }
    }
}
