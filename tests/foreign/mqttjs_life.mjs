// What clients live through, with MQTT.js.
//
// usage: mqttjs_life.mjs VERSION TRANSPORT URL CA
//
// VERSION is 3.1.1 or 5.0. Ends with 0 where each client saw what docs/reference promises, and with a message and
// 1 where not. The server has a room, staff, that nobody here may join, and a short grace period.

import assert from 'node:assert/strict';
import { Member, VERSIONS } from './mqttjs_member.mjs';

const range = (start, end, step = 1) =>
  Array.from({ length: Math.ceil((end - start) / step) }, (_, n) => start + n * step);

/** Roster, notices, QoS 0, 1 and 2, stamps, a retained message, refusals. */
async function inARoom(place, version, tag) {
  const room = `rooms/${tag}`;
  const first = await Member.connect(place, `${tag}-first`, version);
  assert.deepEqual(await first.subscribe(`${room}/#`, 2), [2]);
  const own = await first.message((m) => m.topic === `${room}/_presence/~${tag}-first`);
  assert.equal(JSON.parse(own.text).state, 'online');
  const other = Object.keys(VERSIONS).find((name) => name !== version);
  const second = await Member.connect(place, `${tag}-second`, other);
  assert.deepEqual(await second.subscribe(`${room}/#`, 2), [2]);
  const roster = await second.message((m) => m.topic === `${room}/_presence/~${tag}-first`);
  assert(roster.packet.retain, 'the roster is retained');
  await first.event('joined', `~${tag}-second`);

  for (const [sender, hearer] of [[first, second], [second, first]]) {
    for (const qos of [0, 1, 2]) {
      const text = `${sender.name} ${qos}`;
      const forged = { userProperties: { from: 'somebody', colour: 'red' } };
      await sender.publish(room, text, { qos, ...(sender.v5 && { properties: forged }) });
      const message = await hearer.said(text);
      assert.equal(message.packet.qos, qos);
      await sender.said(text);
      if (hearer.v5) {
        const { from, at, seq, colour } = message.packet.properties.userProperties;
        assert.equal(from, `~${sender.name}`);
        assert.equal(colour, sender.v5 ? 'red' : undefined);
        assert(at.endsWith('Z') && seq.includes(':'), `${at} ${seq}`);
      }
    }
  }

  await first.publish(`${room}/sign`, 'kept', { qos: 1, retain: true });
  assert(!(await second.said('kept')).packet.retain);
  await second.subscribe(`${room}/sign`);
  assert((await second.said('kept')).packet.retain);
  await first.publish(`${room}/sign`, '', { qos: 1, retain: true });

  for (const member of [first, second]) {
    if (member.v5) {
      assert.deepEqual(await member.subscribe('rooms/staff/#'), [0x87]);
    } else {
      await member.subscribe('inbox/me/#');
      assert.deepEqual(await member.subscribe('rooms/staff/#'), [0x80]);
      const error = await member.message((m) => m.topic === 'inbox/me/error');
      assert(JSON.parse(error.text).reason.includes('staff'), error.text);
    }
  }
  for (const member of [first, second]) {
    await member.unsubscribe(`${room}/#`);
    await member.leave();
  }
}

/** A will, and what the room hears. */
async function aLoss(place, version, tag) {
  const watcher = await Member.connect(place, `${tag}-watcher`, version);
  await watcher.subscribe(`rooms/${tag}/#`);
  const will = { topic: `rooms/${tag}/will`, payload: 'farewell' };
  const doomed = await Member.connect(place, `${tag}-doomed`, version, { will });
  await doomed.subscribe(`rooms/${tag}/#`);
  await watcher.event('joined', `~${tag}-doomed`);
  doomed.cut();
  // The two come in any order.
  const seen = new Set();
  while (seen.size < 2) {
    const message = await watcher.message((m) => m.text === 'farewell' || m.text.includes('"lost"'));
    seen.add(message.topic);
  }
  assert(seen.has(will.topic), [...seen].join());
  await watcher.event('left', `~${tag}-doomed`);
  await watcher.leave();
}

