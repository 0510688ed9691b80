//! A ZooKeeper that misbehaves: a forwarder in front of a real one, whose faults are switched on and off.
//!
//! ```text
//! client ──▶ length │ xid │ type │ …  ─────────▶ as it is ─────────▶ server
//!        ◀── length │ xid │ zxid │ error │ … ◀── spoiled ◀──────────
//! ```
//!
//! It speaks just enough to know which answer belongs to which question. Pings, events and the first answer of a
//! connection always pass, so that a session lives on while what it is told is wrong.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
};

/// Operations of the protocol (ZooDefs.java).
const GET_CHILDREN: i32 = 8;
const GET_CHILDREN_2: i32 = 12;
/// Of a reply: xid, zxid, error.
const HEADER: usize = 16;
/// Where in a stat the number of children is: behind four longs, three ints, a long and an int.
const COUNT_IN_STAT: usize = 4 * 8 + 3 * 4 + 8 + 4;
/// Longer than anything the tests put there.
const LONGEST: u32 = 16 << 20;

/// What the forwarder does to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZooKeeperFault {
    /// Nothing: answers pass.
    None,
    /// Lists of children lose every second name.
    HalfList,
    /// The same, and the stat beside the list counts what is left: the answer agrees with itself.
    HalfListCounted,
    /// Every question is answered with this error, such as -1 (SystemError).
    Error(i32),
    /// Every question is answered, and behind the header the answer is noise.
    Noise,
    /// Every question is answered with what another kind of server would say, and the connection is closed.
    Http,
    /// Nothing is answered.
    Silence,
}

/// A running forwarder, ended when dropped.
pub struct FaultyZooKeeper {
    /// Where it serves.
    pub address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    target: String,
    fault: Mutex<ZooKeeperFault>,
    spoiled: AtomicU64,
}

/// Which operation a question asked for, by its xid.
type Questions = Arc<Mutex<HashMap<i32, i32>>>;

