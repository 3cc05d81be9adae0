"""deploy/haproxy and deploy/envoy: the programs themselves accept the files, and their limits fit to the service's."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from settings import Settings
from tests.replicas.proxies import DEPLOYED, Envoy, HAProxy
from tests.replicas.replica import PORT

CHECKS = {HAProxy: ("-c", "-f"), Envoy: ("--mode", "validate", "-c")}
ONCE = ("/v1/files", "/v1/batches")
"""Routes that do something else when a request arrives twice."""


@pytest.mark.parametrize("proxy", CHECKS)
def test_the_program_accepts_its_file(proxy: type[HAProxy | Envoy]) -> None:
    program = proxy.program()
    if program is None:
        pytest.skip(str(proxy.missing()))
    done = subprocess.run([program, *CHECKS[proxy], str(proxy.file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("proxy", CHECKS)
def test_it_waits_longer_than_the_service_computes(proxy: type[HAProxy | Envoy]) -> None:
    text = proxy.file.read_text(encoding="utf-8")
    waits = [int(seconds) for seconds in re.findall(r"(?:timeout server|\btimeout:|stream_idle_timeout:) (\d+)s", text)]
    longest = Settings.model_fields["request_timeout_s"].default
    assert [seconds for seconds in waits if seconds > longest], text
    for address in DEPLOYED:
        assert text.count(address) == 1
    assert text.count(str(PORT)) == len(DEPLOYED)
    assert Settings.model_fields["port"].default == PORT


def test_no_proxy_sends_files_or_batches_twice() -> None:
    (rule,) = re.findall(r"disable-l7-retry if { path_beg (.+) }", HAProxy.file.read_text(encoding="utf-8"))
    assert tuple(rule.split()) == ONCE
    (listener,) = yaml.safe_load(Envoy.file.read_text(encoding="utf-8"))["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    first, second = manager["route_config"]["virtual_hosts"][0]["routes"]
    pattern = first["match"]["safe_regex"]["regex"]
    assert all(re.fullmatch(pattern, f"{route}{rest}") for route in ONCE for rest in ("", "/x", "/x/cancel"))
    assert first["route"]["retry_policy"]["retry_on"] == "connect-failure"
    assert "retriable-status-codes" in second["route"]["retry_policy"]["retry_on"]
