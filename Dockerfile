# One image: the default form, one process with SQLite in a volume.
FROM python:3.13-slim AS build
WORKDIR /site
COPY requirements/runtime.lock requirements/
RUN python -m venv /site/.venv \
    && /site/.venv/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY manage.py pyproject.toml ./
COPY chatsite chatsite
COPY completions completions
COPY conversations conversations
COPY organizations organizations
COPY static static
COPY templates templates
RUN DATA_DIR=/tmp/build STATIC_ROOT=/site/assets /site/.venv/bin/python manage.py collectstatic --noinput -v0

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /data chatsite
COPY --from=build /site /site
WORKDIR /site
USER 10001:10001
ENV BUILT_IN_MODEL=off DATA_DIR=/data STATIC_ROOT=/site/assets PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["/site/.venv/bin/python", "-c", "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:8000/healthz', headers={'Host': 'localhost'}), timeout=2)"]
CMD ["/site/.venv/bin/python", "manage.py", "up", "--host", "0.0.0.0", "--port", "8000"]
