/** A workload under traffic in a lab with agents, and moves of it that go wrong. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError, type ServalMigration } from '@serval/api';
import { Fleet, type AgentProcess, type FleetOptions } from '../fleet/index.js';
import { createLab, type Lab } from '../lab/index.js';
import { Traffic, type ClientOptions, type StreamClient } from '../traffic/index.js';
import type { Fault, Outcome, Who } from './catalogue.js';
import { haltable } from './halt.js';
import { leftovers, runningCopies, Watch, type Seen } from './watch.js';

/** Shorter than the defaults, in the same order: a suite has no 25 s for each fault. */
export const deadlines = {
  prepareMs: 15_000,
  holdingMs: 1_000,
  frozenMs: 4_000,
  peerHoldMs: 6_000,
  outcomeMs: 200,
  settleMs: 500,
  switchGraceMs: 1_500,
};

const port = 7000;
const hosts = ['s1-h1', 's2-h1', 's3-h1'] as const;
const endMs = 45_000;
const cleanMs = 15_000;
/** Timers that have run out a few times in a cut of 5 s run out again within so many of these. */
const movesAtMost = 5;
const againMs = 2_000;
const halfAcknowledged = /soccr.*recv failed \(\d+, want \d+\)/;

/** One attempt to move the workload. */
export interface Attempt {
  migration: string;
  agents: Record<Who, AgentProcess>;
  hosts: Record<Who, string>;
  /** has it ended, as the source's agent says? */
  over: () => boolean;
}

export interface Ended extends Seen {
  outcome: Outcome;
  reason: string;
  migration: ServalMigration;
  tookMs: number;
}

interface Row {
  fault: string;
  outcome: Outcome;
  reason: string;
  connections: number;
  longestHoldMs: number;
  tookMs: number;
}

export class World {
  private readonly rows: Row[] = [];
  private readonly clients: StreamClient[] = [];
  private at: string = hosts[0];
  private workload = '';
  private count = 0;
  private connections = 0;

  private constructor(
    readonly lab: Lab,
    readonly fleet: Fleet,
    private readonly traffic: Traffic,
  ) {}

  static async make(options: FleetOptions = {}): Promise<World> {
    const lab = await createLab({ sites: 3 });
    try {
      const config = { deadlines, ...options.config };
      const fleet = await Fleet.start(lab, { ...options, config, env: { ...haltable, ...options.env } });
      const world = new World(lab, fleet, new Traffic(lab, fleet.imagesDir));
      await world.populate();
      return world;
    } catch (error) {
      lab.remove();
      throw error;
    }
  }

  async remove(): Promise<void> {
    await this.fleet.remove();
    this.lab.remove();
  }

  /** Where the workload is, where it goes next, and who only looks on. */
  get roles(): Record<Who, string> {
    const target = this.at === hosts[0] ? hosts[1] : hosts[0];
    return { source: this.at, target, peer: hosts[2] };
  }

  get name(): string {
    return this.workload;
  }

  agentOf(who: Who): AgentProcess {
    return this.fleet.agent(this.roles[who]);
  }

  /** Moves the workload while `harm` is done, and looks that all that must hold does. */
  async attempt(fault: Fault, harm: (attempt: Attempt) => Promise<void>): Promise<Ended> {
    const roles = this.roles;
    const agents = {
      source: this.agentOf('source'),
      target: this.agentOf('target'),
      peer: this.agentOf('peer'),
    };
    const migration = `fault-${++this.count}`;
    let over = false;
    const watch = new Watch(this.fleet, `stream.py\0server\0${port}`);
    const start = performance.now();
    try {
      // A killed source does not answer; its migration goes on, or is rolled back, all the same.
      const asked = agents.source
        .migrate({ workload: this.workload, targetNode: roles.target, name: migration })
        .catch(() => undefined);
      const ending = agents.source.ended(migration, endMs).finally(() => (over = true));
      await Promise.all([harm({ migration, agents, hosts: roles, over: () => over }), asked, ending]);
      const ended = await ending;
      const succeeded = ended.status?.conditions?.find(({ type }) => type === 'Succeeded');
      const outcome = succeeded?.status === 'True' ? 'completed' : 'rolled back';
      if (outcome === 'completed') this.at = roles.target;
      await this.clean();
      await this.goesOn();
      const result: Ended = {
        ...watch.end(),
        outcome,
        reason: ended.status?.reason ?? succeeded?.message ?? '',
        migration: ended,
        tookMs: Math.round(performance.now() - start),
      };
      this.note(fault, result);
      return result;
    } finally {
      watch.end();
    }
  }

