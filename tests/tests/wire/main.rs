//! MQTT and rooms on the wire, against a server in a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod access;
mod authentication;
mod bridges;
mod command_line;
mod command_line_tls;
mod config_cli;
mod connect;
mod hostile;
mod inbox;
mod jwt;
mod jwt_rights;
mod keep_alive;
mod limits;
mod listeners;
mod log_output;
mod logins;
mod offline_memory;
mod offline_sessions;
mod order;
mod outbound;
mod passwd;
mod payload_format;
mod peer_limits;
mod presence;
mod proxy;
mod pubsub;
mod reached;
mod refusal;
mod reload;
mod replays;
mod retained;
mod room_limits;
mod rooms;
mod rumqttc_client;
mod rumqttc_life;
mod shared;
mod shared_crashes;
mod shutdown;
mod small_device;
mod small_device_life;
mod spanning_filters;
mod stamps;
mod strict;
mod subscriptions;
mod sys;
mod takeover;
mod tls;
mod token_command;
mod transports;
mod unix;
mod websocket;
mod wills;

/// With one lane all topics have one order, so a later message proves that no other came before it.
const ONE_LANE: &str = "[lanes]\ncount = 1\n";
