/** The nodes of a cluster in Kubernetes, found by REST with the pod's own service account. */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { z } from 'zod';
import { isError, StrongroomError } from '../core/errors.ts';
import { SERVICE_ACCOUNT_TOKEN } from './login.ts';
import { networkCode } from './network-errors.ts';

export type KubernetesDiscovery = {
  kubernetes: {
    namespace: string;
    /** the headless Service (`<release>-internal` of both charts): its EndpointSlices name all pods, sealed ones too … */
    headlessService?: string;
    /** … or a label selector of the pods, such as `app.kubernetes.io/name=vault,component=server` */
    labelSelector?: string;
    /** default 8200 */
    port?: number;
    /** default https */
    scheme?: 'http' | 'https';
    /** default cluster.local */
    clusterDomain?: string;
    /** default https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT */
    apiServer?: string;
    /** PEM file of the API server's CA; default that of the service account */
    caFile?: string;
    /** default that of the service account; read anew each time, because the kubelet replaces it */
    tokenFile?: string;
  };
};

const SERVICE_ACCOUNT_CA = SERVICE_ACCOUNT_TOKEN.replace(/token$/, 'ca.crt');
const TIMEOUT_MS = 10_000;
const PAGE = 500;

const metadata = z.looseObject({ continue: z.string().optional() }).nullish();
const slicesSchema = z.looseObject({
  metadata,
  items: z.array(
    z.looseObject({
      endpoints: z.array(z.looseObject({ addresses: z.array(z.string()), hostname: z.string().nullish() })).nullish(),
    }),
  ),
});
const podsSchema = z.looseObject({
  metadata,
  items: z.array(
    z.looseObject({
      spec: z.looseObject({ hostname: z.string().nullish(), subdomain: z.string().nullish() }),
      status: z.looseObject({ podIP: z.string().nullish(), phase: z.string().nullish() }).nullish(),
    }),
  ),
});

type Where = KubernetesDiscovery['kubernetes'];

/**
 * URLs of the pods, sorted. Pods of a StatefulSet come by their stable DNS names, `<pod>.<service>.<namespace>.svc.<domain>`,
 * because certificates have names and no pod IPs. Rejects with E_DISCOVERY, or the abort reason; an empty answer is one too.
 */
export async function discoverNodes(
  { kubernetes }: KubernetesDiscovery,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const hosts =
    kubernetes.headlessService === undefined
      ? await podHosts(kubernetes, signal)
      : await serviceHosts(kubernetes, kubernetes.headlessService, signal);
  if (hosts.size === 0) {
    throw failure(`no pods of ${describe(kubernetes)} in namespace ${kubernetes.namespace}`, {
      hint: 'check the name of the Service or the label selector, and that pods are running: kubectl get pods --show-labels',
    });
  }
  const { scheme = 'https', port = 8200 } = kubernetes;
  return [...hosts].sort().map((host) => `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`);
}

async function serviceHosts(where: Where, service: string, signal: AbortSignal): Promise<Set<string>> {
  const query = { labelSelector: `kubernetes.io/service-name=${service}` };
  const hosts = new Set<string>();
  for await (const page of pages(where, 'apis/discovery.k8s.io/v1', 'endpointslices', query, slicesSchema, signal)) {
    for (const endpoint of page.items.flatMap(({ endpoints }) => endpoints ?? [])) {
      // Ready or not: a sealed node is not ready, and must be seen.
      const host = endpoint.hostname ? dnsName(endpoint.hostname, service, where) : endpoint.addresses[0];
      if (host !== undefined) hosts.add(host);
    }
  }
  return hosts;
}

async function podHosts(where: Where, signal: AbortSignal): Promise<Set<string>> {
  if (where.labelSelector === undefined) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      'the discovery of nodes needs a headless service or a label selector',
    );
  }
  const hosts = new Set<string>();
  for await (const page of pages(where, 'api/v1', 'pods', { labelSelector: where.labelSelector }, podsSchema, signal)) {
    for (const { spec, status } of page.items) {
      if (status?.phase === 'Succeeded' || status?.phase === 'Failed') continue;
      const host = spec.hostname && spec.subdomain ? dnsName(spec.hostname, spec.subdomain, where) : status?.podIP;
      if (host) hosts.add(host);
    }
  }
  return hosts;
}

