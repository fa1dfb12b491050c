/**
 * The controller against an API server in memory, in random order with what agents, kubelets and users do; it is killed between
 * any two requests, and forgets everything then.
 */
import { describe, expect, it } from '@jest/globals';
import { isDeepStrictEqual } from 'node:util';
import { ServalError, type ServalMigration } from '@serval/api';
import fc from 'fast-check';
import type { Told } from '../told.js';
import { Copies, FakeCluster, Killed } from './cluster.fixture.js';
import { MigrationController } from './controller.js';
import { annotations, finalizer } from './names.js';
import { isEnded, isReleased } from './view.js';

const key = 'shop/move';
const replicaSet = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs', controller: true }];

class World {
  readonly cluster = new FakeCluster();
  now = Date.UTC(2026, 0, 1);
  copies = new Copies(this.cluster);
  /** of the process that leads next: they may be older, as a watch that is late */
  private next = new Copies(this.cluster);
  controller!: MigrationController;
  readonly told: Told[] = [];
  readonly ended: string[] = [];
  /** what the source's agent has done, whether it could say so or not */
  agent: Pick<NonNullable<ServalMigration['status']>, 'sourceStep' | 'reason'> = {};
  /** that it is to begin; that it is not any more may come later */
  hasHeard = false;
  /** of the migration, since it ended */
  private end: ServalMigration['status'];
  sourceUid: string;

  constructor(readonly isCounted: boolean) {
    for (const name of ['n1', 'n2', 'n3']) this.cluster.addNode(name);
    const pod = this.cluster.addPod('web', isCounted ? { ownerReferences: replicaSet } : {});
    this.sourceUid = pod.metadata.uid ?? '';
    this.cluster.addMigration('move');
    this.cluster.beforeWrite = (what, object) => this.mayWrite(what, object);
    this.next = new Copies(this.cluster);
    this.restart();
  }

  get migration(): ServalMigration | undefined {
    return this.cluster.migrations.get(key);
  }

  restart(): void {
    this.cluster.live();
    this.copies = this.next;
    this.next = new Copies(this.cluster);
    this.controller = new MigrationController({
      client: { request: (request) => this.cluster.request(request) as Promise<never> },
      store: this.copies.store,
      pods: this.copies.podCopies,
      tell: (told) => this.told.push(told),
      onEnded: (phase) => this.ended.push(phase),
      now: () => new Date(this.now),
    });
    this.controller.follow(() => undefined);
  }

  /** One look, after which the process may be dead. */
  async look(): Promise<void> {
    try {
      await this.controller.reconcile(key);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.restart();
    }
    this.check();
  }

  targets(): string[] {
    return [...this.cluster.pods.values()]
      .filter(({ metadata }) => metadata.annotations?.[annotations.migration] === key)
      .map(({ metadata }) => metadata.name);
  }

  /** What must be so at the moment that something is written. */
  private mayWrite(what: string, object: string): void {
    const { migration } = this;
    if (what === 'delete' && object === 'web' && (migration === undefined || !isReleased(migration)))
      throw new Error('the source pod was deleted before it was released');
    if (what === 'delete' && object !== 'web' && hasLeft(this))
      throw new Error('the target pod was deleted after the release');
  }

  check(): void {
    expect(this.targets().length).toBeLessThanOrEqual(1);
    const { migration } = this;
    if (migration === undefined || !isEnded(migration)) return;
    if (this.end !== undefined && !isDeepStrictEqual(operatorsOf(this.end), operatorsOf(migration.status)))
      throw new Error('it changed after it had ended');
    this.end = migration.status;
  }
}

/** All but what agents write. */
function operatorsOf(status: ServalMigration['status']): object {
  return { ...status, sourceStep: undefined, targetStep: undefined, reason: undefined };
}

type Step = (world: World) => Promise<void> | void;

const targetOf = ({ migration }: World): string => `shop/${migration?.status?.targetPod ?? ''}`;

/**
 * The source's agent begins where the operator says so, goes on a step, and cancels where it still can. What it says may come
 * later than what it does, but for that it begins: it says so first, and goes by what the API server answers.
 */
function agentStep(world: World, wish: 'on' | 'back'): void {
  const { migration, agent } = world;
  const phase = migration?.status?.phase;
  // That it is to cancel may come to it later than what else it does.
  const isBack = wish === 'back' || migration === undefined;
  if (agent.sourceStep === undefined) {
    if (world.hasHeard && migration !== undefined) claim(world, migration);
    world.hasHeard ||= phase === 'Moving';
  } else if (agent.sourceStep === 'preparing') {
    if (isBack) world.agent = { sourceStep: 'aborted', reason: 'no' };
    else if (world.cluster.pods.has(targetOf(world))) world.agent = { sourceStep: 'released' };
    else world.agent = { sourceStep: 'aborted', reason: 'the target is gone' };
  } else if (agent.sourceStep === 'released') retire(world);
}

function claim({ cluster, agent }: World, { metadata, status }: ServalMigration): void {
  const isWanted = status?.phase === 'Moving' && metadata.deletionTimestamp === undefined;
  agent.sourceStep = isWanted ? 'preparing' : 'aborted';
  cluster.say(key, agent);
}

/** Only when its pod is on its way out. */
function retire({ cluster, sourceUid, agent }: World): void {
  const pod = cluster.pods.get('shop/web');
  const isGone = pod === undefined || pod.metadata.uid !== sourceUid;
  if (isGone || pod.metadata.deletionTimestamp !== undefined) agent.sourceStep = 'retired';
}

function agentSays({ agent, cluster }: World): void {
  if (agent.sourceStep !== undefined) cluster.say(key, agent);
}

function timePasses(world: World): void {
  world.now += 400_000;
}

