"""What `bentoml build` packs and `bentoml serve` runs: the service of service.py with the image of image.py."""

from __future__ import annotations

from image import PlatformImage
from service import RerankEmbedding

RerankEmbedding.image = PlatformImage()  # type: ignore[attr-defined]  # the decorator makes a bentoml.Service of it
