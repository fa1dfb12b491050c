import { readFileSync } from 'node:fs';
import type { Pod } from './pods.js';

/** What /proc/net calls the sockets that new connections, or datagrams of anybody, come to. */
const states = { tcp: '0A', udp: '07' };
const established = '01';

/** Whether a socket of a pod takes connections, or datagrams from anybody, at this port. */
export function isListening(pod: Pod, port: number, protocol: keyof typeof states = 'tcp'): boolean {
  return statesAt(pod, port, protocol).includes(states[protocol]);
}

/** Established TCP connections of a pod that have this port at the pod's side. */
export function establishedAt(pod: Pod, port: number): number {
  return statesAt(pod, port, 'tcp').filter((state) => state === established).length;
}

/** Of the sockets of both families that have this port of the pod. */
function statesAt(pod: Pod, port: number, protocol: keyof typeof states): string[] {
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return [protocol, `${protocol}6`]
    .flatMap((table) => readFileSync(`/proc/${pod.pausePid}/net/${table}`, 'utf8').split('\n'))
    .flatMap((row) => {
      const [, local, , state] = row.trim().split(/\s+/, 4);
      return local?.endsWith(end) === true && state !== undefined ? [state] : [];
    });
}
