"""A proxy that refuses all requests, and remembers the hosts to which they should have gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


@contextmanager
def refusing_proxy() -> Iterator[tuple[str, set[str]]]:
    """URL of the proxy, and the hosts that were asked for during the block."""
    hosts: set[str] = set()

    class Refuse(StreamRequestHandler):
        def handle(self) -> None:
            target = self.rfile.readline().decode("latin-1").split()[1]
            hosts.add(urlsplit(target if "//" in target else f"//{target}").hostname or target)
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    server = ThreadingTCPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, name="refusing proxy", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", hosts
    finally:
        server.shutdown()
        server.server_close()
