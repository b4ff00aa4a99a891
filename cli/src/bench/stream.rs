//! The stream of a connection: a TCP socket, with or without TLS.
//!
//! After the handshake the stream is split into a reader and a writer. With TLS both share the TLS
//! session, on one thread. A read of the socket takes many TLS records at once, to save system
//! calls.

use super::wire::Malformed;
use crate::tls;
use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// The read buffer that all connections share. On one thread only one of them reads at a time.
pub type ReadBuffer = Rc<RefCell<Vec<u8>>>;

/// Bytes of the read buffer: large, so that the backlog of a fast server needs few reads.
const SCRATCH_BYTES: usize = 256 << 10;

/// A new shared read buffer.
pub fn read_buffer() -> ReadBuffer {
    Rc::new(RefCell::new(vec![0; SCRATCH_BYTES]))
}

/// The TLS configuration, and the name that the server's certificate must have.
#[derive(Clone)]
pub struct TlsOptions {
    /// The configuration.
    pub connector: TlsConnector,
    /// The server's name.
    pub name: ServerName<'static>,
}

/// A stream during the handshake.
pub enum ClientStream {
    /// A socket without TLS.
    Plain(TcpStream),
    /// A socket with TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    /// Makes a stream on a connected socket. With `secure` it does the TLS handshake.
    ///
    /// # Errors
    /// The TLS handshake failed. The text says why.
    pub async fn on(
        socket: TcpStream,
        secure: Option<&TlsOptions>,
    ) -> Result<ClientStream, String> {
        let Some(secure) = secure else {
            return Ok(ClientStream::Plain(socket));
        };
        let stream = secure.connector.connect(secure.name.clone(), socket).await;
        stream
            .map(|stream| ClientStream::Tls(Box::new(stream)))
            .map_err(|error| tls::handshake_error(&error).unwrap_or_else(|| error.to_string()))
    }

    /// Reads some bytes. 0: the server closed the connection.
    ///
    /// # Errors
    /// The read failed. The text says why.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, String> {
        let read = match self {
            ClientStream::Plain(socket) => socket.read(bytes).await,
            ClientStream::Tls(stream) => stream.read(bytes).await,
        };
        read.map_err(|error| tls::tls_error(&error).unwrap_or_else(|| error.to_string()))
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ClientStream::Plain(socket) => socket.write_all(bytes).await,
            ClientStream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Splits the stream for a reading and a writing task.
    pub fn split(self) -> (StreamReader, StreamWriter) {
        let (socket, session) = match self {
            ClientStream::Plain(socket) => (socket, None),
            ClientStream::Tls(stream) => {
                let (socket, session) = stream.into_inner();
                (socket, Some(Rc::new(RefCell::new(session))))
            }
        };
        let (reader, writer) = socket.into_split();
        (
            StreamReader {
                socket: reader,
                session: session.clone(),
            },
            StreamWriter {
                socket: writer,
                session,
            },
        )
    }

    /// Converts the stream for a thread without a runtime. It stays non-blocking.
    ///
    /// # Errors
    /// The runtime does not release the socket.
    pub fn into_std(self) -> io::Result<StdStream> {
        Ok(match self {
            ClientStream::Plain(socket) => Box::new(socket.into_std()?),
            ClientStream::Tls(stream) => {
                let (socket, session) = stream.into_inner();
                Box::new(StreamOwned::new(session, socket.into_std()?))
            }
        })
    }
}

/// The reading half of a stream.
pub struct StreamReader {
    socket: OwnedReadHalf,
    session: Option<Rc<RefCell<ClientConnection>>>,
}

impl StreamReader {
    /// Reads once into the shared buffer, and passes the bytes to `take` in one or more pieces.
    ///
    /// # Errors
    /// The connection ended. The text says why.
    pub async fn read(
        &mut self,
        read_buffer: &ReadBuffer,
        mut take: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), String> {
        // The buffer is borrowed during a poll, never across an await.
        std::future::poll_fn(|context| {
            let mut read_buffer = read_buffer.borrow_mut();
            match &self.session {
                None => {
                    let bytes = ready!(poll_socket(&mut self.socket, &mut read_buffer, context))?;
                    Poll::Ready(take(bytes).map_err(|malformed| malformed.to_string()))
                }
                Some(session) => {
                    let mut session = session.borrow_mut();
                    let socket = &mut self.socket;
                    poll_session(socket, &mut session, &mut read_buffer, &mut take, context)
                }
            }
        })
        .await
    }
}

