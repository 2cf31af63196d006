# `askmask serve` on the processor, as a user without rights. Keys are needed: it listens to other machines.
#
#   docker build -t askmask .
#   docker run -p 127.0.0.1:7860:7860 -v askmask:/data -v "$PWD/keys.txt:/run/askmask/keys.txt:ro" askmask

FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY askmask ./askmask
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# Letters of overlays: what no font has is named in brackets.
RUN apt-get update \
 && apt-get install -y --no-install-recommends fonts-dejavu-core fonts-noto-cjk \
 && rm -rf /var/lib/apt/lists/*
# PyTorch's builds without CUDA: a tenth of the size.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" "$(echo /wheels/askmask-*.whl)[serve]" \
 && rm -r /wheels
RUN useradd --create-home --uid 10001 askmask && mkdir /data && chown askmask /data
USER askmask
ENV ASKMASK_CACHE=/data/cache
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
ENTRYPOINT ["askmask", "serve", "--host", "0.0.0.0", "--data", "/data/serve", "--keys", "/run/askmask/keys.txt"]
