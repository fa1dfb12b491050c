/** A service as the controller has planned it, for tests of what is said about it. */
import type { EndpointSlice, ServalServiceSpec } from '@serval/api';
import { serviceName, servicePoints } from '../../services/conflicts.js';
import { service, slice } from '../../services/services.fixture.js';
import type { Measured } from '../../services/types.js';
import { serviceKey } from '../../datapath/services/encode.js';
import type { ServiceAddress } from '../../datapath/services/types.js';
import { jsonPieces } from '../json-stream.js';
import type { ServedPort, ServiceState } from './controller.js';
import { planned, protocolOf } from './planned-service.js';

const zones: Record<string, string> = { here: 'a', near: 'a', far: 'b' };

/** Its replicas are 10.0.0.1 here, 10.0.0.2 near, 10.0.0.3 far, unless others are given. */
export const endpoints: EndpointSlice['endpoints'] = [
  { addresses: ['10.0.0.1'], nodeName: 'here' },
  { addresses: ['10.0.0.2'], nodeName: 'near' },
  { addresses: ['10.0.0.3'], nodeName: 'far' },
];

export interface Given {
  spec?: Partial<ServalServiceSpec>;
  name?: string;
  endpoints?: EndpointSlice['endpoints'];
  /** by address */
  measured?: Readonly<Record<string, Measured>>;
  own?: Readonly<Record<string, bigint>>;
}

export function stateOf(given: Given = {}): ServiceState {
  const object = service(given.spec, given.name === undefined ? {} : { name: given.name });
  const { points, problems } = servicePoints([object], () => false).get(serviceName(object)) ?? {
    points: [],
    problems: [],
  };
  const plan = planned(
    {
      service: object,
      slices: [
        slice(given.endpoints ?? endpoints, { ports: [{ port: 8080 }, { port: 5353, protocol: 'UDP' }] }),
      ],
      points,
      surroundings: { node: (name) => ({ zone: zones[name] ?? 'z', region: 'r' }) },
      place: { node: 'here', zone: 'a', region: 'r' },
      measured: ({ address }) => given.measured?.[address],
      seen: () => [],
      isAsBefore: false,
      ownClient: (address) => given.own?.[address],
      now: 0,
    },
    undefined,
  );
  return {
    service: object,
    policy: plan.policy,
    ports: [...plan.ports.values()],
    problems: [...problems, ...plan.problems],
  };
}

/** What the controller says of these. */
export function servicesOf(...states: ServiceState[]): {
  state: (name: string) => ServiceState | undefined;
  at: (asked: Omit<ServiceAddress, 'protocol'>, protocol?: 'tcp' | 'udp') => ServedPort | undefined;
  served: () => Generator<ServiceAddress>;
} {
  const owners = new Map<string, ServedPort>();
  for (const { service: object, policy, ports } of states)
    for (const port of ports)
      for (const rule of port.rules)
        owners.set(serviceKey({ ...rule, protocol: protocolOf(port.port) }), {
          name: serviceName(object),
          policy,
          port,
        });
  return {
    state: (name) => states.find(({ service: object }) => serviceName(object) === name),
    at: (asked, protocol = 'tcp') => owners.get(serviceKey({ ...asked, protocol })),
    *served() {
      for (const { port } of owners.values()) yield* port.rules;
    },
  };
}

/** As it is on the wire. */
export function asRead<View>(value: unknown): View {
  return JSON.parse([...jsonPieces(value)].join('')) as View;
}