/** Pods that are deleted go; those that have a node and whose workload is there run. */
function kubelet(world: World): void {
  const { cluster } = world;
  for (const [name, { metadata, spec }] of cluster.pods) {
    if (metadata.deletionTimestamp !== undefined) cluster.removePod(name);
    else if (spec.nodeName !== undefined && name === targetOf(world) && hasLeft(world))
      cluster.changePod(name, {
        status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
      });
  }
}

function schedule(world: World): void {
  const key = targetOf(world);
  if (world.cluster.pods.get(key)?.spec.nodeName === undefined)
    world.cluster.changePod(key, { spec: { nodeName: 'n2' } });
}

/** As it is most of the time: everybody knows everything at once. */
async function round(world: World): Promise<void> {
  world.copies.catchUp('migrations');
  world.copies.catchUp('pods');
  await world.look();
  schedule(world);
}

const steps: ReadonlyArray<[weight: number, Step]> = [
  [6, round],
  [4, (world) => world.look()],
  [3, (world) => world.copies.catchUp('pods')],
  [3, (world) => world.copies.catchUp('migrations')],
  [4, (world) => agentStep(world, 'on')],
  [1, (world) => agentStep(world, 'back')],
  [2, kubelet],
  [2, schedule],
  [1, (world) => world.restart()],
  [2, (world) => world.cluster.deleteMigration(key)],
  [1, agentSays],
  [1, timePasses],
  [1, ({ cluster }) => cluster.addNode('n1', 'Unknown')],
  [1, ({ cluster }) => cluster.addNode('n1')],
];

function hasLeft({ agent }: World): boolean {
  return agent.sourceStep === 'released' || agent.sourceStep === 'retired';
}

const step = fc.oneof(
  ...steps.map(([weight, act], index) => ({ weight, arbitrary: fc.constant({ index, act }) })),
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(6), fc.boolean()).map(([requests, isAfter]) => ({
      index: steps.length,
      act: async (world: World) => {
        world.cluster.dieAfter(requests, isAfter);
        await world.look();
        world.cluster.live();
      },
    })),
  },
);

/** Everybody does what is theirs until nothing changes any more. */
async function settle(world: World): Promise<void> {
  world.cluster.addNode('n1');
  for (let round = 0; round < 40; round++) {
    world.copies.catchUp('migrations');
    world.copies.catchUp('pods');
    await world.look();
    agentStep(world, 'on');
    agentSays(world);
    schedule(world);
    kubelet(world);
  }
}

describe('the migration controller', () => {
  it.each([
    ['without a controller', false],
    ['of a ReplicaSet', true],
  ])('brings a move of a pod %s to a right end, whatever happens in between', async (_, isCounted) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(6), fc.array(step, { maxLength: 40 }), async (rounds, taken) => {
        const world = new World(isCounted);
        for (let i = 0; i < rounds; i++) await round(world);
        for (const { act } of taken) await act(world);
        await settle(world);
        const { migration, cluster } = world;
        if (migration !== undefined) {
          expect(isEnded(migration)).toBe(true);
          expect(migration.metadata.finalizers ?? []).not.toContain(finalizer);
        }
        // One pod is left: it has the labels, and nothing of ours to wait for.
        const left = [...cluster.pods.values()];
        expect(left.map(({ metadata }) => metadata.labels)).toEqual([{ app: 'web' }]);
        expect(left[0]?.metadata.annotations?.[annotations.holds]).toBeUndefined();
        expect(new Set(cluster.made).size).toBeLessThanOrEqual(1);
        expect(cluster.made.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  it('looks for a target pod that its copies do not have yet, before it ends', async () => {
    const world = new World(false);
    const { cluster } = world;
    for (let i = 0; i < 9 && cluster.made.length === 0; i++) await world.look();
    // Another one leads, whose watch of pods is late.
    world.copies.podCopies.bury(cluster.pods.get(targetOf(world)) as never);
    cluster.deleteMigration(key);
    world.copies.catchUp('migrations');
    for (let i = 0; i < 9; i++) await world.look();
    expect(cluster.deleted).toEqual(cluster.made);
  });

  it('deletes nothing by an old copy', async () => {
    const world = new World(false);
    const { cluster } = world;
    for (let i = 0; i < 9; i++) await round(world);
    cluster.say(key, { sourceStep: 'preparing' });
    cluster.deleteMigration(key);
    await round(world);
    cluster.say(key, { sourceStep: 'aborted' });
    world.copies.catchUp('migrations');
    // No agent takes that back; it stands for whatever an old copy does not know.
    cluster.say(key, { sourceStep: 'moving' });
    await world.look();
    expect(cluster.deleted).toEqual([]);
  });

  it('says why Kubernetes refuses the target pod', async () => {
    const world = new World(false);
    const details = { status: 403, reason: 'Forbidden' };
    world.cluster.refuses = new ServalError('ERR_NO_PERMISSION', {
      subject: 'x',
      reason: 'exceeded quota: pods=1',
      remedy: 'x',
      details,
    });
    await settle(world);
    expect(world.migration?.status?.phase).toBe('Failed');
    expect(world.migration?.status?.conditions?.[0]).toMatchObject({ reason: 'TargetRefused' });
    expect(world.migration?.status?.conditions?.[0]?.message).toMatch(/exceeded quota/);
    expect(world.ended).toEqual(['Failed']);
  });

  it('tells each reason once, of the migration and of its pod', async () => {
    const world = new World(true);
    await settle(world);
    const told = (kind: string): string[] =>
      world.told.filter(({ object }) => object.kind === kind).map(({ reason }) => reason);
    expect(told('ServalMigration')).toEqual(['Started', 'Scheduled', 'Moving', 'Released', 'Moved']);
    expect(told('Pod')).toContain('Started');
    expect(world.ended).toEqual(['Succeeded']);
  });
});
