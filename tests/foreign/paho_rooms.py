"""Paho for Python in a room, in both protocol versions.

usage: paho_rooms.py HOST PORT

Two clients meet in a room: one speaks 3.1.1, one speaks 5.0. The program ends with 0 where each saw
what docs/protocol.md promises, and with a message and 1 where not.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20  # seconds


class Member:
    """A client whose packets wait in a queue."""

    def __init__(self, name, protocol, server):
        self.events = queue.Queue()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol
        )
        self.client.on_connect = lambda c, u, flags, code, p: self.events.put(("connect", code))
        self.client.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("suback", codes))
        self.client.on_unsubscribe = lambda c, u, mid, codes, p: self.events.put(("unsuback", codes))
        self.client.on_message = lambda c, u, message: self.events.put(("message", message))
        self.client.connect(*server)
        self.client.loop_start()
        self.wait("connect", lambda code: not code.is_failure)

    def wait(self, kind, wanted):
        """The first event of this kind for which wanted says yes."""
        passed = []
        while True:
            try:
                event = self.events.get(timeout=PATIENCE)
            except queue.Empty:
                raise SystemExit(f"no such {kind}; there came {passed}") from None
            if event[0] == kind and wanted(event[1]):
                return event[1]
            passed.append((event[0], getattr(event[1], "topic", event[1])))

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return self.wait("suback", lambda codes: True)

    def message(self, wanted):
        return self.wait("message", wanted)

    def said(self, text):
        return self.message(lambda m: m.payload == text.encode())

    def event(self, what, user):
        def wanted(message):
            if not message.topic.endswith("/_events"):
                return False
            notice = json.loads(message.payload)
            return notice["event"] == what and notice["user"] == user

        return self.message(wanted)

    def vanish(self):
        """As if the cable were cut: no DISCONNECT."""
        self.client.on_disconnect = None
        self.client.socket().close()
        self.client.loop_stop()


def main():
    server = (sys.argv[1], int(sys.argv[2]))
    old = Member("paho-old", mqtt.MQTTv311, server)
    codes = old.subscribe("rooms/lobby/#")
    assert [code.value for code in codes] == [1], codes
    own = old.message(lambda m: m.topic == "rooms/lobby/_presence/~paho-old")
    assert json.loads(own.payload)["state"] == "online"

    new = Member("paho-new", mqtt.MQTTv5, server)
    codes = new.subscribe("rooms/lobby/#", qos=2)
    assert [code.value for code in codes] == [2], codes
    kept = new.message(lambda m: m.topic == "rooms/lobby/_presence/~paho-old")
    assert kept.retain, "the roster is retained"
    old.event("joined", "~paho-new")

    for qos in (0, 1, 2):
        text = f"from 3.1.1 with {qos}"
        old.client.publish("rooms/lobby", text, qos=qos).wait_for_publish(PATIENCE)
        message = new.said(text)
        assert message.qos == qos, message.qos
        properties = dict(message.properties.UserProperty)
        assert properties["from"] == "~paho-old", properties
        assert properties["at"].endswith("Z") and ":" in properties["seq"], properties
        old.said(text)

    forged = Properties(PacketTypes.PUBLISH)
    forged.UserProperty = [("from", "somebody"), ("colour", "red")]
    new.client.publish("rooms/lobby/talk", "from 5.0", qos=1, properties=forged)
    message = new.said("from 5.0")
    assert ("from", "~paho-new") in message.properties.UserProperty
    assert ("colour", "red") in message.properties.UserProperty
    assert ("from", "somebody") not in message.properties.UserProperty
    old.said("from 5.0")

    codes = new.subscribe("rooms/staff/#")
    assert [code.value for code in codes] == [0x87], codes
    old.subscribe("inbox/me/#")
    codes = old.subscribe("rooms/staff/#")
    assert [code.value for code in codes] == [0x80], codes
    error = old.message(lambda m: m.topic == "inbox/me/error")
    assert "staff" in json.loads(error.payload)["reason"]

    new.vanish()
    lost = old.event("lost", "~paho-new")
    assert json.loads(lost.payload)["reason"]
    old.event("left", "~paho-new")
    old.client.unsubscribe("rooms/lobby/#")
    old.wait("unsuback", lambda codes: True)
    old.client.disconnect()
    old.client.loop_stop()


if __name__ == "__main__":
    main()
