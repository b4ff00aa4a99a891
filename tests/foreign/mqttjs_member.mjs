// A client of MQTT.js whose events wait in a queue.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const PATIENCE = 20_000; // milliseconds

/** The protocol versions, as MQTT.js numbers them. */
export const VERSIONS = { '3.1.1': 4, '5.0': 5 };

export class Member {
  #events = [];
  #wake = () => {};

  /** Connects. `place` has a url and, for TLS, a ca file; `reconnect` is after how many milliseconds, 0 for never. */
  static async connect(place, name, version, { keep = false, will, reconnect = 0 } = {}) {
    const member = new Member();
    member.name = name;
    member.v5 = version === '5.0';
    const expiry = { sessionExpiryInterval: keep ? 3600 : 0 };
    member.client = mqtt.connect(place.url, {
      clientId: name,
      protocolVersion: VERSIONS[version],
      clean: !keep,
      reconnectPeriod: reconnect,
      connectTimeout: PATIENCE,
      ...(place.ca && { ca: readFileSync(place.ca) }),
      ...(will && { will: { qos: 1, retain: false, ...will } }),
      ...(member.v5 && { properties: expiry }),
    });
    member.client.on('connect', (packet) => member.#put('connect', packet));
    member.client.on('message', (topic, payload, packet) =>
      member.#put('message', { topic, text: payload.toString(), packet }));
    member.client.on('packetreceive', (packet) => {
      if (packet.cmd === 'suback') member.#put('suback', packet.granted);
    });
    member.client.on('close', () => member.#put('close', null));
    member.client.on('error', (error) => member.#put('error', error));
    await member.connected();
    return member;
  }

  #put(kind, value) {
    this.#events.push([kind, value]);
    this.#wake();
  }

  async connected() {
    this.present = (await this.wait('connect')).sessionPresent;
  }

  /** The first event of this kind for which `wanted` says yes. */
  async wait(kind, wanted = () => true) {
    const passed = [];
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      while (this.#events.length > 0) {
        const [came, value] = this.#events.shift();
        if (came === kind && wanted(value)) return value;
        passed.push([came, value?.topic ?? value?.message ?? value?.cmd]);
      }
      let timer;
      await new Promise((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, deadline - Date.now());
      });
      clearTimeout(timer);
      const late = Date.now() >= deadline;
      assert(!late, `${this.name}: no such ${kind}; there came ${JSON.stringify(passed)}`);
    }
  }

  /** The codes of the SUBACK as they were on the wire: MQTT.js makes errors of some. */
  async subscribe(topic, qos = 1) {
    this.client.subscribe(topic, { qos }, () => {});
    return this.wait('suback');
  }

  unsubscribe(topic) {
    return this.client.unsubscribeAsync(topic);
  }

  publish(topic, text, options) {
    return this.client.publishAsync(topic, text, options);
  }

  message(wanted) {
    return this.wait('message', wanted);
  }

  said(text) {
    return this.message((m) => m.text === text);
  }

  /** Payloads on this topic that came before the one with this text. */
  async saidUntil(topic, text) {
    const got = [];
    for (;;) {
      const message = await this.message((m) => !m.topic.includes('/_'));
      if (message.text === text) return got;
      if (message.topic === topic) got.push(message.text);
    }
  }

  event(what, user) {
    return this.message((m) => {
      if (!m.topic.endsWith('/_events')) return false;
      const notice = JSON.parse(m.text);
      return notice.event === what && notice.user === user;
    });
  }

  /** DISCONNECT. */
  leave() {
    return this.client.endAsync();
  }

  /** As if the cable were cut: no DISCONNECT. */
  cut() {
    this.client.stream.destroy();
  }
}
