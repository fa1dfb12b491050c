import { readFileSync } from 'node:fs';
import type { Pod } from './pods.js';

/** What /proc/net calls the sockets that new connections, or datagrams of anybody, come to. */
const states = { tcp: '0A', udp: '07' };

/** Whether a socket of a pod takes connections, or datagrams from anybody, at this port. */
export function isListening(pod: Pod, port: number, protocol: keyof typeof states = 'tcp'): boolean {
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return [protocol, `${protocol}6`]
    .flatMap((table) => readFileSync(`/proc/${pod.pausePid}/net/${table}`, 'utf8').split('\n'))
    .map((row) => row.trim().split(/\s+/))
    .some(([, local, , state]) => local?.endsWith(end) === true && state === states[protocol]);
}