impl FaultyZooKeeper {
    /// Forwards to `target`, such as `127.0.0.1:2181`.
    pub async fn in_front_of(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target: target.to_owned(),
            fault: Mutex::new(ZooKeeperFault::None),
            spoiled: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            // Ends with the task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Changes what it does to answers from now on.
    pub fn set(&self, fault: ZooKeeperFault) {
        *self.state.fault.lock().expect("no panic while held") = fault;
    }

    /// How many answers have been spoiled so far.
    pub fn spoiled(&self) -> u64 {
        self.state.spoiled.load(Relaxed)
    }
}

impl Drop for FaultyZooKeeper {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What becomes of an answer.
enum Answer {
    Frame(Vec<u8>),
    Nothing,
    /// Bytes without a frame, then the end.
    Last(&'static [u8]),
}

async fn serve(client: TcpStream, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(&state.target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let questions = Questions::default();
    // Whichever ends first ends both.
    tokio::select! {
        () = forward(from_client, to_server, Arc::clone(&questions)) => {}
        () = backward(from_server, to_client, questions, state) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, questions: Questions) {
    let mut first = true;
    while let Some(frame) = read_frame(&mut from).await {
        if let (false, Some(xid), Some(operation)) = (first, int_at(&frame, 0), int_at(&frame, 4)) {
            questions.lock().expect("no panic while held").insert(xid, operation);
        }
        first = false;
        if write_frame(&mut to, &frame).await.is_none() {
            return;
        }
    }
}

async fn backward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, questions: Questions, state: Arc<State>) {
    let mut first = true;
    while let Some(frame) = read_frame(&mut from).await {
        let answer = match int_at(&frame, 0) {
            Some(xid) if !first && xid > 0 => {
                let operation = questions.lock().expect("no panic while held").remove(&xid);
                state.spoil(operation.unwrap_or(0), frame)
            }
            _ => Answer::Frame(frame),
        };
        first = false;
        match answer {
            Answer::Frame(frame) => {
                if write_frame(&mut to, &frame).await.is_none() {
                    return;
                }
            }
            Answer::Nothing => {}
            Answer::Last(bytes) => {
                let _ = to.write_all(bytes).await;
                return;
            }
        }
    }
}

impl State {
    fn spoil(&self, operation: i32, frame: Vec<u8>) -> Answer {
        let fault = *self.fault.lock().expect("no panic while held");
        let header = frame.get(..HEADER).unwrap_or(&frame).to_vec();
        let answer = match fault {
            ZooKeeperFault::None => return Answer::Frame(frame),
            ZooKeeperFault::HalfList | ZooKeeperFault::HalfListCounted => {
                let counted = fault == ZooKeeperFault::HalfListCounted;
                match halved(operation, &frame, counted) {
                    Some(frame) => Answer::Frame(frame),
                    None => return Answer::Frame(frame),
                }
            }
            ZooKeeperFault::Error(code) => Answer::Frame(with_error(header, code)),
            ZooKeeperFault::Noise => {
                let mut frame = with_error(header, 0);
                frame.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(200));
                Answer::Frame(frame)
            }
            ZooKeeperFault::Http => Answer::Last(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            ZooKeeperFault::Silence => Answer::Nothing,
        };
        self.spoiled.fetch_add(1, Relaxed);
        answer
    }
}

fn with_error(mut header: Vec<u8>, code: i32) -> Vec<u8> {
    header.resize(HEADER, 0);
    header[HEADER - 4..].copy_from_slice(&code.to_be_bytes());
    header
}

/// The answer with every second name left out; `None` if it is no list, or a list with nothing to leave out.
fn halved(operation: i32, frame: &[u8], counted: bool) -> Option<Vec<u8>> {
    if ![GET_CHILDREN, GET_CHILDREN_2].contains(&operation) || int_at(frame, HEADER - 4)? != 0 {
        return None;
    }
    let count = int_at(frame, HEADER)?;
    let (mut at, mut names) = (HEADER + 4, Vec::new());
    for _ in 0..count {
        let end = at + 4 + usize::try_from(int_at(frame, at)?).ok()?;
        names.push(frame.get(at..end)?);
        at = end;
    }
    if names.len() < 2 {
        return None;
    }
    let left: Vec<&[u8]> = names.into_iter().step_by(2).collect();
    let left_over = i32::try_from(left.len()).ok()?;
    let mut stat = frame.get(at..)?.to_vec();
    if counted && operation == GET_CHILDREN_2 {
        stat.get_mut(COUNT_IN_STAT..COUNT_IN_STAT + 4)?
            .copy_from_slice(&left_over.to_be_bytes());
    }
    let mut half = frame[..HEADER].to_vec();
    half.extend(left_over.to_be_bytes());
    left.iter().for_each(|name| half.extend(*name));
    half.extend(stat);
    Some(half)
}

fn int_at(frame: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok().filter(|length| *length <= LONGEST)?;
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write_frame(to: &mut OwnedWriteHalf, frame: &[u8]) -> Option<()> {
    let mut bytes = u32::try_from(frame.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend(frame);
    to.write_all(&bytes).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_list_is_every_second_name_with_or_without_its_count() {
        let mut frame = with_error(vec![0; HEADER], 0);
        frame.extend(3i32.to_be_bytes());
        for name in ["a", "bc", "d"] {
            frame.extend(i32::try_from(name.len()).unwrap().to_be_bytes());
            frame.extend(name.as_bytes());
        }
        let names_end = frame.len();
        frame.extend([0; COUNT_IN_STAT]);
        frame.extend(3i32.to_be_bytes());
        frame.extend([0; 8]);
        for (counted, count) in [(false, 3), (true, 2)] {
            let half = halved(GET_CHILDREN_2, &frame, counted).unwrap();
            let shorter = half.len() - (frame.len() - names_end);
            assert_eq!(shorter, names_end - 4 - "bc".len());
            assert_eq!(int_at(&half, HEADER), Some(2));
            assert_eq!(int_at(&half, shorter + COUNT_IN_STAT), Some(count));
            assert!(half[HEADER..shorter].ends_with(b"d"));
        }
        assert_eq!(halved(4, &frame, false), None, "data is no list");
        assert_eq!(
            halved(GET_CHILDREN_2, &with_error(frame.clone(), -101)[..HEADER], true),
            None
        );
    }
}
