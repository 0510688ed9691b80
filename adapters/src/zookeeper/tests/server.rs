//! A ZooKeeper server small enough to be told what to do: nodes, watches of both kinds, sessions, faults.
//!
//! ```text
//! length │ xid │ type │ body      ▶
//!        ◀ length │ xid │ zxid │ error │ body        xid -1 is an event, -2 a ping, -4 auth, -8 setWatches
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

pub(super) const NO_AUTH: i32 = -102;
const NO_NODE: i32 = -101;
const UNIMPLEMENTED: i32 = -6;

/// What the server is and does.
#[derive(Default)]
pub(super) struct State {
    nodes: BTreeMap<String, Node>,
    /// The last transaction, and the time.
    clock: i64,
    sessions: BTreeSet<i64>,
    /// Paths answered with an error.
    pub(super) faults: BTreeMap<String, i32>,
    /// Every path is answered with this error.
    pub(super) everything_is: Option<i32>,
    /// What replies to lists say instead of how many names follow.
    pub(super) counts: Option<i32>,
    /// A folder whose children cannot be listed because it does not exist.
    pub(super) unlisted: Option<String>,
    /// Before 3.6: no persistent watches.
    pub(super) old: bool,
    /// Closes every connection it takes.
    pub(super) down: bool,
    /// What came as `digest`.
    pub(super) credentials: Vec<String>,
    /// What is done to lists of a path's children before they are answered.
    pub(super) lies: BTreeMap<String, Lie>,
    /// How often each path's children were listed.
    pub(super) listed: BTreeMap<String, usize>,
    connections: BTreeMap<u64, Connection>,
    opened: u64,
}

#[derive(Clone, Default)]
struct Node {
    data: Vec<u8>,
    time: i64,
    stat: Numbers,
}

/// What a stat says beside times and length.
#[derive(Clone, Copy, Default)]
pub(super) struct Numbers {
    pub(super) czxid: i64,
    pub(super) pzxid: i64,
    pub(super) cversion: i32,
    pub(super) children: i32,
}

/// Changes a list and the numbers that go with it.
pub(super) type Lie = Box<dyn FnMut(&mut Vec<String>, &mut Numbers) + Send>;

struct Connection {
    out: mpsc::UnboundedSender<Vec<u8>>,
    recursive: Vec<String>,
    children: BTreeSet<String>,
    data: BTreeSet<String>,
    close: watch::Sender<bool>,
}

#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<State>>);

