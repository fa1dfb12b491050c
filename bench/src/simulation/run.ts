/** Lets flows come, stay and go, and writes down each second who had how many. */
import type { Measured, Replica, ReplicaLoad, ReplicaSeen } from '@serval/node-agent/services';
import { exponential, poisson, seeded } from './chance.js';
import { chooser, type Chooser, type StrategyName } from './strategy.js';
import { nodesOf, replicasOf, zoneOfReplica, zones, type Scenario, type SimulatedNode } from './world.js';

/** Of one second. */
export interface Second {
  /** from the end of the time in which flows build up, s */
  time: number;
  /** flows of each replica, mean over the second */
  flows: Float64Array;
  /** flows that began at each replica */
  begun: Uint32Array;
  /** flows that began, and those of them that left their client's zone */
  total: number;
  crossing: number;
  /** connects that met a replica that was not there */
  failed: number;
  /** what each zone's nodes keep inside the zone, by their weights, 0 to 1 */
  kept: number[];
}

export interface Run {
  strategy: StrategyName;
  scenario: Scenario;
  seconds: Second[];
}

const ticksPerSecond = 50;
/** Flow lives until the loads are what they will be. */
const buildUpLives = 5;
/** Tries of one connect, as a service's failover has them. */
const attempts = 3;

export function simulate(scenario: Scenario, strategy: StrategyName, seed = 1): Run {
  const simulation = new Simulation(scenario, strategy, seed);
  const from = -Math.ceil(Math.max(10, scenario.flowSeconds * buildUpLives));
  const seconds: Second[] = [];
  for (let time = from; time < scenario.seconds; time++) {
    const second = simulation.second(time);
    if (time >= Math.max(from, -20)) seconds.push(second);
  }
  return { strategy, scenario, seconds };
}

interface Client {
  node: SimulatedNode;
  chooser: Chooser;
  seen: Map<number, ReplicaSeen>;
  /** tick of each second in which it learns */
  phase: number;
}

class Simulation {
  private readonly chance: () => number;
  private readonly clients: Client[];
  private readonly flows: Int32Array;
  /** times that a replica went away: flows of earlier lives don't end again */
  private readonly lives: Int32Array;
  private readonly up: Uint8Array;
  /** ends of flows by tick */
  private readonly ends = new Map<number, number[]>();
  private readonly reports: Array<Array<ReplicaLoad | undefined>> = [];
  private readonly indices = new Map<string, number>();

  constructor(
    private readonly scenario: Scenario,
    strategy: StrategyName,
    seed: number,
  ) {
    this.chance = seeded(seed);
    this.flows = new Int32Array(scenario.replicas);
    this.lives = new Int32Array(scenario.replicas);
    this.up = new Uint8Array(scenario.replicas).fill(1);
    this.clients = nodesOf(scenario).map((node) => ({
      node,
      chooser: chooser(strategy, node),
      seen: new Map(),
      phase: Math.floor(this.chance() * ticksPerSecond),
    }));
    for (const [i, { address }] of replicasOf(scenario, () => true).entries()) this.indices.set(address, i);
  }

  second(time: number): Second {
    const { replicas } = this.scenario;
    const second: Second = {
      time,
      flows: new Float64Array(replicas),
      begun: new Uint32Array(replicas),
      total: 0,
      crossing: 0,
      failed: 0,
      kept: [],
    };
    this.changeWhoIsUp(time);
    const listed = replicasOf(this.scenario, (i) => this.scenario.isListed(i, time));
    const report = this.reports.at(-1 - this.scenario.reportDelay);
    for (let tick = 0; tick < ticksPerSecond; tick++) {
      this.end(time * ticksPerSecond + tick);
      for (const client of this.clients) {
        if (tick === client.phase) this.learn(client, listed, report, time + tick / ticksPerSecond);
        this.begin(client, time, tick, second);
      }
      for (let i = 0; i < replicas; i++)
        second.flows[i] = (second.flows[i] as number) + (this.flows[i] as number) / ticksPerSecond;
    }
    this.reports.push(Array.from(this.flows, (flows, i) => this.reportOf(flows, i)));
    if (this.reports.length > 10) this.reports.shift();
    second.kept = zones.map((_, zone) => this.keptIn(zone));
    return second;
  }

  private reportOf(established: number, replica: number): ReplicaLoad | undefined {
    return this.up[replica] === 1 ? { established, backlog: 0, moving: false } : undefined;
  }

  private changeWhoIsUp(time: number): void {
    for (let i = 0; i < this.up.length; i++) {
      const isUp = this.scenario.isUp(i, time) ? 1 : 0;
      if (isUp === 0 && this.up[i] === 1) {
        this.flows[i] = 0;
        this.lives[i] = (this.lives[i] as number) + 1;
      }
      this.up[i] = isUp;
    }
  }

  private end(tick: number): void {
    const { replicas } = this.scenario;
    for (const flow of this.ends.get(tick) ?? []) {
      const replica = flow % replicas;
      if (this.lives[replica] === (flow - replica) / replicas)
        this.flows[replica] = (this.flows[replica] as number) - 1;
    }
    this.ends.delete(tick);
  }

  private learn(
    client: Client,
    replicas: readonly Replica[],
    report: ReadonlyArray<ReplicaLoad | undefined> | undefined,
    time: number,
  ): void {
    client.chooser.learn({
      replicas,
      nowMs: time * 1_000,
      measured: ({ address }): Measured => {
        const i = this.indices.get(address) as number;
        return { load: report?.[i], seen: client.seen.get(i) };
      },
    });
  }

  private begin(client: Client, time: number, tick: number, second: Second): void {
    const { scenario } = this;
    const rate = (scenario.flowsEach * scenario.replicas) / scenario.flowSeconds / this.clients.length;
    const mean = (rate * scenario.demand(client.node.zone, time)) / ticksPerSecond;
    for (let count = poisson(this.chance, mean); count > 0; count--) {
      const replica = this.connect(client, second);
      if (replica === undefined) continue;
      second.total++;
      second.begun[replica] = (second.begun[replica] as number) + 1;
      if (zoneOfReplica(replica) !== client.node.zone) second.crossing++;
      this.flows[replica] = (this.flows[replica] as number) + 1;
      const lasts = exponential(this.chance, scenario.flowSeconds * scenario.slowness(replica, time));
      this.endAt(time * ticksPerSecond + tick + 1 + Math.floor(lasts * ticksPerSecond), replica);
    }
  }

  private endAt(tick: number, replica: number): void {
    const flow = (this.lives[replica] as number) * this.scenario.replicas + replica;
    const there = this.ends.get(tick);
    if (there === undefined) this.ends.set(tick, [flow]);
    else there.push(flow);
  }

  private connect(client: Client, second: Second): number | undefined {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const replica = client.chooser.choose(this.chance());
      if (replica === undefined) return undefined;
      const seen = client.seen.get(replica) ?? { rttUs: 0, connections: 0, failures: 0 };
      const isUp = this.up[replica] === 1;
      client.seen.set(replica, {
        rttUs: 0,
        connections: seen.connections + (isUp ? 1 : 0),
        failures: seen.failures + (isUp ? 0 : 1),
      });
      if (isUp) return replica;
      second.failed++;
    }
    return undefined;
  }

  private keptIn(zone: number): number {
    let [sum, count] = [0, 0];
    for (const { node, chooser } of this.clients) {
      if (node.zone !== zone) continue;
      chooser.weights().forEach((weight, i) => (sum += zoneOfReplica(i) === zone ? weight : 0));
      count++;
    }
    return sum / count;
  }
}