/// Reads at least one byte.
fn poll_socket<'a>(
    socket: &mut OwnedReadHalf,
    read_buffer: &'a mut [u8],
    context: &mut Context<'_>,
) -> Poll<Result<&'a [u8], String>> {
    let mut buffer = ReadBuf::new(read_buffer);
    ready!(Pin::new(socket).poll_read(context, &mut buffer)).map_err(|error| error.to_string())?;
    let count = buffer.filled().len();
    if count == 0 {
        return Poll::Ready(Err(ended()));
    }
    Poll::Ready(Ok(&read_buffer[..count]))
}

fn poll_session(
    socket: &mut OwnedReadHalf,
    session: &mut ClientConnection,
    read_buffer: &mut [u8],
    take: &mut impl FnMut(&[u8]) -> Result<(), Malformed>,
    context: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    // The session may already have bytes that arrived with the handshake.
    let mut taken = drain(session, take)?;
    while !taken {
        let mut raw = ready!(poll_socket(socket, read_buffer, context))?;
        while !raw.is_empty() {
            let read = session.read_tls(&mut raw);
            if read.map_err(|error| error.to_string())? == 0 {
                return Poll::Ready(Err(ended()));
            }
            let processed = session.process_new_packets();
            processed.map_err(|error| tls::error_text(&error))?;
            taken |= drain(session, take)?;
        }
    }
    Poll::Ready(Ok(()))
}

/// Passes the decrypted bytes to `take`. False: there were none.
fn drain(
    session: &mut ClientConnection,
    take: &mut impl FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<bool, String> {
    let mut taken = false;
    loop {
        let mut reader = session.reader();
        let count = match reader.fill_buf() {
            Ok([]) => return Err(ended()),
            Ok(bytes) => {
                take(bytes).map_err(|malformed| malformed.to_string())?;
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
            Err(error) => return Err(error.to_string()),
        };
        reader.consume(count);
        taken = true;
    }
}

fn ended() -> String {
    "the server closed it".to_owned()
}

/// The writing half of a stream.
pub struct StreamWriter {
    socket: OwnedWriteHalf,
    session: Option<Rc<RefCell<ClientConnection>>>,
}

impl StreamWriter {
    /// Writes all of `bytes`. It waits while the socket is full.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(session) = &self.session else {
            while !bytes.is_empty() {
                match self.socket.try_write(bytes) {
                    Ok(count) => bytes = &bytes[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.socket.writable().await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        };
        while !bytes.is_empty() {
            let count = session.borrow_mut().writer().write(bytes)?;
            bytes = &bytes[count..];
            self.flush(session).await?;
        }
        Ok(())
    }

    async fn flush(&self, session: &RefCell<ClientConnection>) -> io::Result<()> {
        while session.borrow().wants_write() {
            let sent = session
                .borrow_mut()
                .write_tls(&mut TryWrite(self.socket.as_ref()));
            match sent {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes as many bytes as the socket accepts at once, and drops the rest. For DISCONNECT.
    pub fn offer(&self, bytes: &[u8]) {
        match &self.session {
            None => {
                let _ = self.socket.try_write(bytes);
            }
            Some(session) => {
                let mut session = session.borrow_mut();
                let _ = session.writer().write(bytes);
                let _ = session.write_tls(&mut TryWrite(self.socket.as_ref()));
            }
        }
    }
}

/// A socket for TLS to write to. A write to a full socket fails.
struct TryWrite<'a>(&'a TcpStream);

impl Write for TryWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A non-blocking stream for a thread without a runtime. With TLS, if the socket is full, the next
/// write sends what TLS has buffered.
pub type StdStream = Box<dyn ReadWrite>;

/// What a [`StdStream`] can do.
pub trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