impl Server {
    pub(super) async fn start() -> (Self, String) {
        let server = Self::default();
        server.state().nodes.insert(String::new(), Node::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        (server, address)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Creates a node and what is missing above it.
    pub(super) fn create(&self, path: &str, data: &str) {
        let mut state = self.state();
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends.collect::<Vec<_>>() {
            let (node, leaf) = (&path[..end], end == path.len());
            let exists = state.nodes.contains_key(node);
            if exists && !leaf {
                continue;
            }
            state.clock += 1;
            let time = 1_700_000_000_000 + state.clock;
            let data = if leaf { data.as_bytes().to_vec() } else { Vec::new() };
            let zxid = state.clock;
            if let (false, Some(parent)) = (exists, state.parent(node)) {
                parent.stat.pzxid = zxid;
                parent.stat.cversion += 1;
                parent.stat.children += 1;
            }
            let new = Numbers {
                czxid: zxid,
                pzxid: zxid,
                ..Numbers::default()
            };
            let stat = state.nodes.get(node).map_or(new, |node| node.stat);
            state.nodes.insert(node.to_owned(), Node { data, time, stat });
            state.fire(if exists { 3 } else { 1 }, node);
        }
    }

    /// Creates a node before the next question is answered: the state is in use now.
    pub(super) fn create_later(&self, path: String) {
        let server = self.clone();
        std::thread::spawn(move || server.create(&path, ""));
    }

    /// Deletes a node with everything below it.
    pub(super) fn delete(&self, path: &str) {
        let mut state = self.state();
        let below: Vec<String> = state
            .nodes
            .keys()
            .filter(|node| *node == path || node.starts_with(&format!("{path}/")))
            .cloned()
            .collect();
        for node in below.into_iter().rev() {
            state.nodes.remove(&node);
            state.clock += 1;
            let zxid = state.clock;
            if let Some(parent) = state.parent(&node) {
                parent.stat.pzxid = zxid;
                parent.stat.cversion += 1;
                parent.stat.children -= 1;
            }
            state.fire(2, &node);
        }
    }

    /// Cuts every connection; watches of both kinds and all events until the next one are lost.
    pub(super) fn cut(&self) {
        for connection in std::mem::take(&mut self.state().connections).into_values() {
            let _ = connection.close.send(true);
        }
    }

    /// Forgets every session.
    pub(super) fn expire(&self) {
        self.state().sessions.clear();
    }

    pub(super) fn connections(&self) -> usize {
        self.state().connections.len()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some((session, timeout)) = self.connect(&mut stream).await else {
            return;
        };
        let (out, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        let (close, mut closed) = watch::channel(false);
        let number = {
            let mut state = self.state();
            state.opened += 1;
            let number = state.opened;
            let (recursive, children, data) = Default::default();
            let connection = Connection {
                out: out.clone(),
                recursive,
                children,
                data,
                close,
            };
            state.connections.insert(number, connection);
            number
        };
        let mut welcome = Vec::new();
        put_int(&mut welcome, 0);
        put_int(&mut welcome, timeout);
        put_long(&mut welcome, session);
        put_bytes(&mut welcome, &[0; 16]);
        welcome.push(0);
        let _ = out.send(welcome);
        let (mut reader, mut writer) = stream.split();
        let write = async {
            while let Some(frame) = outgoing.recv().await {
                let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
                if writer.write_all(&length).await.is_err() || writer.write_all(&frame).await.is_err() {
                    return;
                }
                // An empty frame asks for the end.
                if frame.is_empty() {
                    return;
                }
            }
        };
        let read = async {
            loop {
                let Ok(length) = reader.read_u32().await else { return };
                let mut frame = vec![0; length as usize];
                if reader.read_exact(&mut frame).await.is_err() {
                    return;
                }
                for reply in self.state().answer(number, session, &frame) {
                    let _ = out.send(reply);
                }
            }
        };
        tokio::select! {
            () = write => {}
            () = read => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
        self.state().connections.remove(&number);
    }

    async fn connect(&self, stream: &mut TcpStream) -> Option<(i64, i32)> {
        let length = stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.ok()?;
        let mut input = Input(&frame);
        let (_version, _zxid, timeout, asked) = (input.int(), input.long(), input.int(), input.long());
        let mut state = self.state();
        if state.down {
            return None;
        }
        match asked {
            0 => {
                let session = 0x1000 + i64::try_from(state.opened).unwrap();
                state.sessions.insert(session);
                // Clamped as a server with the default tick does it.
                Some((session, timeout.clamp(4_000, 40_000)))
            }
            known if state.sessions.contains(&known) => Some((known, timeout)),
            _ => Some((0, 0)),
        }
    }
}

impl State {
    fn parent(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path.rsplit_once('/')?.0)
    }

    fn children(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let names = self.nodes.keys().filter_map(|node| node.strip_prefix(&below));
        names
            .filter(|name| !name.contains('/') && !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// 1 created, 2 deleted, 3 data changed.
    fn fire(&mut self, kind: i32, path: &str) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        for connection in self.connections.values_mut() {
            let send = |kind: i32, path: &str| {
                let mut frame = header(-1, 0);
                put_int(&mut frame, kind);
                put_int(&mut frame, 3);
                put_bytes(&mut frame, path.as_bytes());
                let _ = connection.out.send(frame);
            };
            if connection
                .recursive
                .iter()
                .any(|root| path == root || path.starts_with(&format!("{root}/")))
            {
                send(kind, path);
            }
            if connection.data.remove(path) {
                send(kind, path);
            }
            if kind == 2 && connection.children.remove(path) {
                send(kind, path);
            }
            if kind != 3 && connection.children.remove(&parent) {
                send(4, &parent);
            }
        }
    }

    fn answer(&mut self, number: u64, session: i64, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut input = Input(frame);
        let (xid, code) = (input.int(), input.int());
        let done = |error: i32| vec![header(xid, error)];
        match code {
            11 | 18 => done(0),
            // A client's watches after a reconnect: they are set, and nothing that was missed is told.
            101 | 105 => {
                let _zxid = input.long();
                let lists: Vec<Vec<String>> = (0..if code == 105 { 5 } else { 3 }).map(|_| input.texts()).collect();
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.data.extend(lists[..2].iter().flatten().cloned());
                    connection.children.extend(lists[2].iter().cloned());
                    connection.recursive.extend(lists.into_iter().skip(4).flatten());
                }
                done(0)
            }
            -11 => {
                self.sessions.remove(&session);
                vec![header(xid, 0), Vec::new()]
            }
            100 => {
                let _ = (input.int(), input.text());
                let credentials = input.text();
                self.credentials.push(credentials);
                done(0)
            }
            // A server before 3.6 refuses and hangs up.
            106 if self.old => vec![header(xid, UNIMPLEMENTED), Vec::new()],
            106 => {
                let path = input.text();
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.recursive.push(path);
                }
                let mut reply = header(xid, 0);
                put_int(&mut reply, 0);
                vec![reply]
            }
            3 | 4 | 12 => {
                let asked = input.text();
                let path = if asked == "/" { "" } else { &asked };
                let watched = input.byte() != 0;
                if let Some(error) = self.everything_is.as_ref().or_else(|| self.faults.get(path)) {
                    return done(*error);
                }
                if code == 12 && self.unlisted.as_deref() == Some(path) {
                    return done(NO_NODE);
                }
                let node = self.nodes.get(path).cloned();
                if let (true, Some(connection)) = (watched, self.connections.get_mut(&number)) {
                    match code {
                        12 if node.is_some() => drop(connection.children.insert(path.to_owned())),
                        4 if node.is_none() => {}
                        3 | 4 => drop(connection.data.insert(path.to_owned())),
                        _ => {}
                    }
                }
                let Some(Node { data, time, mut stat }) = node else {
                    return done(NO_NODE);
                };
                let mut reply = header(xid, 0);
                if code == 4 {
                    put_bytes(&mut reply, &data);
                }
                if code == 12 {
                    *self.listed.entry(path.to_owned()).or_default() += 1;
                    let mut names = self.children(path);
                    if let Some(lie) = self.lies.get_mut(path) {
                        lie(&mut names, &mut stat);
                    }
                    put_int(&mut reply, self.counts.unwrap_or(i32::try_from(names.len()).unwrap()));
                    names.iter().for_each(|name| put_bytes(&mut reply, name.as_bytes()));
                }
                put_stat(&mut reply, time, data.len(), stat);
                vec![reply]
            }
            _ => done(UNIMPLEMENTED),
        }
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }
    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }
    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }
    fn texts(&mut self) -> Vec<String> {
        (0..self.int()).map(|_| self.text()).collect()
    }
    fn text(&mut self) -> String {
        let length = usize::try_from(self.int()).unwrap_or(0);
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }
}

fn header(xid: i32, error: i32) -> Vec<u8> {
    let mut frame = Vec::new();
    put_int(&mut frame, xid);
    put_long(&mut frame, 1);
    put_int(&mut frame, error);
    frame
}

fn put_int(frame: &mut Vec<u8>, value: i32) {
    frame.extend(value.to_be_bytes());
}

fn put_long(frame: &mut Vec<u8>, value: i64) {
    frame.extend(value.to_be_bytes());
}

fn put_bytes(frame: &mut Vec<u8>, value: &[u8]) {
    put_int(frame, i32::try_from(value.len()).unwrap());
    frame.extend(value);
}

/// czxid, mzxid, ctime, mtime, three versions, owner, data length, number of children, pzxid.
fn put_stat(frame: &mut Vec<u8>, time: i64, length: usize, stat: Numbers) {
    [stat.czxid, stat.czxid, time, time]
        .into_iter()
        .for_each(|value| put_long(frame, value));
    [0, stat.cversion, 0]
        .into_iter()
        .for_each(|value| put_int(frame, value));
    put_long(frame, 0);
    put_int(frame, i32::try_from(length).unwrap());
    put_int(frame, stat.children);
    put_long(frame, stat.pzxid);
}
