/** Candidates for a lease of a real API server, as processes that end in every way. */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { requireRoot } from '../lab/processes.js';
import type { CandidateChildOptions, CandidateWord } from './candidate-child.js';
import { askKube, ControlPlane, type KubeUser } from './index.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(180_000);

const program = new URL('../../dist/cluster/candidate-child.js', import.meta.url).pathname;
/** A tenth or so of what they are in earnest. */
const times = { leaseMs: 2_000, renewMs: 1_300, retryMs: 300 };
/** The machine may have much else to do. */
const slackMs = 2_000;

class Candidate {
  readonly words: CandidateWord[] = [];
  private readonly child: ChildProcess;

  constructor(
    readonly identity: string,
    options: Omit<CandidateChildOptions, 'identity'>,
  ) {
    const given: CandidateChildOptions = { ...options, identity };
    this.child = spawn(process.execPath, [program, JSON.stringify(given)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    if (this.child.stdout !== null)
      createInterface(this.child.stdout).on('line', (line) =>
        this.words.push(JSON.parse(line) as CandidateWord),
      );
  }

  get isLeading(): boolean {
    return this.words.findLast(({ what }) => what !== 'works')?.what === 'leads';
  }

  get losses(): string[] {
    return this.words.flatMap((word) => (word.what === 'lost' ? [word.reason] : []));
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async ended(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
  }
}

/** On the clock of the candidates, ms. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function until(holds: () => boolean, withinMs = 20_000): Promise<void> {
  for (const deadline = now() + withinMs; !holds(); await delay(5))
    if (now() > deadline) throw new Error(`waited in vain for ${withinMs} ms`);
}

/** From the first to the last piece of work of each term. */
function terms(candidate: Candidate): Array<{ who: string; from: number; to: number }> {
  const found: Array<{ who: string; from: number; to: number }> = [];
  let isNew = true;
  for (const { what, at } of candidate.words) {
    if (what !== 'works') isNew = true;
    else if (isNew) {
      found.push({ who: candidate.identity, from: at, to: at });
      isNew = false;
    } else Object.assign(found.at(-1) ?? {}, { to: at });
  }
  return found;
}

describe('of three candidates for a lease', () => {
  let plane: ControlPlane;
  let admin: KubeUser;
  let kubeconfig: string;
  let leases = 0;
  let name: string;
  /** also those that have ended */
  let all: Candidate[] = [];
  let alive: Candidate[] = [];

  beforeAll(async () => {
    plane = await ControlPlane.start({ controllerManager: false, progress: console.log });
    admin = plane.admin();
    kubeconfig = plane.kubeconfigFile(admin);
  });
  afterAll(() => plane?.stop());
  afterEach(async () => {
    for (const each of alive) each.signal('SIGKILL');
    await Promise.all(alive.map((each) => each.ended()));
    [all, alive] = [[], []];
  });

  const start = (): void => {
    const one = new Candidate(`candidate-${all.length}`, {
      kubeconfig,
      namespace: 'default',
      name,
      ...times,
    });
    all.push(one);
    alive.push(one);
  };
  const startThree = async (): Promise<Candidate> => {
    name = `lease-${++leases}`;
    for (let i = 0; i < 3; i++) start();
    return leader(all, 20_000);
  };
  const leader = async (of: readonly Candidate[], withinMs: number): Promise<Candidate> => {
    await until(() => of.some((each) => each.isLeading), withinMs);
    return of.find((each) => each.isLeading) as Candidate;
  };
  const expectOneAtATime = (): number => {
    const sorted = all.flatMap(terms).sort((a, b) => a.from - b.from);
    sorted.forEach((term, i) => {
      const before = sorted[i - 1];
      if (before !== undefined && before.to >= term.from)
        throw new Error(`${JSON.stringify(before)} and ${JSON.stringify(term)} led at the same time`);
    });
    return sorted.length;
  };
  interface Lease {
    spec: { holderIdentity: string; leaseTransitions: number; leaseDurationSeconds: number };
  }
  const lease = (): Promise<Lease> =>
    askKube<Lease>(admin, 'GET', `/apis/coordination.k8s.io/v1/namespaces/default/leases/${name}`);

  it('one leads at any time, and the next soon, however the one before ends', async () => {
    let current = await startThree();
    const rounds = [
      'stop',
      'kill',
      'stand',
      'stop',
      'kill',
      'kill',
      'stand',
      'stop',
      'stop',
      'kill',
    ] as const;
    const took: Record<(typeof rounds)[number], number[]> = { stop: [], kill: [], stand: [] };
    for (const [i, how] of rounds.entries()) {
      await delay(100 * (i % 4));
      const others = alive.filter((each) => each !== current);
      const [began, losses] = [performance.now(), current.losses.length];
      current.signal({ stop: 'SIGTERM', kill: 'SIGKILL', stand: 'SIGSTOP' }[how] as NodeJS.Signals);
      const next = await leader(others, 20_000);
      took[how].push(Math.round(performance.now() - began));
      if (how === 'stand') {
        current.signal('SIGCONT');
        for (const before = current; before.losses.length === losses;) await delay(5);
        expect(['late', 'taken']).toContain(current.losses.at(-1));
      } else {
        await current.ended();
        alive = others;
        start();
      }
      current = next;
      expect((await lease()).spec).toMatchObject({
        holderIdentity: current.identity,
        leaseTransitions: i + 1,
        leaseDurationSeconds: 2,
      });
    }
    console.log('from the end of one to the next, ms', JSON.stringify(took));
    const { leaseMs, retryMs } = times;
    expect(Math.max(...took.stop)).toBeLessThan(retryMs + slackMs);
    expect(Math.max(...took.kill, ...took.stand)).toBeLessThan(leaseMs + retryMs + slackMs);
    // Who ends without a word leads until then, as far as anybody knows.
    expect(Math.min(...took.kill, ...took.stand)).toBeGreaterThan(leaseMs - times.renewMs);
    expect(expectOneAtATime()).toBe(rounds.length + 1);
  });

  it.each(['stopApiServer', 'killApiServer'] as const)(
    'none leads while the API server is gone for long (%s), and one when it is back',
    async (end) => {
      const current = await startThree();
      await plane[end]();
      const goneAt = now();
      await until(() => current.losses.length > 0);
      await delay(2 * times.leaseMs);
      expect(current.losses).toEqual(['late']);
      expect(all.filter((each) => each.isLeading)).toEqual([]);
      const [term] = terms(current);
      expect(term?.to).toBeLessThan(goneAt + times.renewMs);
      await plane.startApiServer();
      const backAt = now();
      const next = await leader(all, 2 * times.leaseMs + slackMs);
      const beganAt = next.words.findLast(({ what }) => what === 'leads')?.at ?? 0;
      const figures = [(term?.to ?? 0) - goneAt, beganAt - backAt].map(Math.round);
      console.log('last work after it was gone, first leader after it was ready, ms', ...figures);
      await delay(3 * times.retryMs);
      expect(all.filter((each) => each.isLeading)).toHaveLength(1);
      expect(expectOneAtATime()).toBe(2);
    },
  );
});
