/** Agents' copies and the operator while the API server is gone, and while it hangs. The bench does the same for longer. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { AgentsProcess } from './agents-process.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { makePods } from './hostile-world.js';
import { OperatorProcess } from './operator-process.js';
import { lists, makeServices, outage, type OutageResult } from './outage.js';

beforeAll(() => requireRoot());
jest.setTimeout(180_000);

const processes = 2;
const storesEach = 10;
const kinds = 4;
/** A watch that says nothing for so long is begun again: those of kinds that don't change too. */
const silentMs = 8_000;
/** One that is begun again is answered at once, or not at all. */
const openMs = 3_000;
/** Shorter than the silence: a watch that was silent for so long did not fail, and the next waits no longer for that. */
const steadyMs = 5_000;

describe('an outage of the API server', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let operator: OperatorProcess;
  const agents: AgentsProcess[] = [];

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    await installCrds(client);
    await makePods(client);
    operator = await OperatorProcess.start({ kubeconfig, name: 'one', more: ['--log-level', 'error'] });
    await makeServices(client, 20);
    const options = { kubeconfig, stores: storesEach, times: { silentMs, openMs, steadyMs } };
    for (let i = 0; i < processes; i++) agents.push(await AgentsProcess.start(options));
  });
  afterAll(async () => {
    await Promise.all(agents.map((each) => each.end()));
    await operator?.end('SIGKILL');
    await client?.close();
    await plane?.stop();
  });

  function show(result: OutageResult): void {
    const { requests, ...rest } = result;
    console.log(JSON.stringify({ ...rest, lists: lists(requests) }));
  }

  it('of 20 s leaves what agents have, and all come back by themselves, not at once', async () => {
    const result = await outage(
      { plane, client, operator, agents },
      { how: 'gone', seconds: 20, convergeMs: 90_000 },
    );
    show(result);
    expect(result.changed).toBe(0);
    expect(result.operatorNoticed).toBe(true);
    expect(result.silentMs).toBeGreaterThan(15_000);
    expect(result.returnedMs).toHaveLength(processes * storesEach);
    // Each of their watches lists once, and the API server's own and Kubernetes' controllers do.
    expect(lists(result.requests)).toBeLessThanOrEqual(processes * storesEach * kinds + 20);
    const [first = 0, last = 0] = [result.returnedMs[0], result.returnedMs.at(-1)];
    expect(last - first).toBeGreaterThan(1_000);
    expect(last).toBeLessThan(40_000);
    expect(result.convergedMs).toBeLessThan(60_000);
  });

  it('that hangs is noticed by the watches, and by the operator, which does not lead blindly', async () => {
    const result = await outage(
      { plane, client, operator, agents },
      { how: 'hangs', seconds: 18, convergeMs: 90_000 },
    );
    show(result);
    expect(result.changed).toBe(0);
    expect(result.silentMs).toBeGreaterThan(silentMs);
    expect(result.fewestErrors).toBeGreaterThan(0);
    expect(result.operatorNoticed).toBe(true);
    expect(result.convergedMs).toBeLessThan(60_000);
  });
});
