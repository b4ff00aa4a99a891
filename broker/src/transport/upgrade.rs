//! The HTTP request that turns a connection into a WebSocket (RFC 6455, section 4.2), and the response.

use super::spoken::Spoken;
use roommq_config::WebSocket;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};

/// The limit on the request and its headers, in bytes.
const MAX_REQUEST: usize = 16 << 10;

/// The end of the headers.
const END: &[u8] = b"\r\n\r\n";

/// The subprotocols that the server accepts, the preferred one first: the registered name [MQTT-6.0.0-3], and the name
/// that older clients use.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// The reason that the connection became no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error("the peer speaks {0}")]
    Spoken(Spoken),
    #[error("answered {status}: {text}{asked}")]
    Refused {
        status: StatusCode,
        text: &'static str,
        /// The value that was refused, if the text alone does not say what was wrong.
        asked: Asked,
    },
}

/// Reads the request and responds. Returns the bytes that the peer sent after it: they belong to the WebSocket.
pub(super) async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    rules: &WebSocket,
) -> Result<Vec<u8>, UpgradeError> {
    let mut bytes = Vec::with_capacity(1024);
    let request = request(stream, &mut bytes).await?;
    let spoken = Spoken::of(&bytes).filter(|spoken| *spoken != Spoken::Http);
    let answer = match &request {
        Ok(request) => answer(request, rules),
        Err(rejection) => Err(*rejection),
    };
    let (status, text) = match answer {
        Ok(response) => {
            let mut out = Vec::new();
            write_response(&mut out, &response).map_err(io::Error::other)?;
            stream.write_all(&out).await?;
            stream.flush().await?;
            return Ok(bytes);
        }
        Err(rejection) => rejection,
    };
    let version = match status {
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let length = text.len() + 1;
    let out = format!(
        "HTTP/1.1 {status}\r\n{version}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}\n"
    );
    stream.write_all(out.as_bytes()).await?;
    stream.shutdown().await?;
    if let Some(spoken) = spoken.filter(|_| request.is_err()) {
        return Err(UpgradeError::Spoken(spoken));
    }
    let asked = Asked::of(status, request.as_ref().ok());
    Err(UpgradeError::Refused {
        status,
        text,
        asked,
    })
}

/// The path or origin of a refused request, for the log.
#[derive(Debug)]
pub(crate) struct Asked(Option<(&'static str, String)>);

impl Asked {
    fn of(status: StatusCode, request: Option<&Request>) -> Asked {
        let header = |name| {
            let value = request?.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Asked(match status {
            StatusCode::NOT_FOUND => request.map(|r| ("path", r.uri().path().to_owned())),
            StatusCode::FORBIDDEN => header(header::ORIGIN).map(|value| ("origin", value)),
            StatusCode::BAD_REQUEST => {
                header(header::SEC_WEBSOCKET_PROTOCOL).map(|value| ("subprotocol", value))
            }
            StatusCode::UPGRADE_REQUIRED => {
                header(header::SEC_WEBSOCKET_VERSION).map(|value| ("version", value))
            }
            _ => None,
        })
    }
}

/// The longest value of a request that a log line shows, in characters.
const SHOWN: usize = 200;

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((what, value)) = &self.0 else {
            return Ok(());
        };
        let value: String = value.chars().take(SHOWN).collect();
        write!(f, "; the {what} was {value:?}")
    }
}

/// The status and text of a response that refuses the request.
type Rejection = (StatusCode, &'static str);

const NOT_A_WEBSOCKET: Rejection = (
    StatusCode::BAD_REQUEST,
    "the request does not open a WebSocket",
);

/// Reads the request. Bytes that follow it stay in `bytes`.
async fn request(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<Result<Request, Rejection>> {
    let mut looked = 0;
    loop {
        // Anything but a method of HTTP: its sender would wait for an answer until the time is up.
        if bytes.first().is_some_and(|b| !b.is_ascii_uppercase()) || bytes.starts_with(b"PROXY ") {
            return Ok(Err(NOT_A_WEBSOCKET));
        }
        // Parsing starts only at the end of the headers. Parsing after each byte would take quadratic time.
        let from = bytes.len().min(looked);
        if let Some(at) = bytes[from..].windows(END.len()).position(|end| end == END) {
            let rest = bytes.split_off(from + at + END.len());
            let head = std::mem::replace(bytes, rest);
            return Ok(match Request::try_parse(&head) {
                Ok(Some((_, request))) => Ok(request),
                _ => Err(NOT_A_WEBSOCKET),
            });
        }
        if bytes.len() >= MAX_REQUEST {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Ok(Err((status, "the request is larger than 16 KiB")));
        }
        looked = bytes.len().saturating_sub(END.len() - 1);
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Decides on a request. Pure.
fn answer(request: &Request, rules: &WebSocket) -> Result<Response, Rejection> {
    let headers = request.headers();
    if !rules.serves(request.uri().path()) {
        return Err((StatusCode::NOT_FOUND, "this path does not serve MQTT"));
    }
    if let (Some(origin), Some(allowed)) = (headers.get(header::ORIGIN), &rules.allowed_origins) {
        let is_allowed = |o: &str| allowed.iter().any(|a| a.eq_ignore_ascii_case(o));
        if !origin.to_str().is_ok_and(is_allowed) {
            let status = StatusCode::FORBIDDEN;
            return Err((status, "pages of this origin may not connect"));
        }
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let status = StatusCode::UPGRADE_REQUIRED;
        return Err((status, "the server requires WebSocket version 13"));
    }
    let mut response = create_response(&in_one_line(request)).map_err(|_| NOT_A_WEBSOCKET)?;
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        // [MQTT-6.0.0-4]
        let status = StatusCode::BAD_REQUEST;
        let chosen = subprotocol(headers);
        let chosen = chosen.ok_or((status, "the server requires the subprotocol mqtt"))?;
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        let chosen = HeaderValue::from_static(chosen);
        response.headers_mut().insert(name, chosen);
    }
    Ok(response)
}

/// Joins the `Connection` headers of a request: a list may have several lines (RFC 9110, 5.3), and the library reads only
/// the first.
fn in_one_line(request: &Request) -> Request {
    let mut request = request.clone();
    let lines = request.headers().get_all(header::CONNECTION).iter();
    let all: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    if let Ok(one) = HeaderValue::from_bytes(&all.join(&b", "[..]))
        && all.len() > 1
    {
        request.headers_mut().insert(header::CONNECTION, one);
    }
    request
}

fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offered = || {
        let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let names = lists.filter_map(|list| list.to_str().ok());
        names.flat_map(|list| list.split(',').map(str::trim))
    };
    SUBPROTOCOLS
        .into_iter()
        .find(|known| offered().any(|name| name == *known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn rules() -> WebSocket {
        WebSocket {
            paths: vec!["/mqtt".to_owned(), "/ws".to_owned()],
            ping: std::time::Duration::ZERO,
            allowed_origins: Some(vec!["https://a.example".to_owned()]),
        }
    }

    /// The response to these bytes, sent in pieces, and the bytes that are left.
    fn answered(bytes: &[u8], piece: usize) -> (String, Option<Vec<u8>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(piece);
            let send = async {
                let (mut read, mut write) = tokio::io::split(&mut theirs);
                let send = async {
                    let _ = write.write_all(bytes).await;
                };
                let mut answer = Vec::new();
                let receive = async {
                    let mut chunk = [0; 64];
                    while let Ok(n) = read.read(&mut chunk).await {
                        answer.extend_from_slice(&chunk[..n]);
                        if n == 0
                            || answer.ends_with(END)
                            || answer.ends_with(b"\n")
                                && answer.contains(&b'4')
                                && !answer.ends_with(b"\r\n")
                        {
                            break;
                        }
                    }
                };
                tokio::join!(send, receive);
                String::from_utf8(answer).unwrap()
            };
            let rules = rules();
            let serve = async { upgrade(&mut ours, &rules).await.ok() };
            let (rest, answer) = tokio::join!(serve, send);
            (answer, rest)
        })
    }

    #[test]
    fn a_valid_request_may_arrive_in_any_pieces() {
        let request = format!("{GOOD}Sec-WebSocket-Protocol: chat, mqttv3.1, mqtt\r\n\r\n");
        for piece in [1, 7, 100, 10_000] {
            let (answer, rest) = answered(request.as_bytes(), piece);
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            let answer = answer.to_ascii_lowercase();
            assert!(
                answer.contains("sec-websocket-protocol: mqtt\r\n"),
                "{answer}"
            );
            assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
            assert_eq!(rest.unwrap(), b"");
        }
        let early = [request.as_bytes(), b"\x82\x80abcd"].concat();
        assert_eq!(answered(&early, 10_000).1.unwrap(), b"\x82\x80abcd");
    }

    #[test]
    fn each_request_has_its_status() {
        let with = |more: &str| format!("{GOOD}{more}\r\n");
        let table = [
            (with(""), "101"),
            (with("Sec-WebSocket-Protocol: mqttv3.1\r\n"), "101"),
            (
                with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: mqtt\r\n"),
                "101",
            ),
            (with("Sec-WebSocket-Protocol: chat\r\n"), "400"),
            (
                with("Connection: Upgrade\r\n").replace(", Upgrade", ""),
                "101",
            ),
            (with("").replace(", Upgrade", ""), "400"),
            (with("Sec-WebSocket-Protocol: MQTT\r\n"), "400"),
            (with("Origin: https://A.example\r\n"), "101"),
            (with("Origin: https://b.example\r\n"), "403"),
            (with("").replace("/mqtt", "/mqtt?token=1"), "101"),
            (with("").replace("/mqtt", "/"), "404"),
            (with("").replace("/mqtt", "/ws"), "101"),
            (with("").replace("13", "8"), "426"),
            (with("").replace("Sec-WebSocket-Key", "X"), "400"),
            (with("").replace("GET", "POST"), "400"),
            (with("").replace("HTTP/1.1", "HTTP/1.0"), "400"),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "404"),
            ("GET /mqtt HTTP/1.1\r\n\r\n".to_owned(), "426"),
            ("\u{10}\u{d}\r\n\r\n".to_owned(), "400"),
            (with(&format!("X: {}\r\n", "x".repeat(15_000))), "101"),
            (with(&format!("X: {}\r\n", "x".repeat(17_000))), "431"),
        ];
        for (request, wanted) in table {
            let (answer, _) = answered(request.as_bytes(), 100_000);
            assert_eq!(answer.get(9..12), Some(wanted), "{request}: {answer}");
        }
    }
}
