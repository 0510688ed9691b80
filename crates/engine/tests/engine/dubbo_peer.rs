//! A Dubbo provider and a Dubbo consumer for the tests, written from the codec.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use landfall_codec::{
    dubbo2::{
        Decoded, Decoder, Event, Frame, Header, Kind, NewRequest, Outcome, Request, Response, Serialization, Status,
        encode_response, reply,
    },
    hessian2::{Heap, Limits, Value},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};

pub const GREETER: &str = "org.example.Greeter";
/// Larger than any body of the tests.
pub const PAYLOAD: u32 = 64 << 20;

/// Frames of a connection, one after the other; `None` at its end.
pub struct Frames {
    socket: OwnedReadHalf,
    decoder: Decoder,
    input: BytesMut,
}

impl Frames {
    pub fn new(socket: OwnedReadHalf) -> Self {
        Self {
            socket,
            decoder: Decoder::new(PAYLOAD),
            input: BytesMut::new(),
        }
    }

    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.decode(&mut self.input).expect("Dubbo frames") {
                Decoded::Frame(frame) => return Some(frame),
                Decoded::Oversized(header) => panic!("too large: {header:?}"),
                Decoded::NeedMore(_) => {}
            }
            if self.socket.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

pub fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.to_vec()
}

/// A provider. Methods with one text: `echo` answers it, `late` answers it after that many milliseconds, `never` does
/// not answer, `die` closes the connection, `busy` and `broken` answer with a status, `name` tells who it is.
#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    name: Arc<str>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    heartbeats: AtomicUsize,
    calls: Mutex<Vec<String>>,
    live: Mutex<HashMap<usize, (mpsc::UnboundedSender<Frame>, AbortHandle)>>,
}

