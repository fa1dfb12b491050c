/** Pure: the service table as the local API tells it. Replicas are made into views when their turn comes. */
import { virtualIPsOf, type ReplicaView, type ServicePortView, type ServiceView } from '@serval/api';
import type { ServiceAddress, ServiceCount, ServiceRule } from '../../datapath/services/types.js';
import { serviceName } from '../../services/conflicts.js';
import type { Replica, ReplicaSeen, ServiceProblem, WeightedReplica } from '../../services/types.js';
import type { Lazily } from '../json-stream.js';
import type { ServiceState } from './controller.js';
import { balanceOf, protocolOf, type PlannedPort } from './planned-service.js';

export interface ViewSources {
  /** what the kernel counted at a virtual IP */
  count: (address: ServiceAddress) => ServiceCount;
  /** what this node's sockets have seen of a replica */
  seen: (rules: readonly ServiceRule[]) => (replica: Replica) => ReplicaSeen | undefined;
}

export function serviceView(
  { service, policy, ports, problems }: ServiceState,
  inUse: boolean,
  sources: ViewSources,
): Lazily<ServiceView> {
  return {
    name: serviceName(service),
    virtualIPs: [...virtualIPsOf(service)],
    policy,
    inUse,
    ports: ports.map((port) => portView(port, policy, sources)),
    problems: problems.map(inWords),
  };
}

function portView(
  { port, planned: { plan }, rules }: PlannedPort,
  policy: ServiceState['policy'],
  { count, seen }: ViewSources,
): Lazily<ServicePortView> {
  const protocol = protocolOf(port);
  const counts = rules.map(count);
  const sum = (what: keyof ServiceCount): number => counts.reduce((all, each) => all + each[what], 0);
  const seenOf = seen(rules);
  return {
    ...(port.name === undefined ? {} : { name: port.name }),
    port: port.port,
    protocol,
    family: port.family,
    virtualIPs: rules.map(({ address }) => address),
    rule: plan.rule,
    balance: balanceOf(policy),
    resolved: sum('resolved'),
    refused: sum('refused'),
    waited: sum('waited'),
    replicas: mapped(plan.replicas, (replica) => replicaView(replica, seenOf(replica))),
  };
}

export function replicaView(replica: WeightedReplica, seen: ReplicaSeen | undefined): ReplicaView {
  return seen === undefined ? replica : { ...replica, ...seen };
}

/** In one line. */
export function inWords({ subject, reason, remedy }: ServiceProblem): string {
  return `${subject}: ${reason}. ${remedy}.`;
}

export function* mapped<From, To>(items: Iterable<From>, map: (item: From) => To): Generator<To> {
  for (const item of items) yield map(item);
}
