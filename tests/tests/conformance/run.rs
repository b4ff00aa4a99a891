//! One row, played for one version.

use crate::clause::Version;
use crate::encode::Writer;
use crate::matching::difference;
use crate::packet::{Packet, hex};
use crate::peer::{Missing, Peer};
use crate::row::Row;
use crate::step::{Act, Closing, Expected, Level, Step, Timing};
use crate::word::{Variable, Variables, fits};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// The time that a row waits for an expected packet.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// The client that proves that nothing comes. Rows cannot name it.
const OBSERVER: char = 'O';

/// A row in one version.
pub struct Run<'a> {
    row: &'a Row,
    version: Version,
    server: SocketAddr,
    variables: Variables,
    peers: BTreeMap<char, Peer>,
    /// `w` and `l` after `a|b<`.
    aliases: BTreeMap<char, char>,
    history: Vec<String>,
    step_before: Instant,
    barriers: u32,
}

impl<'a> Run<'a> {
    /// `id` replaces `{id}`.
    pub fn new(row: &'a Row, version: Version, id: &str, server: SocketAddr) -> Run<'a> {
        let id = Variable::Bytes(id.as_bytes().to_vec());
        Run {
            row,
            version,
            server,
            variables: Variables::from([("id".to_owned(), id)]),
            peers: BTreeMap::new(),
            aliases: BTreeMap::new(),
            history: Vec::new(),
            step_before: Instant::now(),
            barriers: 0,
        }
    }

    /// Plays the row. The error is the report of the failed step.
    pub fn play(mut self) -> Result<(), String> {
        let (row, version) = (self.row, self.version);
        let mut steps = row
            .steps
            .iter()
            .filter(|step| step.only.is_none_or(|only| only == version))
            .peekable();
        while let Some(step) = steps.next() {
            let mut group = vec![step];
            if let Some(client) = any_order(step) {
                while let Some(next) = steps.next_if(|next| any_order(next) == Some(client)) {
                    group.push(next);
                }
            }
            let done = if group.len() > 1 {
                self.unordered(&group)
            } else {
                self.step(step)
            };
            done.map_err(|problem| self.report(step, &problem))?;
            self.step_before = Instant::now();
        }
        Ok(())
    }

    fn report(&self, step: &Step, problem: &str) -> String {
        let (row, version) = (self.row, self.version.name());
        let history = self.history.join("\n        ");
        format!(
            "{}:{}: {} ({version})\n    step: {}\n    {problem}\n    before:\n        {history}",
            row.file, step.line, row.title, step.text
        )
    }

    fn note(&mut self, client: char, what: &str) {
        if self.history.len() == 12 {
            self.history.remove(0);
        }
        self.history.push(format!("{client} {what}"));
    }

    fn resolve(&self, client: char) -> char {
        self.aliases.get(&client).copied().unwrap_or(client)
    }

    fn peer(&mut self, client: char) -> &mut Peer {
        let level = match self.version {
            Version::V311 => Level::V311,
            Version::V5 => Level::V5,
        };
        let client = self.resolve(client);
        self.peers.entry(client).or_insert_with(|| Peer::new(level))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.does {
            Act::Send(client, shapes) => self.send(*client, shapes),
            Act::Expect(clients, expected) => match clients[..] {
                [one] => {
                    let packet = self.receive(one)?;
                    self.judge(one, expected, &packet)?;
                    self.timing(expected.timing)
                }
                _ => self.one_of(clients, expected),
            },
            Act::Closed(client, closing, timing) => {
                self.closed(*client, closing)?;
                self.timing(*timing)
            }
            Act::Nothing(client) => self.nothing(*client),
            Act::Drop(client) => {
                self.peer(*client).drop_connection();
                self.note(*client, "drop");
                Ok(())
            }
            Act::Speak(client, level) => {
                self.peer(*client).level = *level;
                Ok(())
            }
            Act::Wait(time) => {
                // No event shows that a time of the standard has passed.
                let (_keep, never) = sync_channel::<()>(1);
                let _ = never.recv_timeout(*time);
                Ok(())
            }
        }
    }

    fn send(&mut self, client: char, shapes: &[crate::step::Shape]) -> Result<(), String> {
        let name = self.resolve(client);
        self.peer(name);
        let mut all = Vec::new();
        for shape in shapes {
            let Some(peer) = self.peers.get_mut(&name) else {
                continue;
            };
            let mut writer = Writer {
                client: name,
                level: peer.level,
                variables: &mut self.variables,
                ids: &mut peer.ids,
            };
            all.extend(writer.bytes(shape)?);
        }
        self.note(name, &format!("> {}", hex(&all)));
        let server = self.server;
        self.peer(name).send(server, &all)
    }

    fn receive(&mut self, client: char) -> Result<Packet, String> {
        let came = self.peer(client).next(PATIENCE);
        match came {
            Ok(packet) => {
                self.came(client, &packet);
                Ok(packet)
            }
            Err(Missing::Bad(what)) => Err(format!("came: {what}")),
            Err(Missing::Closed) => Err("came: the end of the connection".to_owned()),
            Err(Missing::Late) => Err(format!("came: nothing within {PATIENCE:?}")),
        }
    }

    fn came(&mut self, client: char, packet: &Packet) {
        self.note(client, &format!("< {}", packet.shown()));
        if packet.kind == "connack" && packet.number("code") == Some(0) {
            let peer = self.peer(client);
            peer.connected = true;
            if packet.number("present") == Some(0) {
                peer.ids.in_flight.clear();
            }
        }
    }

    fn judge(&mut self, client: char, expected: &Expected, packet: &Packet) -> Result<(), String> {
        let name = self.resolve(client);
        self.peer(name);
        let peer = &self.peers[&name];
        let shape = &expected.shape;
        let wrong = if shape.kind == "hex" {
            let mut ids = crate::encode::Ids::default();
            let writer = Writer {
                client: name,
                level: peer.level,
                variables: &mut self.variables,
                ids: &mut ids,
            };
            let bytes = writer.hex(&shape.words)?;
            (bytes != packet.bytes).then(|| format!("expected: {}", hex(&bytes)))
        } else {
            difference(shape, packet, peer.level, &peer.ids, &mut self.variables).err()
        };
        match wrong {
            None => Ok(()),
            Some(why) => Err(format!("came: {}\n    {why}", packet.shown())),
        }
    }

    fn timing(&self, timing: Timing) -> Result<(), String> {
        let took = self.step_before.elapsed();
        let early = timing.after.is_some_and(|after| took < after);
        let late = timing.before.is_some_and(|before| took > before);
        if early || late {
            return Err(format!("it came {took:.2?} after the step before"));
        }
        Ok(())
    }

    /// Expects as many packets as steps. Each packet must match one of the steps.
    fn unordered(&mut self, group: &[&Step]) -> Result<(), String> {
        let mut left: Vec<&Expected> = group
            .iter()
            .filter_map(|step| match &step.does {
                Act::Expect(_, expected) => Some(expected),
                _ => None,
            })
            .collect();
        let client = any_order(group[0]).unwrap_or_default();
        while !left.is_empty() {
            let packet = self.receive(client)?;
            let mut why = String::new();
            let mut fit = None;
            for (at, expected) in left.iter().enumerate() {
                let before = self.variables.clone();
                match self.judge(client, expected, &packet) {
                    Ok(()) => {
                        fit = Some(at);
                        break;
                    }
                    Err(problem) => why = problem,
                }
                self.variables = before;
            }
            let Some(at) = fit else {
                return Err(format!(
                    "none of {} lines fits; the last:\n    {why}",
                    left.len()
                ));
            };
            left.remove(at);
        }
        Ok(())
    }

    /// Expects a packet at one of several clients. That client is `w` from here on, and the other of two is `l`.
    fn one_of(&mut self, clients: &[char], expected: &Expected) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let clients: Vec<char> = clients.iter().map(|c| self.resolve(*c)).collect();
        while Instant::now() < deadline {
            for client in &clients {
                match self.peer(*client).next(Duration::from_millis(10)) {
                    Ok(packet) => {
                        self.came(*client, &packet);
                        self.judge(*client, expected, &packet)?;
                        self.aliases.insert('w', *client);
                        if let Some(other) = clients.iter().find(|c| *c != client) {
                            self.aliases.insert('l', *other);
                        }
                        return self.timing(expected.timing);
                    }
                    Err(Missing::Late) => {}
                    Err(why) => return Err(format!("came to {client}: {why:?}")),
                }
            }
        }
        Err(format!("came: nothing to any within {PATIENCE:?}"))
    }

