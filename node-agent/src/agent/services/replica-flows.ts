/** From the sockets of a network namespace to the load of the replicas in it. Pure. */
import { canonicalAddress } from '../../datapath/address.js';
import type { Protocol } from '../../datapath/types.js';
import type { SocketCounts } from '../../native.js';
import type { ReplicaFlows } from '../../signalling/index.js';
import type { AgentPod } from '../pods.js';

type Listening = SocketCounts['listening'][number];
type Connected = SocketCounts['connected'][number];

/**
 * Of each of the pod's addresses and each port that is listened on there: connected sockets and accept backlog. A moved
 * workload may listen, and its flows may be bound, at an address of an earlier place: they are counted where it is now. Of
 * a pod on the host's network only what is bound to its addresses is its own.
 */
export function replicaFlows(pod: AgentPod, protocol: Protocol, counts: SocketCounts): ReplicaFlows[] {
  const own = [...new Set(pod.addresses.map(canonicalAddress))];
  return own.flatMap((address) => {
    const listening = counts.listening.filter((row) => isServedBy(row, address, pod));
    const ports = [...new Set(listening.map(({ port }) => port))];
    const connected = counts.connected.filter((row) => countsFor(row, address, { own, pod }));
    return ports.map((port) => ({
      protocol,
      address,
      port,
      established: sum(connected, port, ({ sockets }) => sockets),
      backlog: sum(listening, port, ({ backlog }) => backlog),
    }));
  });
}

function isServedBy(row: Listening, address: string, { hostNetwork, workload }: AgentPod): boolean {
  const family = familyOf(address);
  if (row.address === '0.0.0.0') return family === 4;
  if (row.address === '::') return family === 6 || !row.ipv6Only;
  if (row.address === address) return true;
  if (hostNetwork || row.family !== family) return false;
  return (workload?.identityAddresses ?? []).some((earlier) => canonicalAddress(earlier) === row.address);
}

/** What is bound to none of the pod's addresses counts for the first of its family. */
function countsFor(
  row: Connected,
  address: string,
  { own, pod }: { own: readonly string[]; pod: AgentPod },
): boolean {
  if (row.address === address) return true;
  if (pod.hostNetwork || row.family !== familyOf(address) || own.includes(row.address)) return false;
  return own.find((each) => familyOf(each) === row.family) === address;
}

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

function sum<Row extends { port: number }>(
  rows: readonly Row[],
  port: number,
  of: (row: Row) => number,
): number {
  return rows.reduce((total, row) => total + (row.port === port ? of(row) : 0), 0);
}
