//! The load: begins what is due, sends it, waits for the next moment or answer.
//!
//! ```text
//!   ┌▶ due now? begin ─▶ write ─▶ poll until the next is due ─▶ read, check, count ─┐
//!   └───────────────────────────────────────────────────────────────────────────────┘   at the end: what is in flight
//! ```
//!
//! One thread and no runtime: the wait ends to within some ten microseconds of the moment asked for, where a runtime's timer has
//! a grain of a millisecond and would send in bursts, which cost a proxy less for each call.

use std::{
    net::SocketAddr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    Outcome,
    call::Template,
    connection::{Connection, MOST, Scratch},
    figures::Figures,
};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to send.
pub struct Plan {
    pub to: SocketAddr,
    pub connections: usize,
    /// Calls in flight on one connection, at most.
    pub outstanding: usize,
    /// Bytes of a call's argument.
    pub size: usize,
    /// How long calls are begun.
    pub lasts: Duration,
    /// Calls in a second over all connections; `None` for as many as there are answers.
    pub rate: Option<f64>,
}

impl Plan {
    /// Whether it can be carried out.
    pub fn check(&self) -> Outcome<()> {
        let counts = [("--connections", self.connections), ("--outstanding", self.outstanding)];
        for (name, count) in counts {
            if !(1..=MOST).contains(&count) {
                return Err(format!("{name} is from 1 to {MOST}").into());
            }
        }
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate >= 1.0) => Err("--rate is at least 1".into()),
            _ => Ok(()),
        }
    }

    /// When the call of that number on that connection is due; `None` after the end, or if calls are not due at moments.
    fn due(&self, start: Instant, connection: usize, number: u64) -> Option<Instant> {
        let turn = number as f64 * self.connections as f64 + connection as f64;
        let after = Duration::try_from_secs_f64(turn / self.rate?).ok()?;
        (after < self.lasts).then(|| start + after)
    }
}

/// Carries the plan out. The first call that fails ends it.
pub fn run(plan: &Plan) -> Outcome<Figures> {
    let template = Template::new(plan.size)?;
    let open = |number| Connection::open(plan.to, number, plan.outstanding);
    let mut connections = (0..plan.connections).map(open).collect::<Result<Vec<_>, _>>()?;
    let mut begun = vec![0; plan.connections];
    let mut figures = Figures::default();
    let mut scratch = Scratch::default();
    let start = Instant::now();
    let end = start + plan.lasts;
    let mut last_answer = start;
    loop {
        let now = Instant::now();
        let mut next = None;
        for (number, connection) in connections.iter_mut().enumerate() {
            let due = begin(
                plan,
                connection,
                &mut begun[number],
                (start, number),
                now,
                &template,
                &mut figures,
            );
            next = [next, due].into_iter().flatten().min();
            connection.flush()?;
        }
        let in_flight: usize = connections.iter().map(Connection::in_flight).sum();
        let is_over = now >= end && next.is_none();
        if is_over && in_flight == 0 && !owes(plan, start, &begun) {
            break;
        }
        if now > end + PATIENCE {
            return Err(format!("{in_flight} calls were not answered within {} s", PATIENCE.as_secs()).into());
        }
        // Without a call in flight that may be answered, the end is the next thing to happen.
        let until = next.unwrap_or(if now < end { end } else { end + PATIENCE });
        for number in ready(&connections, until.saturating_duration_since(now))? {
            if let Some(connection) = connections.get_mut(number) {
                connection.receive(&mut scratch, &template, &mut figures)?;
                last_answer = Instant::now();
            }
        }
    }
    figures.close(last_answer.saturating_duration_since(start));
    Ok(figures)
}

/// Begins the calls of a connection whose time has come. When the next is due, if there is one and a place for it.
fn begin(
    plan: &Plan,
    connection: &mut Connection,
    begun: &mut u64,
    (start, number): (Instant, usize),
    now: Instant,
    template: &Template,
    figures: &mut Figures,
) -> Option<Instant> {
    // Calls are made as they are sent, so that a peer who takes nothing does not make us hold them all.
    while connection.has_place() {
        let due = match plan.rate {
            Some(_) => plan.due(start, number, *begun)?,
            None if now < start + plan.lasts => now,
            None => return None,
        };
        if due > now {
            return Some(due);
        }
        *begun += 1;
        connection.begin(template, due, now, figures);
    }
    None
}

/// Whether calls that were due have not been begun, for want of a place.
fn owes(plan: &Plan, start: Instant, begun: &[u64]) -> bool {
    let mut all = begun.iter().enumerate();
    all.any(|(number, begun)| plan.due(start, number, *begun).is_some())
}

/// The connections with something to read, or of which more can be written; none after `wait`.
fn ready(connections: &[Connection], wait: Duration) -> Outcome<Vec<usize>> {
    let watched = |connection: &Connection| match connection.is_behind() {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    let mut sockets: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| PollFd::from_borrowed_fd(connection.stream.as_fd(), watched(connection)))
        .collect();
    let wait = Timespec::try_from(wait)?;
    match poll(&mut sockets, Some(&wait)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let readable = |socket: &PollFd<'_>| {
        socket
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
    };
    let numbers = sockets.iter().enumerate().filter(|(_, socket)| readable(socket));
    Ok(numbers.map(|(number, _)| number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_in_turn_at_the_rate_until_the_end() {
        let plan = Plan {
            to: ([127, 0, 0, 1], 1).into(),
            connections: 2,
            outstanding: 1,
            size: 100,
            lasts: Duration::from_secs(1),
            rate: Some(4.0),
        };
        let start = Instant::now();
        let due = |connection, number| plan.due(start, connection, number).map(|due| (due - start).as_millis());
        assert_eq!(
            [due(0, 0), due(1, 0), due(0, 1), due(1, 1)],
            [Some(0), Some(250), Some(500), Some(750)]
        );
        assert_eq!([due(0, 2), due(1, 2)], [None, None]);
        assert!(owes(&plan, start, &[2, 1]) && !owes(&plan, start, &[2, 2]));
    }
}
