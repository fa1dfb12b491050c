/** What is simulated: nodes in three zones with clients on them, replicas on some, and what happens to them. */
import type { Replica } from '@serval/node-agent/services';

export const zones = ['a', 'b', 'c'] as const;
export const nodesPerZone = 12;

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

export const nodes: readonly SimulatedNode[] = Array.from(
  { length: nodesPerZone * zones.length },
  (_, i) => ({
    name: `node-${i}`,
    zone: i % zones.length,
  }),
);

export function replicasFor(count: number, isListed: (replica: number) => boolean): Replica[] {
  return Array.from({ length: count }, (_, i) => {
    const node = nodes[i % nodes.length] as SimulatedNode;
    const ready = isListed(i);
    return {
      address: `10.0.${i >> 8}.${i & 255}`,
      port: 80,
      node: node.name,
      zone: zones[node.zone] as string,
      region: 'r',
      ready,
      draining: false,
    };
  });
}

export function zoneOfReplica(replica: number): number {
  return (nodes[replica % nodes.length] as SimulatedNode).zone;
}
