//! One connection of the load: calls that are due go out together, answers come in any order.
//!
//! An id is the connection, the number of the call and the place that it takes: no two calls of a run have the same, and an
//! answer finds its call without a search.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use bytes::BytesMut;
use landfall_codec::dubbo2::{Decoded, Decoder, Event, Frame, reply};

use crate::{
    Outcome,
    call::Template,
    figures::{Figures, LATE},
};

/// What is read at once.
const READ: usize = 256 * 1024;
/// Places of one connection, and connections.
pub const MOST: usize = 1 << 16;

/// A call in flight.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    due: Instant,
}

/// A connection and its calls in flight.
pub struct Connection {
    pub stream: TcpStream,
    number: u64,
    begun: u64,
    places: Vec<Option<Sent>>,
    free: Vec<usize>,
    decoder: Decoder,
    input: BytesMut,
    output: Vec<u8>,
    written: usize,
}

impl Connection {
    pub fn open(to: SocketAddr, number: usize, outstanding: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            number: number as u64,
            begun: 0,
            places: vec![None; outstanding],
            free: (0..outstanding).collect(),
            decoder: Decoder::default(),
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
        })
    }

    /// Whether another call may be begun.
    pub fn has_place(&self) -> bool {
        !self.free.is_empty()
    }

    /// How many calls are in flight.
    pub fn in_flight(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is something left to write.
    pub fn is_behind(&self) -> bool {
        self.written < self.output.len()
    }

    /// Begins a call that was due at that moment; [`flush`](Self::flush) sends it. Nothing is done without a place.
    pub fn begin(&mut self, template: &Template, due: Instant, now: Instant, figures: &mut Figures) {
        let Some(place) = self.free.pop() else { return };
        let id = self.number << 48 | (self.begun & 0xffff_ffff) << 16 | place as u64;
        self.begun += 1;
        if now.saturating_duration_since(due) > LATE {
            figures.late += 1;
        }
        self.places[place] = Some(Sent { id, due });
        template.write(id, &mut self.output);
    }

    /// Writes as much as the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.output.get(self.written..) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what has come, and checks and counts the answers in it.
    pub fn receive(&mut self, scratch: &mut Scratch, template: &Template, figures: &mut Figures) -> Outcome<()> {
        let read = match self.stream.read(&mut scratch.0) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        self.input.extend_from_slice(&scratch.0[..read]);
        loop {
            match self.decoder.decode(&mut self.input)? {
                Decoded::NeedMore(_) => return Ok(()),
                Decoded::Oversized(header) => return Err(format!("an answer of {} bytes", header.length).into()),
                Decoded::Frame(frame) => self.take(&frame, template, now, figures)?,
            }
        }
    }

    fn take(&mut self, frame: &Frame, template: &Template, now: Instant, figures: &mut Figures) -> Outcome<()> {
        match Event::of(frame) {
            Some(Event::Heartbeat) if frame.header.wants_answer() => {
                let mut answer = BytesMut::new();
                reply::heartbeat_answer(&frame.header).encode(&mut answer);
                self.output.extend_from_slice(&answer);
                return Ok(());
            }
            Some(Event::ReadOnly) => return Err("the other side is about to leave".into()),
            Some(_) => return Ok(()),
            None => {}
        }
        let id = frame.header.id;
        let place = (id % MOST as u64) as usize;
        let sent = self
            .places
            .get_mut(place)
            .and_then(|sent| sent.take_if(|sent| sent.id == id));
        let sent = sent.ok_or("an answer that nobody waits for")?;
        template.check(frame)?;
        self.free.push(place);
        figures.answered(now.saturating_duration_since(sent.due));
        Ok(())
    }
}

/// Where bytes are read to, for all connections.
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; READ].into())
    }
}
