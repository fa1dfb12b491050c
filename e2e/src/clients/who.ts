/** Replicas that say their names, by our Go program: cheap enough to have dozens of them (1 MB each beside the program itself). */
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { placeInCgroup } from '@serval/node-agent';
import { isListening, type Lab, type Pod } from '../lab/index.js';
import type { Movable } from '../traffic/index.js';
import { environment, whoProgram } from './programs.js';
import { requireFree, Server } from './server.js';

export interface WhoOptions {
  /** default: the pod's name */
  name?: string;
  /** one socket for each of these addresses; without it one dual-stack socket */
  bind?: readonly string[];
  /** wait for so long before each answer */
  slowMs?: number;
  /** listen, but accept nothing: connections wait in the backlog */
  deaf?: boolean;
}

function whoArguments(port: number, name: string, options: WhoOptions = {}): string[] {
  return [
    ...['serve', '-name', options.name ?? name, '-port', String(port)],
    ...(options.bind === undefined ? [] : ['-bind', options.bind.join(',')]),
    ...(options.slowMs === undefined ? [] : ['-slow', `${options.slowMs}ms`]),
    ...(options.deaf === true ? ['-deaf'] : []),
  ];
}

/** Starts a replica that answers at a TCP and UDP port: to the line `who`, to HTTP requests, to datagrams. */
export async function startWho(pod: Pod, port: number, options: WhoOptions = {}): Promise<Server> {
  return await Server.start(pod, {
    command: whoProgram(),
    args: whoArguments(port, pod.name, options),
    port,
    ready: () => isListening(pod, port),
  });
}

const patienceMs = 5000;
let count = 0;

/** The same as a workload that agents may move: it ends with its pod. */
export async function startMovableWho(
  lab: Lab,
  pod: Pod,
  port: number,
  options: WhoOptions = {},
): Promise<Movable> {
  requireFree(pod, port);
  const args = whoArguments(port, pod.name, options);
  const child = pod.spawn(whoProgram(), args, { env: environment, dumpable: true, stdio: 'ignore' });
  const { pid } = await pod.processOf(child);
  const cgroup = lab.cgroup(`who-${++count}`);
  placeInCgroup(cgroup, pid);
  const deadline = performance.now() + patienceMs;
  while (!isListening(pod, port)) {
    if (child.exitCode !== null || performance.now() > deadline)
      throw new ServalError('ERR_KERNEL', {
        subject: `replica in pod ${pod.name}`,
        reason: `it does not listen on port ${port}`,
        remedy: `Start it by hand: ${whoProgram()} ${args.join(' ')}`,
      });
    await delay(5);
  }
  return { pid, cgroup };
}
