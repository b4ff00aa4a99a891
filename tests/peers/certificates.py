"""A CA and a server's certificate for 127.0.0.1, made by `openssl` for one run."""

import pathlib
import shutil
import subprocess

CA, CERTIFICATE, KEY = "ca.pem", "server.pem", "server.key"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make(directory: pathlib.Path) -> None:
    """Writes CA, CERTIFICATE and KEY below `directory`: ECDSA on P-256, good for two days."""
    if not shutil.which("openssl"):
        raise RuntimeError("certificates for TLS are made by openssl, and it is not installed")
    _openssl(directory, "req", "-x509", *_CURVE, "-keyout", "ca.key", "-out", CA, "-days", "2",
             "-subj", "/CN=tests of RoomMQ", "-addext", "keyUsage=critical,keyCertSign")
    _openssl(directory, "req", "-new", *_CURVE, "-keyout", KEY, "-out", "server.csr", "-subj", "/CN=localhost")
    (directory / "server.ext").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n")
    _openssl(directory, "x509", "-req", "-in", "server.csr", "-CA", CA, "-CAkey", "ca.key", "-CAcreateserial",
             "-out", CERTIFICATE, "-days", "2", "-extfile", "server.ext")
    # A mosquitto that was started by root reads them as somebody else.
    directory.chmod(0o755)
    for name in (CERTIFICATE, KEY):
        (directory / name).chmod(0o644)


def _openssl(directory: pathlib.Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()[-500:]}")
