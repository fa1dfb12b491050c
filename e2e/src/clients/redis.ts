/** redis-server as a replica whose key `whoami` is its name, and redis-cli as its client. */
import { isListening, type NetworkNode, type Pod } from '../lab/index.js';
import { podFolder } from './folder.js';
import { environment, installed } from './programs.js';
import { repeated } from './repeated.js';
import { Server } from './server.js';
import { told, type Told } from './told.js';

/** What pipelines count up: of each replica on its own. */
export const pipelinedKey = 'pipelined';

export interface RedisOptions {
  /** default: the pod's name */
  name?: string;
  /** further options of redis-server, without their dashes */
  settings?: Record<string, string>;
}

/** Starts a Redis that keeps nothing on disk. */
export async function startRedis(pod: Pod, port: number, options: RedisOptions = {}): Promise<Server> {
  const folder = await podFolder(pod, 'redis');
  const settings: Record<string, string> = {
    port: String(port),
    dir: folder.inside,
    'protected-mode': 'no',
    save: '',
    appendonly: 'no',
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const isCluster = settings['cluster-enabled'] === 'yes';
  const server = await Server.start(pod, {
    command: installed('redis-server'),
    args: ['--bind', '0.0.0.0', '::', ...flags],
    port,
    ready: () => isListening(pod, port),
    folder,
  });
  // In a cluster a key belongs to a slot, and that to a node: see redis-cluster.ts.
  if (!isCluster) await redisCli(pod, pod.address4, port, ['set', 'whoami', options.name ?? pod.name]);
  return server;
}

/** Runs one command and returns what Redis says, without the newline. */
export async function redisCli(
  node: NetworkNode,
  host: string,
  port: number,
  command: readonly string[],
): Promise<string> {
  const args = ['-h', host, '-p', String(port), '-e', ...command];
  return (await node.run(installed('redis-cli'), args, { env: environment })).trimEnd();
}

/**
 * Asks for the name, by so many connections one after the other.
 * @throws ServalError ERR_KERNEL with redis-cli's words when one fails
 */
export async function redisAsk(
  node: NetworkNode,
  host: string,
  port: number,
  { count = 1 }: { count?: number } = {},
): Promise<Told> {
  const words = [installed('redis-cli'), '-h', host, '-p', String(port), '-e', 'get', 'whoami'];
  const output = await repeated(node, count, words);
  const names = output.trim().split('\n');
  return told(names.map((name) => ({ name })));
}

export interface PipelineOptions {
  /** at the same time, default 1 */
  connections?: number;
  /** of each connection, default 1000 */
  commands?: number;
  key?: string;
}

/** What redis-cli counted, over all connections. */
export interface Pipelined {
  replies: number;
  errors: number;
}

/**
 * Sends commands that count a key up, without waiting for their replies: `redis-cli --pipe`.
 * @throws ServalError ERR_KERNEL with redis-cli's words when a connection fails
 */
export async function redisPipeline(
  node: NetworkNode,
  host: string,
  port: number,
  { connections = 1, commands = 1000, key = pipelinedKey }: PipelineOptions = {},
): Promise<Pipelined> {
  const input = `INCR ${key}\r\n`.repeat(commands);
  const args = ['-h', host, '-p', String(port), '--pipe'];
  const one = async (): Promise<Pipelined> => {
    const output = await node.run(installed('redis-cli'), args, { env: environment, input });
    const [, errors, replies] = /errors: (\d+), replies: (\d+)/.exec(output) ?? [];
    return { replies: Number(replies), errors: Number(errors) };
  };
  const all = await Promise.all(Array.from({ length: connections }, one));
  return {
    replies: all.reduce((sum, { replies }) => sum + replies, 0),
    errors: all.reduce((sum, { errors }) => sum + errors, 0),
  };
}

/** How many pipelined commands a replica has had, asked in its own pod. */
export async function pipelinedAt({ pod }: Server, port: number, key = pipelinedKey): Promise<number> {
  return Number(await redisCli(pod, pod.address4, port, ['get', key]));
}
