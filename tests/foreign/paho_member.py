"""A client of paho-mqtt, 1.6 or 2, whose events wait in a queue."""

import json
import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20  # seconds
VERSIONS = {"3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


class Place:
    """Where the server is: transport is tcp, tls, ws or wss; ca, a file, counts for the ones with TLS."""

    def __init__(self, transport, host, port, ca):
        self.transport, self.address, self.ca = transport, (host, int(port)), ca


class Member:
    """Connects; present says whether there was a session."""

    def __init__(self, place, name, version, keep=False, will=None):
        self.events = queue.Queue()
        self.name, self.v5 = name, version == "5.0"
        arguments = {"client_id": name, "protocol": VERSIONS[version]}
        if hasattr(mqtt, "CallbackAPIVersion"):
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        if not self.v5:
            arguments["clean_session"] = not keep
        if place.transport in ("ws", "wss"):
            arguments["transport"] = "websockets"
        self.client = client = mqtt.Client(**arguments)
        if place.transport in ("tls", "wss"):
            client.tls_set(ca_certs=place.ca)
        if place.transport in ("ws", "wss"):
            client.ws_set_options(path="/mqtt")
        if will:
            client.will_set(*will, qos=1)
        # Callbacks have more arguments in 5.0, and other ones in paho-mqtt 2.
        client.on_connect = lambda c, u, flags, code, *_: self.put("connect", (flags, code))
        client.on_subscribe = lambda c, u, mid, codes, *_: self.put("suback", numbers(codes))
        client.on_unsubscribe = lambda *_: self.put("unsuback", None)
        client.on_message = lambda c, u, message: self.put("message", message)
        client.on_disconnect = lambda *_: self.put("disconnect", None)
        more = {}
        if self.v5:
            more["properties"] = Properties(PacketTypes.CONNECT)
            more["properties"].SessionExpiryInterval = 3600 if keep else 0
            more["clean_start"] = not keep
        client.connect(*place.address, **more)
        client.loop_start()
        self.connected()

    def put(self, kind, value):
        self.events.put((kind, value))

    def connected(self):
        flags, code = self.wait("connect")
        assert numbers([code]) == [0], code
        self.present = bool(getattr(flags, "session_present", None) or
                            (isinstance(flags, dict) and flags["session present"]))

    def wait(self, kind, wanted=lambda value: True):
        """The first event of this kind for which wanted says yes."""
        passed = []
        while True:
            try:
                event = self.events.get(timeout=PATIENCE)
            except queue.Empty:
                raise SystemExit(f"{self.name}: no such {kind}; there came {passed}") from None
            if event[0] == kind and wanted(event[1]):
                return event[1]
            passed.append((event[0], getattr(event[1], "topic", event[1])))

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return self.wait("suback")

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        self.wait("unsuback")

    def publish(self, topic, text, **more):
        self.client.publish(topic, text, **more).wait_for_publish(PATIENCE)

    def message(self, wanted):
        return self.wait("message", wanted)

    def said(self, text):
        return self.message(lambda m: m.payload == text.encode())

    def said_until(self, text):
        """Topics and payloads that came before this payload."""
        got = []
        while True:
            message = self.message(lambda m: "/_" not in m.topic)
            if message.payload == text.encode():
                return got
            got.append((message.topic, message.payload.decode()))

    def event(self, what, user):
        def wanted(message):
            if not message.topic.endswith("/_events"):
                return False
            notice = json.loads(message.payload)
            return notice["event"] == what and notice["user"] == user

        return self.message(wanted)

    def leave(self):
        """DISCONNECT."""
        self.client.disconnect()
        self.wait("disconnect")
        self.client.loop_stop()

    def cut(self):
        """As if the cable were cut: no DISCONNECT. The client will connect again by itself."""
        # For reading only: paho-mqtt 1.6 over TLS does not survive an error when it writes.
        self.shut(socket.SHUT_RD)

    def vanish(self):
        """The same, and it will not."""
        self.client.loop_stop()
        self.shut(socket.SHUT_RDWR)

    def shut(self, how):
        with socket.socket(fileno=socket.dup(self.client.socket().fileno())) as cable:
            cable.shutdown(how)


def numbers(codes):
    """Codes as they were on the wire, whatever paho makes of them."""
    return [getattr(code, "value", code) for code in codes]
