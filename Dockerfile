# Two stages: the compiler stays behind. The image holds Node, dist/ and the production modules, nothing else of ours.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY jobs ./jobs
RUN npx tsc -p tsconfig.build.json \
 && npm ci --omit=dev --ignore-scripts

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/node-compile
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# The spool holds ciphertext only; mount a volume with room for the largest snapshot.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/strongroom
USER 65532:65532
ENV XDG_STATE_HOME=/var/lib/strongroom
# The flag is that of the first line of src/main.ts.
ENTRYPOINT ["node", "--max-semi-space-size=1", "/app/dist/src/main.js"]
