# Everything but the program: scripts/chaos mounts one that was built outside.
FROM debian:bookworm-slim AS system
RUN useradd --system --uid 1000 --home-dir /var/lib/ottla --create-home ottla \
 && mkdir -p /var/lib/ottla/data /etc/ottla \
 && chown ottla /var/lib/ottla/data
RUN ln -s ottla /usr/local/bin/kafka-topics && ln -s ottla /usr/local/bin/kafka-topics.sh
COPY scripts/container.properties /etc/ottla/server.properties
USER ottla
VOLUME /var/lib/ottla/data
EXPOSE 9092
ENTRYPOINT ["ottla"]
CMD ["broker", "/etc/ottla/server.properties"]

FROM rust:1-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN rm -f rust-toolchain.toml && cargo build --release --locked -p ottla-broker

FROM system
COPY --from=build /source/target/release/ottla /usr/local/bin/ottla
