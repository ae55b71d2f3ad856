# One image for all of Weir: its command says what a container is.

FROM python:3.12-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/venv

# What Weir needs comes first, in a layer that a change of Weir itself leaves as it is. Wheels only:
# there is no compiler here.
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
    && pip --python /opt/venv install --only-binary :all: --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY stream ./stream
COPY producers ./producers
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && pip --python /opt/venv install --no-deps --no-index /wheels/*.whl

FROM python:3.12-slim-trixie
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A streaming fraud detector that keeps learning while fraud stays rare" \
      org.opencontainers.image.licenses="MIT"
# By number, so that an orchestrator can tell that it is not root.
RUN groupadd --system --gid 10001 weir \
    && useradd --system --uid 10001 --gid weir --create-home --home-dir /var/lib/weir weir
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# The embedded default keeps its files in the working directory.
WORKDIR /var/lib/weir
STOPSIGNAL SIGTERM
CMD ["weir", "--help"]
