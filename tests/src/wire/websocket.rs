//! The client's side of a WebSocket, frame by frame (RFC 6455).

use super::Stream;
use crate::PATIENCE;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The mask of every frame that is sent; it need not be a secret here.
const MASK: [u8; 4] = [0x5A, 0x01, 0xFF, 0x37];

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub last: bool,
    /// 0 continues a message, 1 is text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message in one frame.
    pub fn whole(opcode: u8, payload: &[u8]) -> Frame {
        Frame {
            last: true,
            opcode,
            payload: payload.to_vec(),
        }
    }

    /// Encodes the frame as a client does: masked.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.last) << 7 | self.opcode];
        match self.payload.len() {
            n @ 0..126 => bytes.push(0x80 | u8::try_from(n).unwrap()),
            n @ 126..0x1_0000 => {
                bytes.push(0xFE);
                bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                bytes.push(0xFF);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(
            self.payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(b, m)| b ^ m),
        );
        bytes
    }

    /// The first frame in a server's bytes, and its length. A server does not mask.
    fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
        let (first, length) = (*bytes.first()?, *bytes.get(1)?);
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert!(length < 0x80, "a server does not mask");
        let wide = |n: usize| {
            let digits = bytes.get(2..2 + n)?;
            Some(digits.iter().fold(0, |all, b| all << 8 | usize::from(*b)))
        };
        let (length, start) = match length {
            126 => (wide(2)?, 4),
            127 => (wide(8)?, 10),
            short => (short.into(), 2),
        };
        let frame = Frame {
            last: first & 0x80 != 0,
            opcode: first & 0x0F,
            payload: bytes.get(start..start + length)?.to_vec(),
        };
        Some((frame, start + length))
    }
}

/// Asks for a WebSocket. Returns the server's answer up to the empty line, and the bytes after it.
pub fn upgrade(stream: &mut dyn Stream, path: &str, more: &str) -> (String, Vec<u8>) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    stream.flush().expect("the server reads");
    stream.wait_for(PATIENCE);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(at) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = answer.split_off(at + 4);
            return (String::from_utf8(answer).expect("text"), rest);
        }
        match stream.read(&mut chunk).expect("an answer") {
            0 => panic!("closed after {:?}", String::from_utf8_lossy(&answer)),
            n => answer.extend(&chunk[..n]),
        }
    }
}

/// A stream of bytes in binary frames: each write is one message.
#[derive(Debug)]
pub struct WebSocket {
    stream: Box<dyn Stream>,
    raw: Vec<u8>,
    payload: Vec<u8>,
    /// Frames that carried no bytes of MQTT.
    pub others: Vec<Frame>,
}

impl WebSocket {
    /// Opens a WebSocket at `/mqtt` with the subprotocol `mqtt`. The server must accept.
    pub fn open(mut stream: Box<dyn Stream>) -> WebSocket {
        let more = "Sec-WebSocket-Protocol: mqtt\r\n";
        let (answer, raw) = upgrade(&mut *stream, "/mqtt", more);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let answer = answer.to_ascii_lowercase();
        // [MQTT-6.0.0-4]
        assert!(
            answer.contains("\r\nsec-websocket-protocol: mqtt\r\n"),
            "{answer}"
        );
        let accept = "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
        assert!(answer.contains(accept), "{answer}");
        WebSocket {
            stream,
            raw,
            payload: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
        self.stream.flush().expect("the server reads");
    }

    /// The next frame; none at the end of the stream.
    pub fn frame(&mut self) -> io::Result<Option<Frame>> {
        let mut chunk = [0; 16_384];
        loop {
            if let Some((frame, length)) = Frame::parse(&self.raw) {
                self.raw.drain(..length);
                return Ok(Some(frame));
            }
            match self.stream.read(&mut chunk)? {
                0 => return Ok(None),
                n => self.raw.extend(&chunk[..n]),
            }
        }
    }

    /// The code of the close frame, which must come. Frames before it are skipped.
    pub fn close_code(&mut self) -> u16 {
        self.stream.wait_for(PATIENCE);
        loop {
            match self.frame().expect("a close frame") {
                Some(frame) if frame.opcode == 8 => {
                    return u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                }
                Some(_) => {}
                None => panic!("the end came without a close frame"),
            }
        }
    }
}

impl Read for WebSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            match self.frame()? {
                None => return Ok(0),
                Some(frame) if frame.opcode == 2 || frame.opcode == 0 => {
                    self.payload = frame.payload;
                }
                Some(frame) if frame.opcode == 8 => {
                    // The client answers the close frame, and the server closes.
                    let _ = self
                        .stream
                        .write_all(&Frame::whole(8, &frame.payload).bytes());
                    let _ = self.stream.flush();
                    self.others.push(frame);
                }
                Some(frame) => self.others.push(frame),
            }
        }
        let n = buffer.len().min(self.payload.len());
        buffer[..n].copy_from_slice(&self.payload[..n]);
        self.payload.drain(..n);
        Ok(n)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&Frame::whole(2, bytes).bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for WebSocket {
    fn wait_for(&self, time: Duration) {
        self.stream.wait_for(time);
    }

    fn tcp(&self) -> Option<&TcpStream> {
        self.stream.tcp()
    }
}
