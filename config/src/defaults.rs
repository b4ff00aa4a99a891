//! Built-in defaults as values. `default.toml` has the same ones; a test compares the two.

use crate::settings::{
    AuthSettings, Endpoint, JwtSettings, Lanes, Limits, Listener, ListenerLimits, LogFormat,
    LogSettings, Permission, PresenceSettings, RoomCreation, RoomSettings, Settings, SysReaders,
    SysSettings, TopicSettings,
};
use std::net::SocketAddr;
use std::time::Duration;

impl Default for Settings {
    /// One listener on 127.0.0.1:1883, no rules, and the default of each section.
    fn default() -> Self {
        Settings {
            listeners: vec![Listener::default()],
            auth: AuthSettings::default(),
            jwt: JwtSettings::default(),
            topics: TopicSettings::default(),
            access_rules: Vec::new(),
            room_rules: Vec::new(),
            rooms: RoomSettings::default(),
            presence: PresenceSettings::default(),
            limits: Limits::default(),
            lanes: Lanes::default(),
            sys: SysSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Listener {
            at: Endpoint::Address(SocketAddr::from(([127, 0, 0, 1], 1883))),
            tls: None,
            websocket: None,
            proxy_protocol: false,
            trusted_proxies: None,
            limits: ListenerLimits::default(),
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings {
            anonymous: true,
            users_file: None,
            scram_iterations: 16_384,
        }
    }
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings {
            outside_rooms: Permission::Allow,
            dollar: Permission::Allow,
        }
    }
}

impl Default for RoomSettings {
    fn default() -> Self {
        RoomSettings {
            create: RoomCreation::Anyone,
            per_user: 100,
            empty_after: Duration::from_mins(5),
            info_interval: Duration::from_secs(1),
            changes: 10,
        }
    }
}

impl Default for PresenceSettings {
    fn default() -> Self {
        PresenceSettings {
            grace: Duration::from_secs(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1_000_000,
            connections_per_address: 0,
            connections_per_user: 0,
            connects_per_address: 0,
            connects_per_user: 0,
            flapping: 0,
            packet_bytes: 1 << 20,
            outbox_bytes: 4 << 20,
            outbox_messages: 10_000,
            inflight: 1_000,
            subscriptions: 1_000,
            spanning_subscriptions: 100,
            shared_subscriptions: 100,
            subscription_bytes: 1 << 20,
            topic_levels: 128,
            user_properties: 100,
            will_bytes: 128 << 10,
            retained: 1_000_000,
            retained_bytes: 1 << 30,
            topic_aliases: 10,
            rooms: 1_000_000,
            room_retained: 1_000,
            connect_time: Duration::from_secs(10),
            packet_time: Duration::from_secs(10),
            packet_pace: 512,
            packet_longest: Duration::from_mins(10),
            write_pace: 512,
            write_stall: Duration::from_secs(10),
            message_rate: 0,
            byte_rate: 0,
            keep_alive_default: Duration::ZERO,
            keep_alive: Duration::from_secs(65_535),
            session_expiry: None,
            kept_sessions: 100_000,
            kept_bytes: 1 << 30,
            queue_age: Duration::from_hours(7 * 24),
            shutdown_time: Duration::from_secs(5),
            password_checks: 2,
            password_cache: 100_000,
            login_time: Duration::from_mins(2),
            login_queue: 10_000,
            login_failures: 5,
            login_failures_address: 20,
            login_failures_user: 60,
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes {
            count: 16,
            keepers: 0,
            io_threads: 0,
            credit_bytes: 16 << 10,
        }
    }
}

impl Default for SysSettings {
    fn default() -> Self {
        SysSettings {
            interval: Duration::from_secs(10),
            read: SysReaders::Anyone,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            level: "info".to_owned(),
            format: LogFormat::Human,
            file: None,
        }
    }
}
