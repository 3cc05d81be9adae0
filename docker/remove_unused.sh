#!/usr/bin/env bash
# Removes from the installed packages what the service never uses, and the compiled modules that it rarely imports.
# Runs while the image is built, in the stage that installs the packages. The argument is their folder.
set -euo pipefail
cd "$1"

# What compiling against the packages, or testing them, needs. numpy.testing, which others import, reads a file of numpy's
# tests; triton compiles kernels on a GPU; libraries of ROCm read the other files of torch/share.
rm -rf torch/include torch/share/cmake torch/test openvino/include
find torch/bin -mindepth 1 -not -name torch_shm_manager -delete
find . -type d -name tests -not -path './numpy/*' -prune -exec rm -rf {} +
find . -regextype egrep -type f -not -path './nvidia/*' -not -path './triton/*' \
  -regex '.*\.(a|c|cpp|h|hpp|pxd|pyi|pyx)' -delete

# OpenVINO for other devices, and readers of formats other than its own and PyTorch's.
for name in intel_gpu_plugin intel_npu_plugin {gguf,jax,onnx,paddle,tensorflow,tensorflow_lite}_frontend; do
  rm -f openvino/libs/libopenvino_"$name".so*
done
rm -f openvino/libs/cache.json  # of the plugin for GPUs

# The sources from which transformers generates its modules.
find transformers/models -name 'modular_*.py' -delete

# Symbol tables are needed only to debug: 0.15 GB. Libraries of GPUs, and those that auditwheel copied, stay as they are.
if command -v strip >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends binutils; }; then
  find . -name '*.so' -not -path '*.libs/*' -not -path './nvidia/*' -not -path './torch/lib/*' \
    -exec strip --strip-unneeded {} +
  strip --strip-unneeded torch/lib/libtorch_{cpu,python}.so
else
  echo "binutils cannot be installed: the image is 0.15 GB larger than it has to be." >&2
fi

# The service cannot compile modules in a read-only container. All of them were compiled when they were installed; those
# that neither the service nor an import or a command loads take 0.2 GB.
../../../bin/python - <<'PYTHON'
import importlib
import importlib.util
import pathlib
import sys

MODELS = "bert deberta_v2 distilbert eurobert gemma3 modernbert mpnet qwen2 qwen3 roberta t5 xlm_roberta"
for name in """
    _bentoml_impl.server.serving _bentoml_impl.worker.service bentoml_cli.cli
    uvicorn.protocols.http.httptools_impl uvloop opentelemetry.exporter.otlp.proto.http.trace_exporter
    typer.rich_utils rich.progress cohere
    torch.export torch.nn.attention.varlen
    peft sentence_transformers fugashi sentencepiece unidic_lite
""".split():
    importlib.import_module(name)
if importlib.util.find_spec("openvino"):  # not in the images for GPUs
    import openvino.opset13
    import openvino.tools.ovc.convert_impl
for model in MODELS.split():
    importlib.import_module(f"transformers.models.{model}.modeling_{model}")

specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
loaded = {getattr(spec, "cached", None) for spec in specs}
for compiled in pathlib.Path.cwd().rglob("*.pyc"):
    if str(compiled) not in loaded:
        compiled.unlink()
PYTHON
