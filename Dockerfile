# One image for both roles: `docker run IMAGE coordinator …` and `docker run IMAGE sidecar …`.
# The RUN lines need neither root nor Docker, so that test/docker/check.ts can carry this file out on any machine.

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Versions and hashes come from the lock file, which `--no-save` never changes; see cli/setup.mjs for why not `npm ci`.
# The build needs no more of the development dependencies than the compiler and the types: no script has to run.
RUN npm install --no-save --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY cli cli
COPY config config
COPY src src
COPY proxy proxy
COPY examples examples
RUN node cli/build.mjs
RUN mkdir data

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY config config
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# A coordinator without a file keeps its transactions in the working directory: mount a volume there.
COPY --from=build --chown=node:node /app/data /data
WORKDIR /data
USER node
EXPOSE 36789 36790 9700 9701 9702 9703
VOLUME /data
# For a coordinator; a sidecar's probe is `health http://127.0.0.1:9703/readyz`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["node", "/app/dist/cli/main.js", "health"]
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["coordinator"]
