"""Everything about importing one model. importer.py is the whole journey; child.py runs it in a child process.

locate (registration.py, download.py, hub_cache.py) -> convert (conversion/) -> verify.py -> register -> export
(openvino_export.py, in a process of its own by export_child.py). Nothing that serves imports this package, apart from
service.py.
"""

import runners.backends  # noqa: F401  # before anything imports openvino, so that it reports nothing to its makers
