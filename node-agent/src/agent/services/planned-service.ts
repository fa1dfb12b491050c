/** Pure but for what it is given: one service's ports planned, and the rules that the kernel gets for them. */
import type { EndpointSlice, ServalService } from '@serval/api';
import { endpointKey } from '../../datapath/services/encode.js';
import type { ReplicaSight, ServiceRule } from '../../datapath/services/types.js';
import type { Protocol } from '../../datapath/types.js';
import type { ServicePoint } from '../../services/conflicts.js';
import { planService, type Planned } from '../../services/plan.js';
import { isByClient, isInTurn, policyOf } from '../../services/policy.js';
import { replicasOf, type PortReplicas, type Surroundings } from '../../services/replicas.js';
import type {
  Measured,
  Place,
  Replica,
  ReplicaSeen,
  ServicePolicy,
  ServiceProblem,
} from '../../services/types.js';

/** One port of a service in one address family: planned once, for all its virtual IPs. */
export interface PlannedPort {
  port: PortReplicas;
  planned: Planned;
  /** one for each virtual IP */
  rules: ServiceRule[];
}

export interface PlannedService {
  policy: ServicePolicy;
  /** by portKey */
  ports: ReadonlyMap<string, PlannedPort>;
  problems: ServiceProblem[];
}

export interface PlanningInput {
  service: ServalService;
  slices: readonly EndpointSlice[];
  /** where it serves: those places that belong to an older service are not among them */
  points: readonly ServicePoint[];
  surroundings: Surroundings;
  place: Place;
  /** what others know of a replica; `seen` is what this node's own sockets have met */
  measured: (replica: Replica, protocol: Protocol, seen: ReplicaSeen | undefined) => Measured | undefined;
  /** of a rule that is in the kernel */
  seen: (rule: ServiceRule) => readonly ReplicaSight[];
  /** cookie of the client that has this address here */
  ownClient: (address: string) => bigint | undefined;
  /** service, slices and surroundings are as they were: nothing is new but what was measured */
  isAsBefore: boolean;
  now: number;
}

/** Rules that would be the same in the kernel are the same objects as before. */
export function planned(input: PlanningInput, before: PlannedService | undefined): PlannedService {
  const { policy, ports, problems } = (input.isAsBefore && before && kept(before)) || read(input);
  const result = new Map<string, PlannedPort>();
  for (const port of ports) {
    const key = portKey(port);
    result.set(key, plannedPort(input, policy, port, before?.ports.get(key)));
  }
  return { policy, ports: result, problems };
}

interface Read extends Pick<PlannedService, 'policy' | 'problems'> {
  ports: readonly PortReplicas[];
}

function read({ service, slices, surroundings }: PlanningInput): Read {
  return { policy: policyOf(service.spec), ...replicasOf(service, slices, surroundings) };
}

/** What is planned each second for its load is not read each second. */
function kept({ policy, ports, problems }: PlannedService): Read {
  return { policy, ports: [...ports.values()].map(({ port }) => port), problems };
}

export function portKey({ port, protocol, family }: PortReplicas): string {
  return `${protocol} ${port} ${family}`;
}

export function protocolOf({ protocol }: PortReplicas): Protocol {
  return protocol === 'UDP' ? 'udp' : 'tcp';
}

/** How the kernel draws the number of a flow's choice. */
export function balanceOf(policy: ServicePolicy): ServiceRule['balance'] {
  if (isByClient(policy)) return 'BY_CLIENT';
  return isInTurn(policy) ? 'IN_TURN' : 'RANDOM';
}

/** Its clients wait: nobody is there. */
export function isWaiting({ rule, choices }: ServiceRule): boolean {
  return rule === 'DELAY' && choices.length === 0;
}

function plannedPort(
  input: PlanningInput,
  policy: ServicePolicy,
  port: PortReplicas,
  before: PlannedPort | undefined,
): PlannedPort {
  const { place, now, points } = input;
  const protocol = protocolOf(port);
  const seen = seenOf(input.seen, before?.rules ?? []);
  const result = planService(
    {
      policy,
      place,
      replicas: port.replicas,
      measured: (replica) => input.measured(replica, protocol, seen.get(endpointKey(replica))),
      now,
    },
    before?.planned.state,
  );
  const { rule, choices } = result.plan;
  const { replicas } = port;
  const common = {
    port: port.port,
    protocol,
    rule,
    replicas,
    choices,
    balance: balanceOf(policy),
    synTimeoutMs: policy.attempts > 1 ? policy.synTimeoutMs : 0,
    own: ownReplicas(input, policy, replicas),
    ...(balanceOf(policy) === 'RANDOM' && isEven(result.state.table.weights) ? { even: true } : {}),
  };
  const rules = points
    .filter((point) => point.port === port.port && point.protocol === port.protocol)
    .filter(({ virtualIP }) => port.virtualIPs.includes(virtualIP))
    .map(({ virtualIP }): ServiceRule => {
      const fresh = { ...common, address: virtualIP };
      const old = before?.rules.find(({ address }) => address === virtualIP);
      return old !== undefined && isSame(old, fresh) ? old : fresh;
    });
  return { port, planned: result, rules };
}

/** Everybody gets as much as anybody: no table of choices says more than their number. */
function isEven(weights: ArrayLike<number>): boolean {
  const usual = weights[0] ?? 0;
  for (let i = 1; i < weights.length; i++)
    if (Math.abs((weights[i] as number) - usual) > usual * 1e-6) return false;
  return usual > 0;
}

/** By address and port, of all virtual IPs together. */
export function seenOf(
  seen: (rule: ServiceRule) => readonly ReplicaSight[],
  rules: readonly ServiceRule[],
): Map<string, ReplicaSeen> {
  const all = new Map<string, ReplicaSeen>();
  for (const rule of rules)
    for (const sight of seen(rule)) {
      const { connections, failures, rttUs } = sight;
      const key = endpointKey(sight);
      const other = all.get(key);
      all.set(key, {
        connections: connections + (other?.connections ?? 0),
        failures: failures + (other?.failures ?? 0),
        rttUs: Math.max(rttUs, other?.rttUs ?? 0),
      });
    }
  return all;
}

const nobody: ReadonlyMap<bigint, number> = new Map();

function ownReplicas(
  { ownClient }: PlanningInput,
  policy: ServicePolicy,
  replicas: readonly Replica[],
): ReadonlyMap<bigint, number> {
  if (policy.ownReplica !== 'Prefer') return nobody;
  const own = new Map<bigint, number>();
  for (const [number, { address, ready }] of replicas.entries()) {
    const cookie = ready ? ownClient(address) : undefined;
    if (cookie !== undefined) own.set(cookie, number);
  }
  return own;
}

function isSame(a: ServiceRule, b: ServiceRule): boolean {
  const isAlike =
    a.choices === b.choices &&
    a.rule === b.rule &&
    a.balance === b.balance &&
    a.even === b.even &&
    a.synTimeoutMs === b.synTimeoutMs &&
    a.own.size === b.own.size &&
    a.replicas.length === b.replicas.length;
  if (!isAlike) return false;
  for (const [cookie, number] of b.own) if (a.own.get(cookie) !== number) return false;
  return a.replicas.every(
    ({ address, port }, i) => address === b.replicas[i]?.address && port === b.replicas[i].port,
  );
}
