"""Debian's mosquitto broker, unpacked aside: the package itself would start a service on port 1883."""

import os
import pathlib
import re
import shutil
import subprocess

TRIPLET_DIRS = ("usr/lib", "lib")


class NoBroker(Exception):
    """The broker could not be had; the text says what to do."""


def mosquitto(cache: pathlib.Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a broker unpacked below `cache` (made at the first call)."""
    root = cache / "mosquitto"
    binary = root / "usr/sbin/mosquitto"
    if not binary.exists():
        _unpack("mosquitto", cache, root)
    for _ in range(4):  # a library may need another one
        missing = _missing_libraries(binary, root)
        if not missing:
            return [str(binary)], {"LD_LIBRARY_PATH": _library_path(root)}
        for soname in missing:
            _unpack(_package_of(soname), cache, root)
    raise NoBroker(f"{binary} still needs {', '.join(missing)}")


def version(binary: str, env: dict[str, str]) -> str:
    """Such as 2.0.11."""
    done = subprocess.run([binary, "-h"], env={**os.environ, **env}, capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+)", done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def _library_path(root: pathlib.Path) -> str:
    found = {path.parent for top in TRIPLET_DIRS for path in (root / top).glob("**/*.so*")}
    return ":".join(sorted(str(path) for path in found))


def _missing_libraries(binary: pathlib.Path, root: pathlib.Path) -> list[str]:
    env = {**os.environ, "LD_LIBRARY_PATH": _library_path(root)}
    listed = subprocess.run(["ldd", str(binary)], env=env, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if "not found" in line]


def _package_of(soname: str) -> str:
    """Debian names a library's package after its soname: libdlt.so.2 is in libdlt2."""
    match = re.fullmatch(r"(.+)\.so\.(\d+)", soname)
    if not match:
        raise NoBroker(f"no Debian package is known for {soname}")
    name, number = match.groups()
    return f"{name}-{number}" if name[-1].isdigit() else f"{name}{number}"


def _unpack(package: str, cache: pathlib.Path, root: pathlib.Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NoBroker("the comparison needs Debian's mosquitto (apt-get and dpkg); --without-mosquitto leaves it out")
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob(f"{package}_*.deb")):
        done = subprocess.run(["apt-get", "download", package], cwd=cache, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoBroker(
                f"apt-get download {package} failed; `apt-get update` (as root) may help, "
                f"--without-mosquitto leaves it out\n{done.stderr.strip()}"
            )
    archive = max(cache.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
