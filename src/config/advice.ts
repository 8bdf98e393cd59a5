/** What is allowed and still worth a second look. Told by `config check`; nothing here stops a backup. */

import { clusterConfig } from './cluster-config.ts';
import type { Config } from './load.ts';
import type { QueueConfig } from './queue.ts';

const LOOPBACK = /^http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::|$)/;

/** One line for each, beginning with the option it is about; empty when there is nothing to say. */
export function advise(config: Config): string[] {
  const advice: string[] = [];
  const used = new Set<string>();
  for (const name of Object.keys(config.clusters)) {
    const at = `clusters.${name}`;
    const cluster = clusterConfig(config, name);
    for (const destination of cluster.destinations) used.add(destination.name);
    if (cluster.tls.dangerouslySkipVerification) {
      advice.push(`${at}.tls: certificates are not verified; whoever is on the way gets the token and the snapshot`);
    }
    const plain = (cluster.nodes ?? []).filter((node) => node.startsWith('http:') && !LOOPBACK.test(node));
    if (plain.length > 0 || cluster.kubernetes?.scheme === 'http') {
      advice.push(`${at}: the token and the snapshot cross the network in the clear; use https`);
    }
    if (cluster.destinations.length === 1) {
      advice.push(`${at}.destinations: one copy only; a second place survives the loss of the first`);
    }
    const { kms, breakGlass } = cluster.encryption;
    const hasOwnServerKey = cluster.destinations.map(
      ({ options }) => options.type === 's3' && options.sse?.type === 'aws:kms',
    );
    if (hasOwnServerKey.every(Boolean)) {
      advice.push(`${at}.destinations: each is behind SSE-KMS; without KMS no copy can be fetched, break glass or not`);
    }
    if (kms.length > 0 && new Set(kms.map(({ region }) => region)).size === 1) {
      advice.push(`${at}: its KMS keys are in one region; a second region opens snapshots while the first is down`);
    }
    if (breakGlass.length === 1 && breakGlass[0]?.isInline === true) {
      advice.push(`${at}: one break-glass recipient; a second, kept elsewhere, survives the loss of the first`);
    }
  }
  for (const name of Object.keys(config.destinations).filter((destination) => !used.has(destination))) {
    advice.push(`destinations.${name}: no cluster uses it`);
  }
  if (config.queue !== undefined && isInTheClear(config.queue)) {
    advice.push('queue: the password and the jobs cross the network in the clear; use rediss:// or a tls block');
  }
  return [...advice, ...adviseNotifications(config)];
}

function adviseNotifications({ clusters, notifications }: Config): string[] {
  const advice: string[] = [];
  const sinks = Object.entries(notifications.sinks);
  const at = 'notifications.sinks';
  for (const [name, sink] of sinks) {
    if (sink.type === 'email' ? sink.dangerouslySendInClear && sink.security === 'none' : sink.dangerouslyAllowHttp) {
      advice.push(`${at}.${name}: messages may cross the network in the clear; use TLS`);
    }
  }
  for (const [cluster, { schedule }] of Object.entries(clusters)) {
    if (schedule === undefined) continue;
    const own = sinks.filter(([, sink]) => sink.clusters === undefined || sink.clusters.includes(cluster));
    if (own.every(([, { type }]) => type === 'ping')) {
      advice.push(`${at}: nobody is told when a run for ${cluster} fails; add a sink, such as type: slack or email`);
    }
    if (!own.some(([, { type }]) => type === 'ping')) {
      advice.push(`${at}: nobody notices when no run for ${cluster} is made at all; add a sink with type: ping`);
    }
  }
  return advice;
}

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]):\d+$/;

function isInTheClear({ url, sentinels, cluster, tls }: QueueConfig): boolean {
  if (tls !== undefined || url?.startsWith('rediss:') === true) return false;
  const asked = url === undefined ? (sentinels ?? cluster ?? []) : [url.slice('redis://'.length)];
  return asked.some((address) => !LOOPBACK_HOST.test(address));
}
