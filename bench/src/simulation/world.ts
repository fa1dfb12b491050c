/** What is simulated: nodes in three zones with clients on them, replicas on some, and what happens to them. */
import type { Replica } from '@serval/node-agent/services';

export const zones = ['a', 'b', 'c'] as const;

export interface SimulatedNode {
  name: string;
  /** index into `zones` */
  zone: number;
}

export interface Scenario {
  name: string;
  /** for people */
  title: string;
  replicas: number;
  /** nodes with clients, and with replicas as far as there are any */
  nodesPerZone: number;
  /** how long a flow lasts on average, by chance, s */
  flowSeconds: number;
  /** flows that one replica has where all have the same number, before anything happens */
  flowsEach: number;
  /** from the end of the time in which flows build up, s */
  seconds: number;
  /** reports are so old when a node gets them, s */
  reportDelay: number;
  /** clients of a zone open so many times as many flows as others; by time, s */
  demand(zone: number, time: number): number;
  /** flows of a replica last so many times as long as others' */
  slowness(replica: number, time: number): number;
  /** serves at that time; what it had when it went is gone */
  isUp(replica: number, time: number): boolean;
  /** as the endpoints say, a moment later */
  isListed(replica: number, time: number): boolean;
}

/** In turn through the zones. */
export function nodesOf({ nodesPerZone }: Scenario): SimulatedNode[] {
  return Array.from({ length: nodesPerZone * zones.length }, (_, i) => ({
    name: `node-${i}`,
    zone: i % zones.length,
  }));
}

/** In turn through the nodes. */
export function replicasOf(scenario: Scenario, isListed: (replica: number) => boolean): Replica[] {
  const nodes = nodesOf(scenario);
  return Array.from({ length: scenario.replicas }, (_, i) => ({
    address: `10.0.${i >> 8}.${i & 255}`,
    port: 80,
    node: (nodes[i % nodes.length] as SimulatedNode).name,
    zone: zones[zoneOfReplica(i)] as string,
    region: 'r',
    ready: isListed(i),
    draining: false,
  }));
}

/** Index into `zones`. */
export function zoneOfReplica(replica: number): number {
  return replica % zones.length;
}
