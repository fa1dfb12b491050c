/** Ways to choose a replica: Serval's, by the very code that the agent runs, and what others do. */
import {
  defaultPolicy,
  planService,
  type Measured,
  type Place,
  type Planned,
  type Replica,
} from '@serval/node-agent/services';
import { zones, type SimulatedNode } from './world.js';

/** What a node gets to know. */
export interface Reported {
  replicas: readonly Replica[];
  measured: (replica: Replica) => Measured | undefined;
  nowMs: number;
}

/** One node's choices; each node decides for itself. */
export interface Chooser {
  /** Once a second, at a moment of the node's own. */
  learn(reported: Reported): void;
  /** `chance` is from 0 to below 1. Undefined: there is nobody to choose. */
  choose(chance: number): number | undefined;
  /** each replica's share of this node's flows */
  weights(): Float64Array;
}

export const strategyNames = ['serval', 'zone', 'random'] as const;
export type StrategyName = (typeof strategyNames)[number];

export function chooser(name: StrategyName, node: SimulatedNode): Chooser {
  if (name === 'serval') return new Serval(node);
  return new Alike((replica) => name === 'random' || replica.zone === zones[node.zone]);
}

class Serval implements Chooser {
  private planned: Planned | undefined;
  private readonly place: Place;

  constructor(node: SimulatedNode) {
    this.place = { node: node.name, zone: zones[node.zone] as string, region: 'r' };
  }

  learn({ replicas, measured, nowMs }: Reported): void {
    const input = { policy: defaultPolicy, place: this.place, replicas, measured, now: nowMs };
    this.planned = planService(input, this.planned?.state);
  }

  choose(chance: number): number | undefined {
    const choices = this.planned?.plan.choices;
    return choices?.[Math.floor(chance * choices.length)];
  }

  weights(): Float64Array {
    return Float64Array.from(this.planned?.plan.replicas ?? [], ({ weight }) => weight);
  }
}

/** Topology-aware routing, or kube-proxy's random choice: all that are ready and near enough, whatever their load. */
class Alike implements Chooser {
  private members: number[] = [];
  private count = 0;

  constructor(private readonly isNear: (replica: Replica) => boolean) {}

  learn({ replicas }: Reported): void {
    this.count = replicas.length;
    this.members = [...replicas.keys()].filter((i) => {
      const replica = replicas[i] as Replica;
      return replica.ready && this.isNear(replica);
    });
  }

  choose(chance: number): number | undefined {
    return this.members[Math.floor(chance * this.members.length)];
  }

  weights(): Float64Array {
    const weights = new Float64Array(this.count);
    for (const member of this.members) weights[member] = 1 / this.members.length;
    return weights;
  }
}
