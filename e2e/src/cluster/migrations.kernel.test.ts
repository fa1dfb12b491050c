/**
 * The operator as a program moves pods on a real API server, with Kubernetes' own scheduler and ReplicaSet controller. Agents
 * and kubelets are played: what they would write is written here.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { makeRuntimeClass } from './runtime-class.js';
import { FakeKubelet } from './fake-kubelet.js';
import { MigrationScene } from './migration-scene.js';
import type { OperatorProcess } from './operator-process.js';
import { OperatorProcesses } from './operator-processes.js';

beforeAll(() => requireRoot());
jest.setTimeout(180_000);

describe('the operator moves pods', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let kubelet: FakeKubelet;
  let scene: MigrationScene;
  let operators: OperatorProcesses;

  beforeAll(async () => {
    plane = await ControlPlane.start({
      progress: console.log,
      scheduler: true,
      // It would find that no kubelet renews its node.
      controllerManagerOptions: ['--controllers=*,-node-lifecycle-controller'],
    });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    await installCrds(client);
    await makeRuntimeClass(client);
    kubelet = new FakeKubelet(client);
    await kubelet.start();
    scene = new MigrationScene(client, kubelet);
    await scene.addNodes('n1', 'n2');
    operators = new OperatorProcesses(client, kubeconfig);
  });
  // Told to end, they leave no lease that the next one would have to wait for.
  afterEach(() => operators.endAll('SIGTERM'));
  afterAll(async () => {
    await scene?.stop();
    await kubelet?.stop();
    await client?.close();
    await plane?.stop();
  });

  async function leader(name = 'one'): Promise<OperatorProcess> {
    const operator = await operators.start(name);
    await operators.within(20_000, `${name} leads`, () => operators.leads(operator));
    return operator;
  }

  /** Names of all pods that were ever made which begin like this. */
  const madeLike = (begin: string): string[] => kubelet.made.filter((name) => name.startsWith(begin));
  const finalizersOf = async (name: string): Promise<string[]> =>
    (await scene.read(name)).metadata.finalizers ?? [];

  it('moves a bare pod to the node that is named', async () => {
    const operator = await leader();
    await scene.addPod('bare', 'n1');
    await scene.migrate('bare', 'bare', { targetNode: 'n2' });
    const { migration, sourceNode, targetNode, targetPod = '' } = await scene.reaches('bare', 'Moving');
    expect({ sourceNode, targetNode }).toEqual({ sourceNode: 'n1', targetNode: 'n2' });
    expect(targetPod).toBe(`bare-${migration?.slice(0, 8)}`);
    const held = kubelet.pod(targetPod);
    expect(held?.metadata.labels).toBeUndefined();
    expect(held?.metadata.annotations).toMatchObject({ 'serval.io/migration': 'default/bare' });
    expect(await finalizersOf('bare')).toEqual(['serval.io/migration']);
    await scene.says('bare', { sourceStep: 'freezing', targetStep: 'prepared' });
    await scene.reaches('bare', 'Moving', 'Moving');
    expect(kubelet.pod('bare')?.metadata.deletionTimestamp).toBeUndefined();
    await scene.says('bare', { sourceStep: 'released', targetStep: 'owner' });
    // Who has no ReplicaSet is not kept waiting for the target.
    await scene.holds('the source is gone', () => kubelet.pod('bare') === undefined);
    await kubelet.arrive(targetPod);
    await scene.holds('it has its labels', () => kubelet.pod(targetPod)?.metadata.labels?.['app'] === 'bare');
    expect((await scene.read('bare')).status?.phase).toBe('Finishing');
    await scene.says('bare', { sourceStep: 'retired' });
    const { conditions, finishedAt } = await scene.reaches('bare', 'Succeeded', 'Moved');
    expect(finishedAt).toBeDefined();
    expect(conditions?.[0]).toMatchObject({ type: 'Succeeded', status: 'True' });
    await scene.holds('the finalizer is off', async () => (await finalizersOf('bare')).length === 0);
    expect(madeLike('bare')).toEqual(['bare', targetPod]);
    const { text } = await operator.page('/metrics');
    expect(text).toMatch(/^serval_operator_migrations_ended_total\{result="succeeded"\} 1$/m);
    expect(text).toMatch(/^serval_operator_migrations\{phase="Moving"\} 0$/m);
    await operators.within(5_000, 'Events tell it', async () => {
      const { items } = await client.request<{
        items: Array<{ reason: string; regarding: { kind: string; name: string } }>;
      }>({ path: '/apis/events.k8s.io/v1/namespaces/default/events' });
      const told = (kind: string): string[] =>
        items
          .filter(({ regarding }) => regarding.name === 'bare' && regarding.kind === kind)
          .map(({ reason }) => reason);
      const wanted = ['Started', 'Scheduled', 'Moving', 'Released', 'Moved'];
      return (
        (wanted.every((reason) => told('ServalMigration').includes(reason)) &&
          told('Pod').includes('Released')) ||
        undefined
      );
    });
  });

  it('moves a pod of a Deployment to where the scheduler wants it, and no third pod is made', async () => {
    await leader();
    const containers = [{ name: 'main', image: 'x' }];
    const labels = { app: 'shop' };
    const deployments = '/apis/apps/v1/namespaces/default/deployments';
    await client.request({
      method: 'POST',
      path: deployments,
      body: {
        metadata: { name: 'shop' },
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers } },
        },
      },
    });
    await scene.holds('its pod runs', () =>
      kubelet.pods().some(({ metadata, status }) => metadata.labels?.['app'] === 'shop' && status.podIP),
    );
    const [source = ''] = madeLike('shop-');
    const node = kubelet.pod(source)?.spec.nodeName;
    await scene.migrate('shop', source);
    const { targetPod = '', targetNode, sourceNode } = await scene.reaches('shop', 'Moving');
    expect(sourceNode).toBe(node);
    expect(targetNode).not.toBe(node);
    await scene.says('shop', { sourceStep: 'released', targetStep: 'owner' });
    await scene.reaches('shop', 'Finishing', 'WaitsForReady');
    await kubelet.arrive(targetPod, false);
    expect(kubelet.pod(source)?.metadata.deletionTimestamp).toBeUndefined();
    await kubelet.arrive(targetPod);
    await scene.holds('the source is gone', () => kubelet.pod(source) === undefined);
    await scene.says('shop', { sourceStep: 'retired' });
    await scene.reaches('shop', 'Succeeded');
    // The ReplicaSet has counted, and was content.
    await scene.holds('the Deployment says that one is Ready', async () => {
      const { status } = await client.request<{
        status: { replicas: number; readyReplicas: number; observedGeneration: number };
      }>({ path: `${deployments}/shop` });
      return status.replicas === 1 && status.readyReplicas === 1;
    });
    expect(madeLike('shop-')).toEqual([source, targetPod]);
    const now = kubelet.pods().filter(({ metadata }) => metadata.labels?.['app'] === 'shop');
    expect(now.map(({ metadata }) => metadata.name)).toEqual([targetPod]);
    expect(now[0]?.metadata.ownerReferences?.[0]?.kind).toBe('ReplicaSet');
    // And again: what was moved can be moved.
    await scene.migrate('again', targetPod);
    const again = await scene.reaches('again', 'Moving');
    expect(again.targetPod).toMatch(new RegExp(`^${source}-[0-9a-f]{8}$`));
    expect(again.targetNode).toBe(node);
    await scene.says('again', { sourceStep: 'released' });
    await kubelet.arrive(again.targetPod ?? '');
    await scene.holds('the first target is gone', () => kubelet.pod(targetPod) === undefined);
    await scene.says('again', { sourceStep: 'retired' });
    await scene.reaches('again', 'Succeeded');
    expect(madeLike('shop-')).toEqual([source, targetPod, again.targetPod]);
    await client.request({ method: 'DELETE', path: `${deployments}/shop` });
  });

  it('takes a move back when it is deleted before the release, and ends it when after', async () => {
    await leader();
    await scene.addPod('undo', 'n1');
    await scene.migrate('undo', 'undo');
    const { targetPod = '' } = await scene.reaches('undo', 'Moving');
    await scene.says('undo', { sourceStep: 'quiescing' });
    await scene.delete('undo');
    await scene.reaches('undo', 'Aborting');
    expect(kubelet.pod(targetPod)).toBeDefined();
    await scene.says('undo', { sourceStep: 'aborted', reason: 'it was cancelled' });
    await scene.goes('undo');
    await scene.holds('the target pod is gone', () => kubelet.pod(targetPod) === undefined);
    expect(kubelet.pod('undo')?.metadata.deletionTimestamp).toBeUndefined();

    await scene.migrate('late', 'undo');
    const { targetPod: late = '' } = await scene.reaches('late', 'Moving');
    await scene.says('late', { sourceStep: 'moving' });
    await scene.delete('late');
    await scene.reaches('late', 'Aborting');
    // It had been released when the agent was asked to cancel.
    await scene.says('late', { sourceStep: 'released', targetStep: 'owner' });
    await kubelet.arrive(late);
    await scene.holds('the source is gone', () => kubelet.pod('undo') === undefined);
    await scene.holds('it has its labels', () => kubelet.pod(late)?.metadata.labels?.['app'] === 'undo');
    expect((await scene.read('late')).status?.phase).toBe('Finishing');
    await scene.says('late', { sourceStep: 'retired' });
    await scene.goes('late');
    expect(kubelet.pod(late)).toBeDefined();
    expect(madeLike('undo')).toEqual(['undo', targetPod, late]);
  });

  it('takes a move back at its deadline', async () => {
    await leader();
    await scene.addPod('slow', 'n1');
    await scene.migrate('slow', 'slow', { deadlineSeconds: 10 });
    const { targetPod = '' } = await scene.reaches('slow', 'Moving');
    await scene.says('slow', { sourceStep: 'planning' });
    await scene.reaches('slow', 'Aborting');
    await scene.says('slow', { sourceStep: 'aborted' });
    const { conditions } = await scene.reaches('slow', 'Failed', 'DeadlineExceeded');
    expect(conditions?.[0]?.message).toMatch(/not done within 10 s .*stays where it was/);
    await scene.holds('the target pod is gone', () => kubelet.pod(targetPod) === undefined);
    await scene.holds('the finalizer is off', async () => (await finalizersOf('slow')).length === 0);
  });

  it.each<[string, string, object | undefined, object, RegExp]>([
    ['WorkloadNotFound', 'nobody', undefined, {}, /no pod default\/nobody/],
    ['TargetIsSource', 'same', {}, { targetNode: 'n1' }, /on node n1 already/],
    ['TargetWithoutAgent', 'lost', {}, { targetNode: 'n9' }, /node n9 has no ServalNode/],
    ['HostNetwork', 'host', { hostNetwork: true }, {}, /hostNetwork/],
    [
      'KindUnsupported',
      'vm',
      undefined,
      { workload: { kind: 'VirtualMachineInstance', name: 'vm' } },
      /can not be moved yet/,
    ],
  ])('refuses in words: %s', async (reason, name, pod, spec, words) => {
    await leader();
    if (pod !== undefined) await scene.addPod(name, 'n1', pod);
    await scene.migrate(`no-${name}`, name, spec);
    const { conditions } = await scene.reaches(`no-${name}`, 'Failed', reason);
    expect(conditions?.[0]?.message).toMatch(words);
    await scene.holds('the finalizer is off', async () => (await finalizersOf(`no-${name}`)).length === 0);
    expect(madeLike(`${name}-`)).toEqual([]);
  });

  it('makes no target pod without the RuntimeClass that holds its containers back', async () => {
    await leader();
    await client.request({ method: 'DELETE', path: '/apis/node.k8s.io/v1/runtimeclasses/serval' });
    const body = {
      metadata: { name: 'probe' },
      spec: { runtimeClassName: 'serval', containers: [{ name: 'a', image: 'a' }] },
    };
    const probe = {
      method: 'POST',
      path: '/api/v1/namespaces/default/pods',
      query: { dryRun: 'All' },
      body,
    } as const;
    await scene.holds('it is not known any more', () =>
      client.request(probe).then(
        () => false,
        () => true,
      ),
    );
    await scene.addPod('alone', 'n1');
    await scene.migrate('unheld', 'alone', { targetNode: 'n2' });
    const { conditions } = await scene.reaches('unheld', 'Failed', 'NoRuntimeClass');
    expect(conditions?.[0]?.message).toMatch(/RuntimeClass "serval" not found/);
    expect(madeLike('alone')).toEqual(['alone']);
    await makeRuntimeClass(client);
  });

  /** Kills the one that leads; what the other then does proves that it has taken over. */
  async function killed(operator: OperatorProcess, other: OperatorProcess): Promise<void> {
    // One that has only begun to start is no second replica yet.
    await operators.within(
      20_000,
      `${other.name} stands for election`,
      async () => (await other.page('/readyz')).status === 200 || undefined,
    );
    const from = performance.now();
    await operator.end('SIGKILL');
    await operators.within(15_000, `${other.name} leads`, () => operators.leads(other));
    console.log(`${other.name} leads after ${Math.round(performance.now() - from)} ms`);
  }

  it('goes on in every phase when the leader is killed, and does nothing twice', async () => {
    let [now, next] = [await leader('op-0'), await operators.start('op-1')];
    let count = 1;
    const kill = async (): Promise<void> => {
      await killed(now, next);
      [now, next] = [next, await operators.start(`op-${++count}`)];
    };
    // Nobody but the test puts its target on a node.
    const spec = { schedulerName: 'nobody' };
    await scene.addPod('tough', 'n1', spec);
    await scene.fallSilent('n2', 'False');
    await scene.migrate('tough', 'tough', { targetNode: 'n2' });
    await scene.reaches('tough', 'Pending', 'AgentNotReady');
    await kill();
    await scene.speak('n2');
    const { targetPod = '' } = await scene.reaches('tough', 'Preparing');
    await scene.holds('its target pod is made', () => kubelet.pod(targetPod) !== undefined);
    await kill();
    await scene.bind(targetPod, 'n2');
    await scene.reaches('tough', 'Moving');
    await scene.says('tough', { sourceStep: 'moving' });
    await kill();
    await scene.says('tough', { sourceStep: 'released', targetStep: 'owner' });
    await scene.reaches('tough', 'Finishing');
    await scene.holds('the source is gone', () => kubelet.pod('tough') === undefined);
    await kill();
    await kubelet.arrive(targetPod);
    await scene.holds(
      'it has its labels',
      () => kubelet.pod(targetPod)?.metadata.labels?.['app'] === 'tough',
    );
    await scene.says('tough', { sourceStep: 'retired' });
    await scene.reaches('tough', 'Succeeded');
    expect(madeLike('tough')).toEqual(['tough', targetPod]);
    expect(kubelet.deleted.filter((name) => name.startsWith('tough'))).toEqual(['tough']);

    await scene.addPod('taken-back', 'n1');
    await scene.migrate('taken-back', 'taken-back');
    const { targetPod: other = '' } = await scene.reaches('taken-back', 'Moving');
    await scene.says('taken-back', { sourceStep: 'moving' });
    await scene.delete('taken-back');
    await scene.reaches('taken-back', 'Aborting');
    await kill();
    await scene.says('taken-back', { sourceStep: 'aborted' });
    await scene.goes('taken-back');
    await scene.holds('the target pod is gone', () => kubelet.pod(other) === undefined);
    expect(madeLike('taken-back')).toEqual(['taken-back', other]);
    expect(kubelet.deleted.filter((name) => name.startsWith('taken-back'))).toEqual([other]);
  });

  it('doubts an agent that is silent, and believes it when it speaks again', async () => {
    await leader();
    await scene.addNodes('n3');
    await scene.fallSilent('n3', 'True');
    const readyOf = async (): Promise<string | undefined> => {
      const { status } = await client.request<{ status: { conditions: Array<{ status: string }> } }>({
        path: '/apis/serval.io/v1alpha1/servalnodes/n3',
      });
      return status.conditions[0]?.status;
    };
    // 40 s from when the one that leads has looked first, and it may have to take over before that.
    await scene.holds(
      'it is doubted',
      async () => (await readyOf()) === 'Unknown',
      () => operators.words(),
      90_000,
    );
    await scene.speak('n3');
    expect(await readyOf()).toBe('True');
  });
});
