/** Replicas, slices and services for tests. */
import {
  apiVersion,
  discoveryVersion,
  serviceNameLabel,
  type EndpointSlice,
  type ServalService,
} from '@serval/api';
import { planService, type Planned, type PlanInput, type PlanState } from './plan.js';
import { defaultPolicy } from './policy.js';
import type { Measured, Place, Replica, ReplicaLoad, ServicePolicy } from './types.js';

export const here: Place = { node: 'here', zone: 'a', region: 'r' };

/** Where a replica is, seen from `here`. */
const rooms = {
  node: { node: 'here', zone: 'a', region: 'r' },
  zone: { node: 'near', zone: 'a', region: 'r' },
  region: { node: 'far', zone: 'b', region: 'r' },
  world: { node: 'farther', zone: 'c', region: 's' },
} as const;

export function replica(
  number: number,
  room: keyof typeof rooms = 'zone',
  more: Partial<Replica> = {},
): Replica {
  const address = `10.0.${number >> 8}.${number & 255}`;
  return { address, port: 80, ...rooms[room], ready: true, draining: false, ...more };
}

/** So many in each room, in the order of `rooms`. */
export function replicasIn(counts: Partial<Record<keyof typeof rooms, number>>): Replica[] {
  let number = 0;
  return (Object.keys(rooms) as Array<keyof typeof rooms>).flatMap((room) =>
    Array.from({ length: counts[room] ?? 0 }, () => replica(number++, room)),
  );
}

export function load(established: number, more: Partial<ReplicaLoad> = {}): Measured {
  return { load: { established, backlog: 0, moving: false, ...more } };
}

/** By address. */
export type Known = ReadonlyMap<string, Measured>;

export function plan(
  replicas: readonly Replica[],
  policy: Partial<ServicePolicy> = {},
  {
    known,
    now = 0,
    earlier,
    place = here,
  }: { known?: Known; now?: number; earlier?: PlanState; place?: Place } = {},
): Planned {
  const input: PlanInput = { policy: { ...defaultPolicy, ...policy }, place, replicas, now };
  if (known !== undefined) input.measured = ({ address }) => known.get(address);
  return planService(input, earlier);
}

/** Share of each replica in the table. */
export function sharesIn({ plan: { choices, replicas } }: Planned): number[] {
  const counts = new Array<number>(replicas.length).fill(0);
  for (const choice of choices) counts[choice] = (counts[choice] ?? 0) + 1;
  return counts.map((count) => count / choices.length);
}

export function service(
  spec: Partial<ServalService['spec']> = {},
  metadata: Partial<ServalService['metadata']> = {},
): ServalService {
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { namespace: 'shop', name: 'cart', ...metadata },
    spec: { virtualIPs: ['10.96.0.1'], ports: [{ port: 80 }], ...spec },
  };
}

export function slice(
  endpoints: EndpointSlice['endpoints'],
  more: Partial<EndpointSlice> = {},
): EndpointSlice {
  return {
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name: 'cart-1', labels: { [serviceNameLabel]: 'cart' } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ port: 8080 }],
    ...more,
  };
}