impl Provider {
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            name: name.into(),
            state: Arc::default(),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = serving.state.connections.fetch_add(1, Ordering::SeqCst);
                let (sender, outgoing) = mpsc::unbounded_channel();
                let task = tokio::spawn(serving.clone().connection(stream, sender.clone(), outgoing));
                let mut live = serving.state.live.lock().unwrap();
                live.insert(number, (sender, task.abort_handle()));
            }
        });
        provider
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Heartbeats got so far, asked or answered.
    pub fn heartbeats(&self) -> usize {
        self.state.heartbeats.load(Ordering::SeqCst)
    }

    /// `method argument` of every call so far.
    pub fn calls(&self) -> Vec<String> {
        self.state.calls.lock().unwrap().clone()
    }

    /// Sends a frame on every connection.
    pub fn tell(&self, frame: &Frame) {
        for (sender, _) in self.state.live.lock().unwrap().values() {
            let _ = sender.send(frame.clone());
        }
    }

    /// Closes every connection.
    pub fn cut(&self) {
        for (_, (_, task)) in self.state.live.lock().unwrap().drain() {
            task.abort();
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        sender: mpsc::UnboundedSender<Frame>,
        mut outgoing: mpsc::UnboundedReceiver<Frame>,
    ) {
        let (read, mut write) = stream.into_split();
        let mut frames = Frames::new(read);
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(frame) => {
                        if !self.take(frame, &sender) {
                            return;
                        }
                    }
                    None => return,
                },
                Some(frame) = outgoing.recv() => {
                    if write.write_all(&bytes_of(&frame)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn take(&self, frame: Frame, sender: &mpsc::UnboundedSender<Frame>) -> bool {
        let header = frame.header;
        if header.event {
            self.state.heartbeats.fetch_add(1, Ordering::SeqCst);
            if header.wants_answer() {
                let _ = sender.send(reply::heartbeat_answer(&header));
            }
            return true;
        }
        if header.serialization != Serialization::HESSIAN2 {
            // Bytes back as they came.
            let _ = sender.send(Frame::new(header.answer(Status::OK, 0), frame.body));
            return true;
        }
        let request = Request::read(header.serialization, frame.body, Limits::default()).expect("a call");
        let argument = match &request.decode_arguments().unwrap().0[..] {
            [value] => text_of(value),
            other => panic!("one argument, not {other:?}"),
        };
        let seen: String = argument.chars().take(40).collect();
        self.state
            .calls
            .lock()
            .unwrap()
            .push(format!("{} {seen}", request.method));
        let answer = match request.method.as_str() {
            "never" => None,
            "die" => return false,
            "busy" => reply::error(&header, Status::BUSY, "all threads are busy"),
            "broken" => reply::error(&header, Status::SERVER_ERROR, "out of order"),
            "name" => Some(result(&header, &self.name)),
            "late" => {
                let wait = Duration::from_millis(argument.parse().unwrap());
                let (answer, sender) = (result(&header, &argument), sender.clone());
                tokio::spawn(async move {
                    sleep(wait).await;
                    let _ = sender.send(answer);
                });
                None
            }
            _ => Some(result(&header, &argument)),
        };
        if header.wants_answer()
            && let Some(answer) = answer
        {
            let _ = sender.send(answer);
        }
        true
    }
}

fn result(request: &Header, text: &str) -> Frame {
    let body = encode_response(Outcome::Value, &Value::from(text), &Heap::new(), "2.0.2", &[]).unwrap();
    Frame::new(request.answer(Status::OK, 0), body)
}

/// A call of the [`GREETER`] with one text.
pub fn call(id: u64, method: &str, argument: &str, attachments: &[(&str, &str)]) -> Frame {
    call_of(GREETER, id, method, argument, attachments)
}

pub fn call_of(path: &str, id: u64, method: &str, argument: &str, attachments: &[(&str, &str)]) -> Frame {
    let all: Vec<_> = [("path", path), ("interface", path)]
        .into_iter()
        .chain(attachments.iter().copied())
        .collect();
    let request = NewRequest {
        path,
        version: None,
        method,
        types: "Ljava/lang/String;",
        attachments: &all,
    };
    let body = request.encode(&[Value::from(argument)], &Heap::new()).unwrap();
    Frame::new(header(id, Serialization::HESSIAN2), body)
}

pub fn header(id: u64, serialization: Serialization) -> Header {
    Header {
        kind: Kind::Request { two_way: true },
        event: false,
        serialization,
        id,
        length: 0,
    }
}

/// The same call, of which no answer is wanted.
pub fn one_way(mut frame: Frame) -> Frame {
    frame.header.kind = Kind::Request { two_way: false };
    frame
}

/// A consumer's connection.
pub struct Consumer {
    frames: Frames,
    write: OwnedWriteHalf,
}

impl Consumer {
    pub async fn connect(address: SocketAddr) -> Self {
        let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
        Self {
            frames: Frames::new(read),
            write,
        }
    }

    pub async fn send(&mut self, frame: &Frame) {
        self.bytes(&bytes_of(frame)).await;
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// The next frame, heartbeats too; `None` at the connection's end.
    pub async fn frame(&mut self) -> Option<Frame> {
        timeout(Duration::from_secs(60), self.frames.next())
            .await
            .expect("a frame in ten seconds")
    }

    /// The next answer: id, status, and the text.
    pub async fn answer(&mut self) -> (u64, u8, String) {
        loop {
            let frame = self.frame().await.expect("an answer, not the end");
            if Event::of(&frame).is_none() {
                return read(&frame);
            }
        }
    }

    pub async fn ask(&mut self, frame: &Frame) -> (u8, String) {
        self.send(frame).await;
        let (id, status, text) = self.answer().await;
        assert_eq!(id, frame.header.id);
        (status, text)
    }

    /// Both directions, to be used at once.
    pub fn split(self) -> (Frames, OwnedWriteHalf) {
        (self.frames, self.write)
    }
}

/// Id, status and text of an answer; of an exception `!` and its class.
pub fn read(frame: &Frame) -> (u64, u8, String) {
    let Kind::Response(status) = frame.header.kind else {
        panic!("no answer: {:?}", frame.header)
    };
    let text = if status != Status::OK {
        let (value, _) = landfall_codec::hessian2::decode(&frame.body, Limits::default()).unwrap();
        text_of(&value)
    } else {
        let response = Response::read(frame.header.serialization, frame.body.clone(), Limits::default()).unwrap();
        match response.exception_class() {
            Some(class) => format!("!{}", class.as_str().expect("a class")),
            None => text_of(&response.decode_value().unwrap().0),
        }
    };
    (frame.header.id, status.0, text)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.as_str().expect("text").to_owned(),
        other => format!("{other:?}"),
    }
}

/// A body that only its length is known of.
pub fn opaque(id: u64, serialization: Serialization, body: &'static [u8]) -> Frame {
    Frame::new(header(id, serialization), Bytes::from_static(body))
}
