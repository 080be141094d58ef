# The server as one static binary on an empty base: no shell, no library, nothing in the image
# that has to be kept up to date but the binary itself.
#
#   make image
#   docker run --rm -p 127.0.0.1:8080:8080 -v otpbridge:/data -v otpbridge-state:/state otpbridge
#
# is a sandbox with its database and keyring in one volume and, apart from them, its state in another;
# docker-compose.yml is two servers on
# one MySQL.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What the program says of itself, which make image passes: the repository is not part of the build.
# Without it the program calls itself devel. There is no other argument: its value would stay in the
# image's history for all to read.
ARG VERSION
RUN CGO_ENABLED=0 go build -tags=nomsgpack -trimpath -buildvcs=false \
    -ldflags="-s -w -X main.stamped=$VERSION" \
    -o /out/otpbridge ./server
RUN mkdir -m 0700 /out/data /out/state

FROM scratch
LABEL org.opencontainers.image.title="OTPBridge" \
      org.opencontainers.image.description="Self-hosted OTP authenticator that speaks the OTP servlet protocol" \
      org.opencontainers.image.licenses="Apache-2.0"
# The public authorities, for a database behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/otpbridge /otpbridge
# Where a sandbox without any settings keeps its database and its keyring.
COPY --from=build --chown=65532:65532 /out/data /data
# What a server remembers so that it notices a restored backup (OTPBRIDGE_STATE_DIR). Never back it up with /data.
COPY --from=build --chown=65532:65532 /out/state /state
# By number: the base has no list of users, and an orchestrator that refuses root cannot judge a name.
USER 65532:65532
# A sandbox listens on loopback by default, which in a container reaches nobody.
ENV OTPBRIDGE_ADDR=:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/otpbridge", "health"]
ENTRYPOINT ["/otpbridge"]
CMD ["serve"]
