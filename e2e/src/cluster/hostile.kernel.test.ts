/**
 * Ten thousand objects that somebody might write, and the operator as a program beside them. SERVAL_HOSTILE_SEED gives
 * others, SERVAL_HOSTILE_COUNT fewer or more.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { hostileObjects, type HostileKind } from './hostile-objects.js';
import { HostileRun, plurals } from './hostile-run.js';
import { faultOfHandling } from './hostile-verdict.js';
import { group, makePods, makeStrangers } from './hostile-world.js';
import { OperatorProcess, sumOf } from './operator-process.js';
import { requestsSince } from './request-counts.js';

beforeAll(() => requireRoot());
jest.setTimeout(180_000);

/** The same each time, so that what fails is what somebody changed. */
const seed = Number(process.env['SERVAL_HOSTILE_SEED'] ?? 20_261_129);
/** `npm run e2e -- api` writes 10,000, which takes 70 s; these are the first of them. */
const howMany = Number(process.env['SERVAL_HOSTILE_COUNT'] ?? 2_500);
const settleMs = 90_000;
const quietMs = 5_000;

type Listed = Parameters<typeof faultOfHandling>[1] & {
  metadata: { name: string; deletionTimestamp?: string };
};

describe(`hostile objects (SERVAL_HOSTILE_SEED=${seed})`, () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let operator: OperatorProcess;
  let run: HostileRun;

  beforeAll(async () => {
    console.log(`SERVAL_HOSTILE_SEED=${seed} gives these objects again`);
    plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    await installCrds(client);
    await Promise.all([makePods(client), makeStrangers(client)]);
    operator = await OperatorProcess.start({ kubeconfig, name: 'one', more: ['--log-level', 'error'] });
    run = new HostileRun(client, plane.admin(), seed);
  });
  afterAll(async () => {
    await operator?.end('SIGKILL');
    await client?.close();
    await plane?.stop();
  });

  async function list(kind: HostileKind): Promise<Listed[]> {
    const { items } = await client.request<{ items: Listed[] }>({ path: `${group}/${plurals[kind]}` });
    return items;
  }

  /** Kinds that this operator brings to what they should be. */
  async function handled(): Promise<Array<[HostileKind, 'Ready' | 'Succeeded']>> {
    const metrics = await operator.metrics();
    const has = (name: string): boolean => metrics.has(`serval_operator_queue_depth{controller="${name}"}`);
    return [
      ['ServalService', 'Ready'],
      ...(has('migrations') ? [['ServalMigration', 'Succeeded'] as [HostileKind, 'Succeeded']] : []),
    ];
  }

  /** What is not as it has to be; empty when all is. */
  async function unsettled(): Promise<string[]> {
    const faults: string[] = [];
    const nothing = { twists: [], verdict: 'accepted', fields: [] } as const;
    for (const [kind, type] of await handled())
      for (const object of await list(kind)) {
        const { name } = object.metadata;
        const expected = run.expected.get(`${kind} ${name}`) ?? { ...nothing, twists: [], fields: [] };
        const fault = faultOfHandling(expected, object, type);
        if (fault !== undefined) faults.push(`${kind} ${name} (${expected.twists.join(' and ')}): ${fault}`);
      }
    const depth = sumOf(await operator.metrics(), 'serval_operator_queue_depth');
    return depth === 0 ? faults : [`${depth} wait`, ...faults];
  }

  it('are refused with words that help, or accepted', async () => {
    const began = performance.now();
    await run.write(hostileObjects(seed, howMany));
    console.log(
      `${run.refused} refused, ${run.accepted} accepted in ${Math.round(performance.now() - began)} ms`,
    );
    expect(run.faults).toEqual([]);
    expect(run.refused).toBeGreaterThan(howMany / 4);
    expect(run.accepted).toBeGreaterThan(howMany / 8);
  });

  it('become something, or say in their condition why not', async () => {
    const began = performance.now();
    let left = await unsettled();
    for (; left.length > 0 && performance.now() < began + settleMs; left = await unsettled())
      await delay(500);
    console.log(`all settled ${Math.round(performance.now() - began)} ms after the last was written`);
    expect(left).toEqual([]);
  });

  it('let go what they held, when they are gone', async () => {
    const held = run.held.length;
    expect(held).toBeGreaterThan(0);
    await run.release();
    for (const kind of ['ServalService', 'ServalMigration'] as const)
      expect((await list(kind)).filter(({ metadata }) => metadata.deletionTimestamp !== undefined)).toEqual(
        [],
      );
  });

  it('leave an operator that never ended, and does nothing any more', async () => {
    const end = performance.now() + settleMs;
    const errorsOf = async (): Promise<number> =>
      sumOf(await operator.metrics(), 'serval_operator_reconcile_errors_total');
    /** What was asked of the API server meanwhile, and what failed. */
    const busy = async (): Promise<Record<string, number>> => {
      const [errors, requests] = [await errorsOf(), await plane.requests()];
      await delay(quietMs);
      const more = Object.entries(requestsSince(requests, await plane.requests()));
      const own = more.filter(([name]) => /serval|services|events/.test(name));
      const failed = (await errorsOf()) - errors;
      return { ...Object.fromEntries(own), ...(failed > 0 ? { failed } : {}) };
    };
    let last = await busy();
    const sum = (): number => Object.values(last).reduce((total, each) => total + each, 0);
    while (sum() > quietMs / 1_000 && performance.now() < end) last = await busy();
    console.log(`in ${quietMs} ms after all: ${JSON.stringify(last)}`);
    expect(sum()).toBeLessThanOrEqual(quietMs / 1_000);
    expect(operator.hasEnded).toBe(false);
    expect(operator.words()).not.toMatch(/stuck|unhandled|TypeError/i);
    expect(sumOf(await operator.metrics(), 'serval_operator_leader')).toBe(1);
  });
});
