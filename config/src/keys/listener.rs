//! Keys of a `[[listener]]`.

use super::key::{Key, LARGEST_PACKET, SMALLEST_PACKET, key};
use crate::settings::{
    ClientCertificates, Endpoint, IpNetwork, ListenerLimits, Transport, UserFrom,
};
use crate::value::time::{HOUR, MILLISECOND};
use std::path::PathBuf;
use std::time::Duration;

/// The values of a `[[listener]]`, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerDraft {
    pub bind: Option<Endpoint>,
    pub transport: Transport,
    pub path: Option<PathBuf>,
    pub mode: Option<u32>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    pub user_from: UserFrom,
    pub tls_record_bytes: Option<u16>,
    pub ws_path: Option<Vec<String>>,
    pub allowed_origins: Option<Vec<String>>,
    pub ws_ping: Option<Duration>,
    pub proxy_protocol: bool,
    pub trusted_proxies: Option<Vec<IpNetwork>>,
    pub limits: ListenerLimits,
}

pub(crate) static LISTENER: &[Key<ListenerDraft>] = &[
    key!("listener.bind" => bind?: address),
    key!("listener.transport" => transport: word),
    key!("listener.path" => path?: path),
    key!("listener.mode" => mode?: mode),
    key!("listener.certificate" => certificate?: path),
    key!("listener.key" => key?: path),
    key!("listener.client_ca" => client_ca?: path),
    key!("listener.client_certificates" => client_certificates: word),
    key!("listener.user_from_certificate" => user_from: word),
    key!("listener.tls_record_bytes" => tls_record_bytes?: number, 512..=16_384),
    key!("listener.ws_path" => ws_path?: url_paths),
    key!("listener.allowed_origins" => allowed_origins?: origin),
    key!("listener.ws_ping" => ws_ping?: time, Duration::ZERO..=HOUR),
    key!("listener.proxy_protocol" => proxy_protocol: switch),
    key!("listener.trusted_proxies" => trusted_proxies?: networks),
    key!("listener.connections" => limits.connections?: number, 1..=10_000_000),
    key!("listener.connect_rate" => limits.connect_rate?: number, 1..=1_000_000),
    key!("listener.handshake_time" => limits.handshake_time?: time, 10 * MILLISECOND..=HOUR),
    key!("listener.packet_bytes" => limits.packet_bytes?: size, SMALLEST_PACKET..=LARGEST_PACKET),
];
