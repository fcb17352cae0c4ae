# syntax=docker/dockerfile:1

# The image of the service: one binary on a base without shell or package manager.
# Build it with BuildKit (the default of current Docker):  docker build -t qdrant-backup-api .

ARG RUST_VERSION=1.95

# --- build: the same Debian release as the last stage, so that the binary's glibc is there ---------------
# The slim image has rustc, cargo, gcc and libc6-dev: a C compiler is all that the dependencies ask for.
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# Only the shipped binary is built; the other workspace members serve tests and demo and are not compiled.
# The cache mounts keep registry and compiled dependencies from one build to the next. Cargo recognises a
# changed source by its time, and a cache can be newer than another checkout's files: hence the touch.
RUN --mount=type=cache,id=qdrant-backup-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=qdrant-backup-target,target=/src/target,sharing=locked \
    find src -type f -exec touch {} + \
    && cargo build --locked --release --bin qdrant-backup \
    && cp target/release/qdrant-backup /qdrant-backup

# --- image: glibc, libgcc, CA certificates, a user without rights, nothing else ---------------------------
FROM gcr.io/distroless/cc-debian12:nonroot
ARG REVISION=unknown
LABEL org.opencontainers.image.title="qdrant-backup" \
      org.opencontainers.image.description="Backs up every collection of a Qdrant into a bucket, streamed and checked byte by byte" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /qdrant-backup /usr/local/bin/qdrant-backup
# The number of distroless' "nonroot", because runtimes that insist on a non-root user cannot look up names.
USER 65532:65532
# On all addresses, since nobody outside reaches a container's own 127.0.0.1: AUTH_MODE says who may call.
ENV PORT=8080
EXPOSE 8080
# Nothing is written to the file system, so a read-only root works.
ENTRYPOINT ["/usr/local/bin/qdrant-backup"]
CMD ["serve"]
