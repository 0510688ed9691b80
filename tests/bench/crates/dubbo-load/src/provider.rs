//! The provider: answers each call with its argument, on one thread.
//!
//! Calls that arrive together are answered in one write.

use std::net::SocketAddr;

use bytes::BytesMut;
use landfall_codec::{
    dubbo2::{Decoded, Decoder, Event, Frame, Request, Status, reply},
    hessian2::Limits,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
};

use crate::{Outcome, call};

/// What is read at once, at least.
const READ: usize = 64 * 1024;

/// Serves until the process is ended.
pub fn serve(listen: SocketAddr) -> Outcome<()> {
    runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(listen).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    if let Err(error) = converse(stream).await {
                        eprintln!("a connection ended: {error}");
                    }
                });
            }
        })
}

async fn converse(mut stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut decoder = Decoder::default();
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    loop {
        let wanted = loop {
            match decoder.decode(&mut input)? {
                Decoded::Frame(frame) => {
                    if let Some(reply) = attend(frame) {
                        reply.encode(&mut output);
                    }
                }
                Decoded::Oversized(header) => {
                    if let Some(reply) = reply::error(&header, Status::BAD_REQUEST, "too large") {
                        reply.encode(&mut output);
                    }
                }
                Decoded::NeedMore(wanted) => break wanted,
            }
        };
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        input.reserve(wanted.max(READ));
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

fn attend(frame: Frame) -> Option<Frame> {
    let header = frame.header;
    match Event::of(&frame) {
        Some(_) => return header.wants_answer().then(|| reply::heartbeat_answer(&header)),
        None if !header.wants_answer() => return None,
        None => {}
    }
    match Request::read(header.serialization, frame.body, Limits::default()) {
        Ok(request) => Some(call::answer(&header, &request.arguments())),
        Err(error) => reply::error(&header, Status::BAD_REQUEST, &error.to_string()),
    }
}
