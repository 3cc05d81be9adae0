# A layer of imported models over an image of scripts/build_image. The context holds `models`, a BentoML model store.
ARG BASE
FROM ${BASE}
COPY --chown=bentoml:bentoml models /data/models
