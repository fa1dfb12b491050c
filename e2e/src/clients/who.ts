/** Replicas that say their names, by our Go program: cheap enough to have dozens of them (4 MB each). */
import { isListening, type Pod } from '../lab/index.js';
import { whoProgram } from './programs.js';
import { Server } from './server.js';

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

/** The arguments of `who serve`, for those who start it in a way of their own (`dumpable`, in a cgroup). */
export function whoArguments(port: number, name: string, options: WhoOptions = {}): string[] {
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
    ready: () => isListening(pod, port),
  });
}
