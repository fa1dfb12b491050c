/**
 * A process of its own beside the API server, since that listens in another network namespace: `objects.js TOKEN` makes
 * what each line on standard input says and answers `ok`, or what went wrong.
 */
import { connect, type ClientHttp2Session } from 'node:http2';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { endpointSlice } from '../directory.js';
import { endpointPort, serviceName, servicePort, virtualIp } from '../plan.js';

/** What can be asked. */
export interface Wish {
  /** resolves when the API server is ready, or after so many seconds fails */
  ready?: number;
  node?: { name: string; address: string };
  /** services from the first number up to the second, with their slices */
  services?: [number, number];
  /** the first service's slice, with this replica in place of its first; or as it was */
  change?: { replaced?: string };
}

const url = 'https://127.0.0.1:6443';
/** Requests at a time. */
const many = 64;
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const token = process.argv[2] ?? '';
let session: ClientHttp2Session | undefined;

function opened(): ClientHttp2Session {
  if (session !== undefined && !session.destroyed && !session.closed) return session;
  // It has made its certificate itself a moment ago.
  session = connect(url, { rejectUnauthorized: false });
  session.on('error', () => undefined);
  return session;
}

function ask(method: string, path: string, body?: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const patch = method === 'PATCH' ? 'merge-patch+' : '';
    const stream = opened().request({
      ':method': method,
      ':path': path,
      authorization: `Bearer ${token}`,
      'content-type': `application/${patch}json`,
    });
    let status = 0;
    let text = '';
    stream.on('response', (headers) => (status = headers[':status'] ?? 0));
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      if (status >= 200 && status < 300) resolve();
      else reject(new Error(`${method} ${path}: ${status} ${text.slice(0, 300)}`));
    });
    stream.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function ready(seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    try {
      return await ask('GET', '/readyz');
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(100);
    }
  }
}

function node({ name, address }: { name: string; address: string }): Promise<void> {
  return ask('POST', '/api/v1/nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address }] },
  });
}

async function service(number: number): Promise<void> {
  await ask('POST', '/api/v1/namespaces/default/services', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: serviceName(number) },
    spec: {
      clusterIP: virtualIp(number),
      ports: [{ port: servicePort, targetPort: endpointPort, protocol: 'TCP' }],
    },
  });
  await ask('POST', slices, endpointSlice({ services: number + 1 }, number));
}

async function services([from, to]: [number, number]): Promise<void> {
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < to) await service(next++);
  };
  await Promise.all(Array.from({ length: many }, worker));
}

async function grant({ ready: seconds, node: made, services: range, change }: Wish): Promise<void> {
  if (seconds !== undefined) await ready(seconds);
  if (made !== undefined) await node(made);
  if (range !== undefined) await services(range);
  if (change !== undefined) {
    const { endpoints } = endpointSlice({ services: 1, ...change }, 0);
    await ask('PATCH', `${slices}/${serviceName(0)}`, { endpoints });
  }
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await grant(JSON.parse(line) as Wish).then(
    () => 'ok',
    (error: unknown) => (error as Error).message,
  );
  console.log(answer.replaceAll('\n', ' '));
}
session?.destroy();
