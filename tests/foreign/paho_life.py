"""What clients live through, with paho-mqtt (1.6 or 2, whichever is imported).

usage: paho_life.py VERSION TRANSPORT HOST PORT CA

VERSION is 3.1.1 or 5.0, TRANSPORT is tcp, tls, ws or wss. Ends with 0 where each client saw what docs/reference
promises, and with a message and 1 where not. The server has a room, staff, that nobody here may join, and a short
grace period.
"""

import json
import sys

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho_member import VERSIONS, Member, Place


def in_a_room(place, version, tag):
    """Roster, notices, QoS 0, 1 and 2, stamps, a retained message, refusals."""
    room = f"rooms/{tag}"
    first = Member(place, f"{tag}-first", version)
    assert first.subscribe(f"{room}/#", 2) == [2]
    own = first.message(lambda m: m.topic == f"{room}/_presence/~{tag}-first")
    assert json.loads(own.payload)["state"] == "online"
    other = [name for name in VERSIONS if name != version][0]
    second = Member(place, f"{tag}-second", other)
    assert second.subscribe(f"{room}/#", 2) == [2]
    roster = second.message(lambda m: m.topic == f"{room}/_presence/~{tag}-first")
    assert roster.retain, "the roster is retained"
    first.event("joined", f"~{tag}-second")

    for sender, hearer in ((first, second), (second, first)):
        for qos in (0, 1, 2):
            text = f"{sender.name} {qos}"
            more = {}
            if sender.v5:
                more["properties"] = Properties(PacketTypes.PUBLISH)
                more["properties"].UserProperty = [("from", "somebody"), ("colour", "red")]
            sender.publish(room, text, qos=qos, **more)
            message = hearer.said(text)
            assert message.qos == qos, message.qos
            sender.said(text)
            if hearer.v5:
                stamps = message.properties.UserProperty
                assert ("from", f"~{sender.name}") in stamps and ("from", "somebody") not in stamps, stamps
                assert (("colour", "red") in stamps) == sender.v5, stamps
                assert dict(stamps)["at"].endswith("Z") and ":" in dict(stamps)["seq"], stamps

    first.publish(f"{room}/sign", "kept", qos=1, retain=True)
    assert not second.said("kept").retain
    second.subscribe(f"{room}/sign")
    assert second.said("kept").retain
    first.publish(f"{room}/sign", "", qos=1, retain=True)

    for member in (first, second):
        if member.v5:
            assert member.subscribe("rooms/staff/#") == [0x87]
        else:
            member.subscribe("inbox/me/#")
            assert member.subscribe("rooms/staff/#") == [0x80]
            error = member.message(lambda m: m.topic == "inbox/me/error")
            assert "staff" in json.loads(error.payload)["reason"]
    for member in (first, second):
        member.unsubscribe(f"{room}/#")
        member.leave()


def a_loss(place, version, tag):
    """A will, and what the room hears."""
    watcher = Member(place, f"{tag}-watcher", version)
    watcher.subscribe(f"rooms/{tag}/#")
    doomed = Member(place, f"{tag}-doomed", version, will=(f"rooms/{tag}/will", "farewell"))
    doomed.subscribe(f"rooms/{tag}/#")
    watcher.event("joined", f"~{tag}-doomed")
    doomed.vanish()
    # The two come in any order.
    seen = set()
    while len(seen) < 2:
        message = watcher.message(lambda m: m.payload == b"farewell" or b'"lost"' in m.payload)
        seen.add(message.topic)
    assert f"rooms/{tag}/will" in seen, seen
    watcher.event("left", f"~{tag}-doomed")
    watcher.leave()


def away_and_back(place, version, tag):
    """A kept session: what comes meanwhile is there once and in order, after leaving and after a loss."""
    sender = Member(place, f"{tag}-sender", version)

    def send(topic, start):
        for n in range(start, start + 20):
            sender.publish(topic, str(n), qos=1 + n % 2)

    def check(member, topic, start):
        sender.publish(topic, f"end {start}", qos=2)
        got = [int(text) for where, text in member.said_until(f"end {start}") if where == topic]
        # paho shows a QoS 2 message when it is released, so QoS 1 ones may overtake it there.
        for parity in (0, 1):
            assert [n for n in got if n % 2 == parity] == list(range(start + parity, start + 20, 2)), got

    for topic in (f"away/{tag}", f"rooms/{tag}/away"):
        name = f"{tag}-{topic.split('/')[0]}"
        member = Member(place, name, version, keep=True)
        assert not member.present
        member.subscribe(topic, 2)
        member.leave()
        send(topic, 0)
        member = Member(place, name, version, keep=True)
        assert member.present
        check(member, topic, 0)
        member.vanish()
        send(topic, 100)
        member = Member(place, name, version, keep=True)
        assert member.present
        check(member, topic, 100)
        # paho's own way back.
        member.cut()
        member.wait("disconnect")
        send(topic, 200)
        member.connected()
        assert member.present
        check(member, topic, 200)
        member.leave()
        member = Member(place, name, version)
        assert not member.present, "a clean start ends it"
        member.leave()
    sender.leave()


def shared_out(place, version, tag):
    """Two members of a shared subscription have each message once between them."""
    members = [Member(place, f"{tag}-{name}", version) for name in ("one", "two")]
    for member in members:
        # One lane: the end comes after all before it.
        assert member.subscribe(f"$share/team/jobs/{tag}/work", 2) == [2]
        assert member.subscribe(f"jobs/{tag}/end", 2) == [2]
    sender = Member(place, f"{tag}-boss", version)
    for n in range(20):
        sender.publish(f"jobs/{tag}/work", str(n), qos=2)
    sender.publish(f"jobs/{tag}/end", "end", qos=2)
    got = [[int(text) for _, text in member.said_until("end")] for member in members]
    assert all(got), got
    assert sorted(got[0] + got[1]) == list(range(20)), got
    for member in (*members, sender):
        member.leave()


def main():
    version, transport, host, port, ca = sys.argv[1:]
    place = Place(transport, host, port, ca)
    for life in (in_a_room, a_loss, away_and_back, shared_out):
        tag = f"{life.__name__}-{version}-{transport}".replace("_", "-")
        life(place, version, tag)
        print(f"{life.__name__}: well", flush=True)


if __name__ == "__main__":
    main()