async function* pages<S extends z.ZodType<{ metadata?: { continue?: string | undefined } | null | undefined }>>(
  where: Where,
  api: string,
  resource: string,
  query: Record<string, string>,
  schema: S,
  signal: AbortSignal,
): AsyncGenerator<z.infer<S>> {
  const server = where.apiServer ?? inCluster();
  const token = await readMounted(where.tokenFile ?? SERVICE_ACCOUNT_TOKEN, signal);
  const ca = server.startsWith('https:') ? await readMounted(where.caFile ?? SERVICE_ACCOUNT_CA, signal) : undefined;
  const agent = new Agent({ connect: { timeout: TIMEOUT_MS, ...(ca === undefined ? {} : { ca }) } });
  try {
    for (let next: string | undefined = ''; next !== undefined; ) {
      const url = new URL(`${api}/namespaces/${encodeURIComponent(where.namespace)}/${resource}`, `${server}/`);
      const paging: Record<string, string> = next === '' ? {} : { continue: next };
      url.search = new URLSearchParams({ ...query, limit: String(PAGE), ...paging }).toString();
      const page: z.infer<S> = await getJson(url, token, agent, schema, resource, signal);
      yield page;
      next = page.metadata?.continue || undefined;
    }
  } finally {
    await agent.destroy();
  }
}

async function getJson<S extends z.ZodType>(
  url: URL,
  token: string,
  dispatcher: Agent,
  schema: S,
  resource: string,
  signal: AbortSignal,
): Promise<z.infer<S>> {
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const { statusCode, body } = await request(url, {
      dispatcher,
      headers: { authorization: `Bearer ${token}`, accept: 'application/json', 'user-agent': 'strongroom' },
      signal: AbortSignal.any([signal, deadline]),
    });
    if (statusCode !== 200) {
      await body.dump();
      throw failure(`the Kubernetes API at ${url.origin} answers ${resource} with ${statusCode}`, {
        hint:
          statusCode === 403
            ? `give the service account a Role with \`list\` on ${resource} in this namespace`
            : 'check the API server address and the service account token',
        retryable: statusCode >= 500 || statusCode === 429,
      });
    }
    const result = schema.safeParse(await body.json());
    if (result.success) return result.data;
    throw failure(`the Kubernetes API at ${url.origin} answers ${resource} in an unknown shape`, { retryable: false });
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    if (isError(e)) throw e;
    throw failure(`the Kubernetes API at ${url.origin} does not answer (${networkCode(e) || 'no usable answer'})`, {
      cause: e,
    });
  }
}

async function readMounted(file: string, signal: AbortSignal): Promise<string> {
  try {
    return (await readFile(file, { encoding: 'utf8', signal })).trim();
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    throw new StrongroomError('E_CONFIG_INVALID', `${file} cannot be read, which the discovery of nodes needs`, {
      hint: 'in a pod: is automountServiceAccountToken on? elsewhere: list the nodes by their URLs',
      cause: e,
    });
  }
}

function inCluster(): string {
  const host = process.env['KUBERNETES_SERVICE_HOST'];
  if (host === undefined || host === '') {
    throw new StrongroomError('E_CONFIG_INVALID', 'this is no pod of a Kubernetes cluster', {
      hint: 'list the nodes by their URLs, or set the API server address',
    });
  }
  const port = process.env['KUBERNETES_SERVICE_PORT_HTTPS'] ?? process.env['KUBERNETES_SERVICE_PORT'] ?? '443';
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function dnsName(hostname: string, service: string, { namespace, clusterDomain = 'cluster.local' }: Where): string {
  return `${hostname}.${service}.${namespace}.svc.${clusterDomain}`;
}

function describe({ headlessService, labelSelector }: Where): string {
  return headlessService === undefined ? `label selector ${labelSelector ?? ''}` : `service ${headlessService}`;
}

function failure(
  message: string,
  options: { hint?: string; retryable?: boolean; cause?: unknown } = {},
): StrongroomError {
  return new StrongroomError('E_DISCOVERY', message, options);
}
