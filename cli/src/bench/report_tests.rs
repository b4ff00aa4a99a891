#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const TIMES: Percentiles = Percentiles {
    count: 10,
    p50: 120.4,
    p90: 150.0,
    p99: 1_234.5,
    max: 2_000.0,
};

fn load(qos: u8, lost: u64) -> LoadReport {
    LoadReport {
        scenario: "fanout",
        rooms: 100,
        members: 10,
        publishers: 1,
        qos,
        payload_bytes: 64,
        seconds: 4.0,
        published_per_s: 100_000.0,
        delivered_per_s: 1_000_000.0,
        owed: 4_000_000,
        delivered: 4_000_000 - lost,
        lost,
        extra: 0,
        out_of_order: 0,
        corrupt: 0,
        unacknowledged: 0,
        refused: 0,
        stalls: 0,
        closed_connections: 0,
        first_failure: None,
        latency_us: TIMES,
        pacer_lag_us: None,
        server: None,
        generator_cores: Some(0.5),
    }
}

fn wrap(report: LoadReport) -> Report {
    Report::Load(Box::new(report))
}

#[test]
fn a_clean_run_is_a_table_and_nothing_else() {
    let text = tables(&[wrap(load(0, 0))]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].starts_with("fanout 100 x 10, QoS 0"));
    assert!(lines[1].contains("1,000,000") && lines[1].contains("1,234"));
    assert_eq!(lines[0].len(), lines[1].len());
}

#[test]
fn every_fault_has_a_warning() {
    let report = LoadReport {
        out_of_order: 2,
        extra: 3,
        corrupt: 4,
        unacknowledged: 5,
        refused: 6,
        stalls: 7,
        closed_connections: 8,
        first_failure: Some("it broke".to_owned()),
        generator_cores: Some(0.99),
        ..load(1, 1)
    };
    let text = tables(&[wrap(report)]);
    for part in [
        "1 of 4,000,000 deliveries were lost",
        "2 deliveries arrived out of order",
        "3 more deliveries",
        "4 deliveries had an unknown payload",
        "5 publishes were not acknowledged",
        "6 publishes were refused",
        "no message arrived for a second, 7 times",
        "8 connections ended early; it broke",
        "generator was at its limit",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn losses_at_qos_0_are_no_failure() {
    assert_eq!(wrap(load(0, 9)).lost_at_qos_1(), 0);
    assert_eq!(wrap(load(1, 9)).lost_at_qos_1(), 9);
    assert_eq!(wrap(load(1, 0)).lost_at_qos_1(), 0);
}

#[test]
fn a_connect_storm_has_its_own_table_and_failure() {
    let storm = StormReport {
        scenario: "connect",
        clients: 5_000,
        connected: 4_999,
        failed: 1,
        first_failure: Some("too many".to_owned()),
        seconds: 1.0,
        connects_per_s: 4_999.0,
        connect_us: TIMES,
        rss_bytes_per_connection: Some(12_288),
        idle_cpu_percent: Some(0.1),
        server: None,
    };
    let text = tables(&[wrap(load(0, 0)), Report::Storm(Box::new(storm))]);
    assert!(
        text.contains("12,288") && text.contains("1 clients failed; the first: too many"),
        "{text}"
    );
    assert_eq!(text.matches("p99 us").count(), 2);
}

#[test]
fn json_is_one_flat_object_a_scenario() {
    let value = serde_json::to_value(wrap(load(1, 0))).unwrap();
    assert_eq!(value["scenario"], "fanout");
    assert_eq!(value["latency_us"]["count"], 10);
    assert!(value["server"].is_null());
}
