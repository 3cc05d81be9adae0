# Adds imported models to an image of scripts/build_image. The build context contains `models`, a BentoML model store.
ARG BASE
FROM ${BASE}
COPY --chown=bentoml:bentoml models /data/models
