"""The service of service.py with the image of image.py, for `bentoml build`."""

from __future__ import annotations

from image import PlatformImage
from service import RerankEmbedding

RerankEmbedding.image = PlatformImage()  # type: ignore[attr-defined]  # the decorator returns a bentoml.Service
