# The image of the driver: the node plugin and the controller are the same program.
# "docker build .", "podman build ." or "buildah build .", for any architecture that Debian, Node and koffi exist for.
# Both bases are arguments: BUILD_BASE has Node and npm, BASE needs nothing but glibc.
ARG BUILD_BASE=docker.io/library/node:24-bookworm-slim
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_BASE} AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends tini
WORKDIR /opt/stratum
COPY package.json package-lock.json .npmrc ./
# Not "npm ci": see scripts/setup.sh.
RUN npm install --no-save --no-progress --loglevel=error
COPY tsconfig.json tsconfig.build.json ./
COPY bin bin
COPY proto proto
COPY src src
RUN npm run -s build && npm prune --omit=dev --no-save --loglevel=error && rm -rf src tsconfig*.json package-lock.json .npmrc
# A third of Node's package is headers for compiling add-ons.
RUN rm -rf node_modules/node-linux-*/include node_modules/node-linux-*/share
# Compiled code is kept in the image, for it cannot be written where the root file system is read-only.
RUN bin/stratum --version > /dev/null && bin/stratum init --help > /dev/null

FROM ${BASE}
COPY --from=build /usr/bin/tini-static /usr/bin/tini
COPY --from=build /opt/stratum /opt/stratum
RUN ln -s /opt/stratum/bin/stratum /usr/bin/stratum
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/stratum"]