/** A kept session: what comes meanwhile is there once and in order, after leaving and after a loss. */
async function awayAndBack(place, version, tag) {
  const sender = await Member.connect(place, `${tag}-sender`, version);
  const send = async (topic, start) => {
    for (const n of range(start, start + 20)) await sender.publish(topic, `${n}`, { qos: 1 + (n % 2) });
  };
  const check = async (member, topic, start) => {
    await sender.publish(topic, `end ${start}`, { qos: 2 });
    const got = (await member.saidUntil(topic, `end ${start}`)).map(Number);
    // MQTT.js shows a QoS 2 message when it is released, so QoS 1 ones may overtake it there.
    for (const parity of [0, 1]) {
      assert.deepEqual(got.filter((n) => n % 2 === parity), range(start + parity, start + 20, 2));
    }
  };
  for (const topic of [`away/${tag}`, `rooms/${tag}/away`]) {
    const name = `${tag}-${topic.split('/')[0]}`;
    let member = await Member.connect(place, name, version, { keep: true });
    assert(!member.present);
    await member.subscribe(topic, 2);
    await member.leave();
    await send(topic, 0);
    member = await Member.connect(place, name, version, { keep: true });
    assert(member.present);
    await check(member, topic, 0);
    member.cut();
    await send(topic, 100);
    // MQTT.js's own way back.
    member = await Member.connect(place, name, version, { keep: true, reconnect: 1 });
    assert(member.present);
    await check(member, topic, 100);
    member.cut();
    await member.connected();
    assert(member.present);
    await send(topic, 200);
    await check(member, topic, 200);
    await member.leave();
    member = await Member.connect(place, name, version);
    assert(!member.present, 'a clean start ends it');
    await member.leave();
  }
  await sender.leave();
}

/** Both ends lose their connections in the midst of QoS 2 messages, again and again; each comes once. */
async function cutShort(place, version, tag) {
  const options = { keep: true, reconnect: 1 };
  const hearer = await Member.connect(place, `${tag}-hearer`, version, options);
  const sender = await Member.connect(place, `${tag}-sender`, version, options);
  const topic = `rooms/${tag}/cut`;
  await hearer.subscribe(topic, 2);
  const sent = [];
  for (const n of range(0, 60)) {
    sent.push(sender.publish(topic, `${n}`, { qos: 2 }));
    if (n % 20 === 5) hearer.cut();
    if (n % 20 === 15) {
      sender.cut();
      await sender.connected();
      assert(sender.present);
    }
  }
  await Promise.all(sent);
  await sender.publish(topic, 'end', { qos: 2 });
  const got = (await hearer.saidUntil(topic, 'end')).map(Number);
  assert.deepEqual(got.sort((a, b) => a - b), range(0, 60));
  await Promise.all([hearer.leave(), sender.leave()]);
}

/** Two members of a shared subscription have each message once between them. */
async function sharedOut(place, version, tag) {
  const work = `jobs/${tag}/work`;
  const members = [];
  for (const name of ['one', 'two']) {
    const member = await Member.connect(place, `${tag}-${name}`, version);
    // One lane: the end comes after all before it.
    assert.deepEqual(await member.subscribe(`$share/team/${work}`, 2), [2]);
    assert.deepEqual(await member.subscribe(`jobs/${tag}/end`, 2), [2]);
    members.push(member);
  }
  const sender = await Member.connect(place, `${tag}-boss`, version);
  for (const n of range(0, 20)) await sender.publish(work, `${n}`, { qos: 2 });
  await sender.publish(`jobs/${tag}/end`, 'end', { qos: 2 });
  const got = [];
  for (const member of members) {
    const own = await member.saidUntil(work, 'end');
    assert(own.length > 0);
    got.push(...own.map(Number));
  }
  assert.deepEqual(got.sort((a, b) => a - b), range(0, 20));
  await Promise.all([...members, sender].map((member) => member.leave()));
}

const [version, transport, url, ca] = process.argv.slice(2);
for (const life of [inARoom, aLoss, awayAndBack, cutShort, sharedOut]) {
  const tag = `${life.name}-${version}-${transport}`;
  await life({ url, ca }, version, tag);
  console.log(`${life.name}: well`);
}
