//! What carries a connection: a TCP socket, or TLS on one.
//!
//! Reading and writing are apart once the handshake is done, and so is TLS: both sides share its state, on the one
//! thread. The socket is read in pieces far larger than TLS's records, so that a call to the kernel brings many.

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

/// The read buffer that all connections share: only one reads at a time, on the one thread.
pub type ReadBuffer = Rc<RefCell<Vec<u8>>>;

/// Large enough that a fast server's backlog is taken in few reads.
const SCRATCH_BYTES: usize = 256 << 10;

/// A new shared read buffer.
pub fn read_buffer() -> ReadBuffer {
    Rc::new(RefCell::new(vec![0; SCRATCH_BYTES]))
}

/// TLS to a server: whom to trust, and the name that its certificate must be for.
#[derive(Clone)]
pub struct TlsOptions {
    /// With what to connect.
    pub connector: TlsConnector,
    /// The server's name.
    pub name: ServerName<'static>,
}

/// A connection under its handshake.
pub enum ClientStream {
    /// A bare socket.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    /// On a connected socket, with TLS's own handshake where `secure` asks for TLS.
    ///
    /// # Errors
    /// Why there is no TLS with this server.
    pub async fn on(
        socket: TcpStream,
        secure: Option<&TlsOptions>,
    ) -> Result<ClientStream, String> {
        let Some(secure) = secure else {
            return Ok(ClientStream::Plain(socket));
        };
        let shaken = secure.connector.connect(secure.name.clone(), socket).await;
        shaken
            .map(|stream| ClientStream::Tls(Box::new(stream)))
            .map_err(|error| tls::unshaken(&error).unwrap_or_else(|| error.to_string()))
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, String> {
        let read = match self {
            ClientStream::Plain(socket) => socket.read(bytes).await,
            ClientStream::Tls(stream) => stream.read(bytes).await,
        };
        read.map_err(|error| tls::broken(&error).unwrap_or_else(|| error.to_string()))
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

    /// Writes what the socket takes at once, and forgets the rest: for a good-bye.
    pub fn offer(&mut self, bytes: &[u8]) {
        match self {
            ClientStream::Plain(socket) => {
                let _ = socket.try_write(bytes);
            }
            ClientStream::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                let _ = session.writer().write(bytes);
                let _ = session.write_tls(&mut TryWrite(socket));
            }
        }
    }

    /// For a task that reads and one that writes.
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

    /// For a thread without a runtime; still non-blocking.
    ///
    /// # Errors
    /// The runtime does not give the socket back.
    pub fn into_std(self) -> io::Result<StdStream> {
        Ok(match self {
            ClientStream::Plain(socket) => StdStream::Plain(socket.into_std()?),
            ClientStream::Tls(stream) => {
                let (socket, session) = stream.into_inner();
                StdStream::Tls(Box::new(StreamOwned::new(session, socket.into_std()?)))
            }
        })
    }
}

/// The reading side.
pub struct StreamReader {
    socket: OwnedReadHalf,
    session: Option<Rc<RefCell<ClientConnection>>>,
}

impl StreamReader {
    /// Reads once into the shared buffer and hands over what came, in one piece or several.
    ///
    /// # Errors
    /// Why nothing more will come.
    pub async fn read(
        &mut self,
        read_buffer: &ReadBuffer,
        mut take: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), String> {
        // The buffer is borrowed only while the socket is read, never across a wait.
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

/// Some bytes, at least one.
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
    // What came with the end of the handshake is in there already.
    let mut taken = drain(session, take)?;
    while !taken {
        let mut raw = ready!(poll_socket(socket, read_buffer, context))?;
        while !raw.is_empty() {
            let read = session.read_tls(&mut raw);
            if read.map_err(|error| error.to_string())? == 0 {
                return Poll::Ready(Err(ended()));
            }
            let processed = session.process_new_packets();
            processed.map_err(|error| tls::refusal(&error))?;
            taken |= drain(session, take)?;
        }
    }
    Poll::Ready(Ok(()))
}

/// Hands over what has been decrypted; whether that was anything.
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

/// The writing side.
pub struct StreamWriter {
    socket: OwnedWriteHalf,
    session: Option<Rc<RefCell<ClientConnection>>>,
}

impl StreamWriter {
    /// Writes all of `bytes`, waiting where the socket is full.
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

    /// Writes what the socket takes at once, and forgets the rest: for a good-bye.
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

/// A socket as TLS writes to it: now or not at all.
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

/// A non-blocking connection for a thread without a runtime.
pub enum StdStream {
    /// A bare socket.
    Plain(std::net::TcpStream),
    /// TLS. What it has taken goes out with the next write where the socket is full.
    Tls(Box<StreamOwned<ClientConnection, std::net::TcpStream>>),
}

impl Read for StdStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            StdStream::Plain(socket) => socket.read(bytes),
            StdStream::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for StdStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            StdStream::Plain(socket) => socket.write(bytes),
            StdStream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            StdStream::Plain(socket) => socket.flush(),
            StdStream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
