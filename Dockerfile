# Search your own videos, on a CPU:
#
#   docker build -t mlcmr .
#   docker run -v ~/Videos:/videos:ro -v mlcmr:/data -p 127.0.0.1:8000:8000 mlcmr
#
# indexes the videos and serves the search page; the last line of the log is its address. The index and the model
# stay in the volume `mlcmr`. Add `--read-only --tmpfs /tmp` to run with a root that cannot be written.
# Any other command runs as it is: `docker run … mlcmr mlcmr search --help`.

FROM python:3.13-slim-trixie AS build

WORKDIR /source
RUN python -m venv /opt/mlcmr
ENV PATH=/opt/mlcmr/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# PyTorch changes less often than the source. Its default build comes with CUDA; TORCH_INDEX is the address of
# PyTorch's index with smaller builds for CPUs, which PyTorch's installation page names.
ARG TORCH_INDEX=
COPY constraints.txt .
RUN pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch

COPY pyproject.toml README.md LICENSE CITATION.cff ./
COPY configs configs
COPY src src
RUN pip install -c constraints.txt '.[search]'

FROM python:3.13-slim-trixie

RUN useradd --uid 10001 --create-home --home-dir /data mlcmr \
    && mkdir /videos
COPY --from=build /opt/mlcmr /opt/mlcmr
COPY docker/serve.sh /usr/local/bin/serve-videos

# All that is written lies in /data, and in /tmp for a while.
ENV PATH=/opt/mlcmr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    HF_HOME=/data/models \
    XDG_CACHE_HOME=/data/cache \
    XDG_STATE_HOME=/data/state \
    MPLCONFIGDIR=/data/cache/matplotlib

USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=1h --interval=1m --timeout=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=9)"]
CMD ["serve-videos"]
