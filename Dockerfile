# syntax=docker/dockerfile:1

# The image of the service and of its jobs: one binary on a base without shell or package manager.
# Build it with BuildKit (the default of current Docker):  docker build -t qdrant-backup-api .

# Both base images go by tag: whoever publishes them moves the tag to each security fix, and their digests are not known
# where this file is written. To fix one, give it with its digest, as `docker buildx imagetools inspect NAME` shows it:
#   docker build --build-arg RUST_IMAGE=rust:1.95-slim-bookworm@sha256:... --build-arg BASE_IMAGE=...@sha256:...
# Service and jobs are deployed by the digest of what comes out (cloudbuild.deploy.yaml).
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/base-nossl-debian12:nonroot

# --- deps: the outside crates, compiled. A layer that only a changed manifest or lock file makes anew ---------
# The same Debian release as the last stage, so that the binary's glibc is there. The slim image has rustc, cargo, gcc
# and libc6-dev: a C compiler is all that the dependencies ask for.
FROM ${RUST_IMAGE} AS deps
# Puts the list of crates into the binary.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY embedded-qdrant/Cargo.toml embedded-qdrant/
COPY gcs-emulator/Cargo.toml gcs-emulator/
COPY benches/relay/Cargo.toml benches/relay/
COPY testkit/Cargo.toml testkit/
# Cargo reads the manifests of every workspace member and wants the targets that they declare: empty ones will do. The
# other members serve tests and demo; neither they nor what only they need is compiled.
RUN mkdir src embedded-qdrant/src gcs-emulator/src testkit/src \
    && touch src/lib.rs embedded-qdrant/src/lib.rs gcs-emulator/src/lib.rs testkit/src/lib.rs \
    && echo 'fn main() {}' > src/main.rs && cp src/main.rs benches/relay/main.rs \
    && cargo build --locked --release --bin qdrant-backup

# --- build: the program itself -----------------------------------------------------------------------------
FROM deps AS build
COPY src src
COPY openapi openapi
COPY third-party.sh ./
# What `version` tells.
ARG REVISION=unknown
ENV QDRANT_BACKUP_COMMIT=${REVISION}
# Cargo recognises a changed source by its time, and a checkout's files can be older than the empty ones above.
# cargo auditable: `cargo audit bin`, trivy and syft read the crates and their versions from the binary itself.
RUN find src -type f -exec touch {} + \
    && cargo auditable build --locked --release --bin qdrant-backup \
    && ./third-party.sh > target/THIRD-PARTY.txt \
    && cp /lib/*-linux-gnu/libgcc_s.so.1 target/release/

# --- image: glibc, libgcc, CA certificates, a user without rights, nothing else ----------------------------
# distroless/cc has libgcc, too, but also OpenSSL and the C++ library, 9 MB that nothing here uses.
FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG CREATED=unknown
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="qdrant-backup" \
      org.opencontainers.image.description="Backs up every collection of a Qdrant into a bucket, streamed and checked byte by byte" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /src/target/release/libgcc_s.so.1 /usr/lib/
COPY --from=build /src/target/release/qdrant-backup /usr/local/bin/qdrant-backup
COPY --from=build /src/target/THIRD-PARTY.txt /usr/share/doc/qdrant-backup/
COPY LICENSE /usr/share/doc/qdrant-backup/
# The number of distroless' "nonroot", because runtimes that insist on a non-root user cannot look up names.
USER 65532:65532
# On all addresses, since nobody outside reaches a container's own 127.0.0.1: AUTH_MODE says who may call.
ENV PORT=8080
EXPOSE 8080
# There is no HEALTHCHECK, and that is right. Cloud Run and Kubernetes ignore it and probe GET /health themselves. It would
# need a client where there is no shell, and would call every job unhealthy, since a job listens to nobody.
# Nothing is written to the file system, so a read-only root works. A job gives another command: backup, verify, ...
ENTRYPOINT ["/usr/local/bin/qdrant-backup"]
CMD ["serve"]
