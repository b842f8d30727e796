# Image of the gateway service in docker-compose.yml. Build context: the root of the repository.
FROM python:3.13-slim AS build
COPY pyproject.toml README.md LICENSE /src/
COPY boot /src/boot
COPY src /src/src
COPY collector /src/collector
COPY grafana /src/grafana
COPY examples /src/examples
RUN pip install --no-cache-dir --prefix=/app '/src[server,postgres,rules]'

FROM python:3.13-slim
COPY --from=build /app /usr/local
RUN useradd --uid 10001 --create-home backspan && install -d -o 10001 -g 10001 /data
USER 10001:10001
ENV BACKSPAN_DATA_DIR=/data
VOLUME /data
EXPOSE 8318
ENTRYPOINT ["backspan", "gateway", "--host=0.0.0.0"]
