/** A Redis Cluster of masters, and its clients, which follow it from one entry address. */
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import type { NetworkNode, Pod } from '../lab/index.js';
import { environment, installed } from './programs.js';
import { pipelinedAt, pipelinedKey, redisCli, redisPipeline, startRedis, type Pipelined } from './redis.js';
import { slotRanges, tagFor } from './redis-slots.js';
import type { Server } from './server.js';
import { hostPort, told, type Answer, type Told } from './told.js';

const patienceMs = 20_000;

export interface RedisCluster {
  servers: Server[];
  /** how many pipelined commands each node has had, in their order */
  pipelined(): Promise<number[]>;
  stop(): Promise<void>;
}

export interface RedisClusterOptions {
  /** what nodes tell clients to go to instead of their addresses: names, e.g. of a service for each node */
  names?: readonly string[];
}

/**
 * Starts a master in each pod, with an equal share of the slots each; resolves when all of them say that all is well,
 * some 2 s later (Redis waits for so long before it takes writes).
 */
export async function startRedisCluster(
  pods: readonly Pod[],
  port: number,
  { names }: RedisClusterOptions = {},
): Promise<RedisCluster> {
  const started = await Promise.allSettled(
    pods.map((pod, index) => startRedis(pod, port, { settings: clusterSettings(names?.[index]) })),
  );
  const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const stop = async () => void (await Promise.all(servers.map((server) => server.stop())));
  try {
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    await join(pods, port);
    await Promise.all(pods.map((pod) => settled(pod, port, pods.length)));
    await Promise.all(
      pods.map((pod, index) => at(pod, port, ['set', nameKey(tags(pods.length)[index]), pod.name])),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const key = (index: number) => countKey(tags(servers.length)[index]);
  const pipelined = () => Promise.all(servers.map((server, index) => pipelinedAt(server, port, key(index))));
  return { servers, pipelined, stop };
}

function clusterSettings(name: string | undefined): Record<string, string> {
  return {
    'cluster-enabled': 'yes',
    'cluster-config-file': 'nodes.conf',
    'cluster-node-timeout': '2000',
    ...(name === undefined
      ? {}
      : { 'cluster-announce-hostname': name, 'cluster-preferred-endpoint-type': 'hostname' }),
  };
}

const at = (pod: Pod, port: number, command: readonly string[]) => redisCli(pod, pod.address4, port, command);
const tags = (nodes: number) => slotRanges(nodes).map(tagFor);
const nameKey = (tag = '') => `{${tag}}:whoami`;
const countKey = (tag = '') => `{${tag}}:${pipelinedKey}`;

/** What `redis-cli --cluster create` does, without its pauses. */
async function join(pods: readonly Pod[], port: number): Promise<void> {
  const ranges = slotRanges(pods.length);
  for (const [index, pod] of pods.entries()) {
    await at(pod, port, ['cluster', 'addslotsrange', ...(ranges[index] ?? []).map(String)]);
    await at(pod, port, ['cluster', 'set-config-epoch', String(index + 1)]);
    if (index > 0) await at(pod, port, ['cluster', 'meet', pods[0]?.address4 ?? '', String(port)]);
  }
}

/** Until a node knows all the others, where they want to be found, and takes writes. */
async function settled(pod: Pod, port: number, nodes: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  let seen = '';
  while (performance.now() < deadline) {
    const info = await at(pod, port, ['cluster', 'info']);
    seen = await at(pod, port, ['cluster', 'slots']);
    const masters = mastersIn(await at(pod, port, ['cluster', 'nodes']));
    const all = masters.length === nodes && masters.every(({ host }) => seen.includes(host));
    if (/cluster_state:ok/.test(info) && all) return;
    await delay(50);
  }
  throw new ServalError('ERR_KERNEL', {
    subject: `Redis cluster node in pod ${pod.name}`,
    reason: `it does not see ${nodes} masters: ${seen.replaceAll('\n', ' ')}`,
    remedy: `Look at \`redis-cli -p ${port} cluster nodes\` in the pod`,
  });
}

interface Master {
  /** its address, or its name where it announces one */
  host: string;
  slots: [number, number];
}

/** Those of `CLUSTER NODES` that have slots; each has one range here. */
function mastersIn(text: string): Master[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(' '))
    .flatMap(([, place = '', , , , , , , range]) => {
      const [, first, last] = /^(\d+)-(\d+)$/.exec(range ?? '') ?? [];
      if (first === undefined || last === undefined) return [];
      const [address = '', hostname = ''] = place.split(',');
      const host = hostname === '' ? address.replace(/:\d+@\d+$/, '') : hostname;
      return [{ host, slots: [Number(first), Number(last)] as [number, number] }];
    })
    .sort((a, b) => a.slots[0] - b.slots[0]);
}

/**
 * Asks each master for its name by `redis-cli -c`, which connects to the entry and then to whichever node that sends it
 * to: so many times as `count` says.
 */
export async function redisClusterAsk(
  node: NetworkNode,
  entry: string,
  port: number,
  { nodes, count = 1 }: { nodes: number; count?: number },
): Promise<Told> {
  const input = tags(nodes)
    .map((tag) => `get ${nameKey(tag)}\n`)
    .join('');
  const answers: Answer[] = [];
  for (let left = count; left > 0; left--) {
    const args = ['-c', '-h', entry, '-p', String(port), '-e'];
    const output = await node.run(installed('redis-cli'), args, { env: environment, input });
    // redis-cli stays where it was sent to, and says so where it is sent elsewhere
    let peer = hostPort(entry, port);
    for (const line of output.trim().split('\n')) {
      const sent = /^-> Redirected to slot \[\d+\] located at (.*)$/.exec(line)?.[1];
      if (sent === undefined) answers.push({ name: line, peer });
      else peer = sent;
    }
  }
  return told(answers);
}

/** Asks the entry who the masters are, and sends a pipeline to each of them at once, where it says that they are. */
export async function redisClusterPipelines(
  node: NetworkNode,
  entry: string,
  port: number,
  options: { commands?: number; connections?: number } = {},
): Promise<Array<Pipelined & { host: string }>> {
  const masters = mastersIn(await redisCli(node, entry, port, ['cluster', 'nodes']));
  const all = tags(masters.length);
  return await Promise.all(
    masters.map(async ({ host }, index) => ({
      host,
      ...(await redisPipeline(node, host, port, { ...options, key: countKey(all[index]) })),
    })),
  );
}