    fn closed(&mut self, client: char, closing: &Closing) -> Result<(), String> {
        let v5 = self.peer(client).level == Level::V5;
        let mut code = None;
        loop {
            match self.peer(client).next(PATIENCE) {
                Ok(packet) => {
                    self.came(client, &packet);
                    if packet.kind != "disconnect" || code.is_some() {
                        return Err(format!("came: {}", packet.shown()));
                    }
                    code = packet.number("code");
                }
                Err(Missing::Closed) => break,
                Err(Missing::Late) => return Err(format!("not closed within {PATIENCE:?}")),
                Err(Missing::Bad(what)) => return Err(format!("came: {what}")),
            }
        }
        self.peer(client).drop_connection();
        self.note(client, &format!("< closed, DISCONNECT code: {code:02x?}"));
        let right = match (closing, code) {
            (Closing::Code(pattern), Some(code)) => fits(pattern, code)?,
            (Closing::Code(_), None) => !v5,
            (Closing::Any, code) => code.is_none_or(|code| code >= 0x80),
            (Closing::Silent, code) => code.is_none(),
        };
        if right {
            Ok(())
        } else {
            Err(format!("came: a close with DISCONNECT code {code:02x?}"))
        }
    }

    /// Proves that no more packets come: the server has processed all packets, all lanes have applied them, and any
    /// delivery precedes the answer to a ping.
    fn nothing(&mut self, client: char) -> Result<(), String> {
        let server = self.server;
        let client = self.resolve(client);
        for (name, peer) in &mut self.peers {
            if *name != client && peer.connected && peer.is_open() {
                // A client that is closed meanwhile has been processed too.
                if peer.settle(server, PATIENCE) == Err(Missing::Late) {
                    return Err(format!("{name} got no PINGRESP"));
                }
            }
        }
        self.barrier()?;
        let peer = self.peer(client);
        if !peer.connected {
            return Err("a client that is not connected cannot be asked".to_owned());
        }
        let settled = peer.settle(server, PATIENCE);
        if let Some(packet) = peer.waiting().next() {
            return Err(format!("came: {}", packet.shown()));
        }
        settled.map_err(|why| format!("instead of PINGRESP: {why:?}"))
    }