  /**
   * The same move again, undisturbed. After a cut a connection may wait for its timer with a segment that is acknowledged in
   * part, which CRIU can not dump (criu-process.ts): that move is rolled back, and done when the segment has been sent again.
   */
  async moves(): Promise<void> {
    const { source, target } = this.roles;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.fleet.move(this.workload, source, target);
        break;
      } catch (error) {
        if (attempt === movesAtMost || !halfAcknowledged.test((error as Error).message)) throw error;
        await delay(againMs);
      }
    }
    this.at = target;
    await this.goesOn();
  }

  copies(): string[] {
    return runningCopies(this.lab.id, `stream.py\0server\0${port}`);
  }

  async goesOn(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.goesOn()));
    const failed = this.clients.flatMap((client) => client.result()?.errors ?? []);
    if (failed.length > 0) throw wrong('traffic', failed.join('; '));
  }

  /** Nothing is held, nothing waits for a switch any more, and every role has come to its end. */
  async clean(): Promise<void> {
    const deadline = performance.now() + cleanMs;
    for (;;) {
      const found = await leftovers(this.fleet).catch((error: Error) => [error.message]);
      if (found.length === 0) return;
      if (performance.now() > deadline) throw wrong('lab', `after ${cleanMs} ms: ${found.join('; ')}`);
      await delay(50);
    }
  }

  /** Ends all traffic; every connection must end as it has to. */
  async intact(): Promise<{ errors: string[]; connections: number; finished: number }> {
    const results = await Promise.all(this.clients.map((client) => client.stop()));
    return {
      errors: results.flatMap(({ errors }) => errors),
      connections: results.reduce((sum, { connections }) => sum + connections, 0),
      finished: results.reduce((sum, { finished }) => sum + finished, 0),
    };
  }

  /** For docs/reliability.md (scripts/reliability.mjs). */
  save(suite: string): void {
    const folder = new URL('../../../out/faults/', import.meta.url);
    mkdirSync(folder, { recursive: true });
    writeFileSync(new URL(`${suite}.json`, folder), JSON.stringify(this.rows, null, 2));
  }

  private note({ name }: Fault, { outcome, reason, longestHoldMs, tookMs }: Ended): void {
    const { connections } = this;
    this.rows.push({ fault: name, outcome, reason, connections, longestHoldMs, tookMs });
  }

  private async populate(): Promise<void> {
    const home = await this.lab.createPod({ name: 'server', host: this.at });
    this.workload = 'faults/server';
    await this.fleet.declare(home, this.workload, { process: await this.traffic.server(home, port) });
    const kinds = [
      [hosts[0], home.address4, {}],
      [hosts[1], home.address4, {}],
      [hosts[2], home.address4, {}],
      [hosts[2], home.address6, {}],
    ] as const;
    await Promise.all(
      kinds.map(async ([host, address, options]: readonly [string, string, ClientOptions], index) => {
        const name = `client-${index + 1}`;
        const pod = await this.lab.createPod({ name, host });
        await this.fleet.declare(pod, `faults/${name}`);
        const more = { connections: 2, seed: index + 1, pause: 0.02, largest: 2048, ...options };
        this.clients.push(await this.traffic.client(pod, address, port, more));
        this.connections += more.connections;
      }),
    );
  }
}

function wrong(subject: string, reason: string): ServalError {
  return new ServalError('ERR_CONFLICT', { subject, reason, remedy: "Read the agents' logs" });
}
