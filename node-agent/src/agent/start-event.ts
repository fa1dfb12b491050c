/** What the protocol has to know to begin a move of a workload from here. */
import { canonicalAddress } from '../datapath/address.js';
import type { Datapath } from '../datapath/types.js';
import { boundAddresses } from '../host/bound-addresses.js';
import type { Event } from '../protocol/effects.js';
import type { AgentPod, HostedWorkload } from './pods.js';

export type Movable = AgentPod & { workload: HostedWorkload };

export async function startEvent(
  datapath: Datapath,
  pod: Movable,
  move: { migration: string; target: string; mover: string | undefined },
): Promise<Extract<Event, { type: 'start' }>> {
  const { epoch, uid, mover } = pod.workload;
  return {
    type: 'start',
    migration: move.migration,
    epoch: epoch + 1,
    workload: { name: pod.name, uid },
    target: move.target,
    mover: move.mover ?? mover,
    image: { trackUdp: pod.trackUdp },
    addresses: [...pod.addresses, ...(await identitiesInUse(datapath, pod))],
  };
}

/**
 * Of the places where the workload has been, those that it still goes by: sockets that are bound there, and flows that
 * came from there (a UDP server that is bound to no address has nothing but these). The others are done with.
 */
async function identitiesInUse(datapath: Datapath, { name, netns, workload }: Movable): Promise<string[]> {
  const { identityAddresses } = workload;
  if (identityAddresses.length === 0) return [];
  const used = await boundAddresses(netns);
  for (const { identity } of await datapath.flows(name)) used.add(identity.local.address);
  return identityAddresses.filter((address) => used.has(canonicalAddress(address)));
}