    /// A subscription in all lanes is answered when each lane has applied it.
    fn barrier(&mut self) -> Result<(), String> {
        let server = self.server;
        let row = match &self.variables["id"] {
            Variable::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Variable::Number(n) => n.to_string(),
        };
        let mut observer = self
            .peers
            .remove(&OBSERVER)
            .unwrap_or_else(|| Peer::new(Level::V311));
        let text = |text: &str| {
            let mut bytes = Vec::new();
            roommq_tests::wire::put_string(&mut bytes, text);
            bytes
        };
        let mut answer = |bytes: &[u8], kind: &str| {
            observer.send(server, bytes)?;
            match observer.next(PATIENCE) {
                Ok(packet) if packet.kind == kind => Ok(()),
                other => Err(format!("the observer got {other:?} and no {kind}")),
            }
        };
        if self.barriers == 0 {
            let head = [text("MQTT"), vec![4, 2, 0, 0]].concat();
            let body = [head, text(&format!("{row}-observer"))].concat();
            answer(&roommq_tests::wire::frame(0x10, &body), "connack")?;
        }
        self.barriers += 1;
        let filter = text(&format!("+/+/{row}/barrier/{}", self.barriers));
        let body = [vec![0, 1], filter, vec![0]].concat();
        answer(&roommq_tests::wire::frame(0x82, &body), "suback")?;
        self.peers.insert(OBSERVER, observer);
        Ok(())
    }
}

fn any_order(step: &Step) -> Option<char> {
    match &step.does {
        Act::Expect(clients, expected) if expected.any_order => clients.first().copied(),
        _ => None,
    }
}
