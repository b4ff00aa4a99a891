//! A lane stores messages for a session that may outlive its connection only until the session has
//! finished with them.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::policy::{AllowAll, Policy};
use roommq_config::{Endpoint, Settings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lane is to forget a finished message within a second. The rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn start() -> (Server, SocketAddr) {
    let settings = Settings::default();
    let mut listeners = settings.listeners;
    for listener in &mut listeners {
        listener.at = Endpoint::Address(([127, 0, 0, 1], 0).into());
    }
    let options = Options {
        listeners,
        limits: settings.limits,
        lanes: settings.lanes,
        sys_interval: Duration::ZERO,
    };
    let policy: Arc<dyn Policy> = Arc::new(AllowAll);
    let server = Server::start(options, &policy, &AllowAll).unwrap();
    let address = server.listening()[0].plain().unwrap();
    (server, address)
}

/// A 5.0 client that writes and reads packets of up to 127 bytes.
struct Client(TcpStream);

impl Client {
    /// Connects a client whose session lasts an hour. Keep-alive is off: it sends nothing by itself.
    fn connect(server: SocketAddr, id: u8, properties: &[u8]) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Client(stream);
        let properties = [b"\x11\x00\x00\x0e\x10", properties].concat();
        let length = u8::try_from(properties.len()).unwrap();
        let rest = [&properties[..], &[0, 1, id]].concat();
        client.write(
            0x10,
            &[b"\x00\x04MQTT\x05\x00\x00\x00", &[length][..], &rest].concat(),
        );
        assert_eq!(client.read().0, 0x20);
        client
    }

    fn subscribe(&mut self, topic: u8) {
        self.write(0x82, &[0, 1, 0, 0, 1, topic, 2]);
        assert_eq!(self.read().0, 0x90);
    }

    fn publish(&mut self, topic: u8, qos: u8, payload: &[u8]) {
        self.write(
            0x30 | qos << 1,
            &[&[0, 1, topic, 0, 9, 0], payload].concat(),
        );
        if qos == 2 {
            assert_eq!(self.read().0, 0x50);
            self.write(0x62, &[0, 9]);
        }
        assert_eq!(self.read().0, [0x40, 0x70][usize::from(qos - 1)]);
    }

    fn write(&mut self, header: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        self.0
            .write_all(&[&[header, length], body].concat())
            .unwrap();
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        let mut body = vec![0; header[1].into()];
        self.0.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    /// Reads a packet and acknowledges it. False: it is a DISCONNECT.
    fn acknowledge(&mut self) -> bool {
        let (header, body) = self.read();
        let (answer, id) = match header & 0xF6 {
            0x32 => (0x40, &body[3..5]),
            0x34 => (0x50, &body[3..5]),
            0x62 => (0x70, &body[..2]),
            _ => return false,
        };
        self.write(answer, id);
        true
    }
}

/// Waits until the lanes store no message. `client` asks for an answer between two looks.
fn wait_until_empty(server: &Server, client: &mut Client) {
    let begin = Instant::now();
    while server.lanes.stored_messages() > 0 {
        assert!(begin.elapsed() < LIMIT, "messages are left");
        client.write(0xC0, &[]);
        assert_eq!(client.read().0, 0xD0);
    }
}

#[test]
fn a_lane_forgets_a_message_soon_after_its_acknowledgement() {
    let (server, address) = start();
    let mut sender = Client::connect(address, b's', &[]);
    // It receives three messages at a time.
    let mut receiver = Client::connect(address, b'r', b"\x21\x00\x03");
    receiver.subscribe(b't');
    for n in 0..100 {
        sender.publish(b't', 1 + n % 2, &[n]);
    }
    assert_eq!(server.lanes.stored_messages(), 100);
    for _ in 0..60 {
        assert!(receiver.acknowledge());
    }
    // The others wait for the next connection.
    drop(receiver);
    let mut receiver = Client::connect(address, b'r', b"\x21\x00\x03");
    let rest = std::thread::spawn(move || while receiver.acknowledge() {});
    wait_until_empty(&server, &mut sender);
    server.shutdown();
    rest.join().unwrap();
}

#[test]
fn a_lane_forgets_a_message_that_its_client_cannot_be_sent() {
    let (server, address) = start();
    let mut sender = Client::connect(address, b's', &[]);
    let mut receiver = Client::connect(address, b'r', b"\x27\x00\x00\x00\x40");
    receiver.subscribe(b't');
    sender.publish(b't', 1, &[0; 100]);
    wait_until_empty(&server, &mut sender);
    server.shutdown();
}
