import { beforeEach, describe, expect, it } from '@jest/globals';
import { apiVersion, type FlowView, type ServalMigration } from '@serval/api';
import { runCli } from '../commands.js';
import { FakeCluster, refusal } from './cluster.fixture.js';

const migrations = '/apis/serval.io/v1alpha1/namespaces/default/servalmigrations';
const agentLabels = { 'app.kubernetes.io/component': 'agent' };

let cluster: FakeCluster;
let interrupt: (() => void) | undefined;
let opened: object | undefined;
let out = '';
let err = '';
beforeEach(() => {
  cluster = new FakeCluster();
  interrupt = opened = undefined;
  out = err = '';
  cluster.put('/api/v1/namespaces/default/pods/redis-0', {
    metadata: { name: 'redis-0' },
    spec: { nodeName: 'n1' },
  });
  cluster.answers.set(`POST ${migrations}`, ({ body }) => {
    const made = body as ServalMigration;
    const object = {
      ...made,
      metadata: { ...made.metadata, name: made.metadata.name ?? 'redis-0-x1', uid: 'u' },
    };
    cluster.put(`${migrations}/${object.metadata.name}`, object);
    return object;
  });
});

function run(words: string[], terminal = false, environment = {}): Promise<number> {
  return runCli(words, {
    screen: { write: (text) => void (out += text), terminal, width: 100 },
    printError: (text) => void (err += text),
    environment,
    version: '0.1.0',
    openCluster: (options) => {
      opened = options;
      return Promise.resolve(cluster);
    },
    onInterrupt: (handler) => {
      interrupt = handler;
      return () => (interrupt = undefined);
    },
  });
}

async function until(what: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !what(); await new Promise((resolve) => setTimeout(resolve, 1)))
    if (performance.now() > end) throw new Error(`not within 5 s; said: ${out}${err}`);
}

function state(status: object, more: object = {}): void {
  const metadata = { name: 'redis-0-x1', namespace: 'default', uid: 'u', ...more };
  const spec = { workload: { name: 'redis-0' } };
  cluster.put(`${migrations}/redis-0-x1`, { apiVersion, kind: 'ServalMigration', metadata, spec, status });
}

function ended(phase: string, status: 'True' | 'False', message = ''): object {
  const condition = { type: 'Succeeded', status, reason: phase, message, lastTransitionTime: '' };
  return { phase, finishedAt: '2026-01-01T00:00:01Z', conditions: [condition] };
}

describe('where the words go', () => {
  it('is the cluster that they name, which is closed in the end', async () => {
    const words = ['migrations', '--kubeconfig', '/k', '--context', 'c', '-n', 'shop'];
    expect(await run(words)).toBe(0);
    expect([opened, cluster.isClosed]).toEqual([{ kubeconfig: '/k', context: 'c', namespace: 'shop' }, true]);
  });

  it.each([
    [['status', '--socket', '/nowhere'], {}],
    [['--socket=/nowhere', 'status'], {}],
    [['--socket', '/nowhere', 'status'], {}],
    [['status'], { SERVAL_SOCKET: '/nowhere' }],
  ])('is an agent where its socket is named: %j %j', async (words, environment) => {
    expect(await run(words, false, environment)).toBe(3);
    expect([opened, err]).toEqual([
      undefined,
      expect.stringMatching(/agent at \/nowhere: there is no such socket/),
    ]);
  });

  it('is the agent of the option, whatever the environment says', async () => {
    for (const words of [
      ['status', '--socket', '/mine'],
      ['--socket=/mine', 'status'],
    ]) {
      err = '';
      await run(words, false, { SERVAL_SOCKET: '/other' });
      expect(err).toMatch(/agent at \/mine/);
    }
  });

  it('closes the cluster also when something fails', async () => {
    expect(await run(['migrations', 'no-such-thin'])).toBe(1);
    expect(cluster.isClosed).toBe(true);
  });
});

describe('migrate', () => {
  it('waits on a terminal, draws one line, and goes over it', async () => {
    const running = run(['migrate', 'redis-0'], true);
    await until(() => out.includes('waiting'));
    state({ phase: 'Moving', sourceStep: 'holding', flows: 3 });
    state({ ...ended('Succeeded', 'True'), flows: 3, targetNode: 'n2' });
    expect(await running).toBe(0);
    expect(out.replaceAll('\r\u001b[K', '<')).toMatch(
      /<[-\\|/] redis-0-x1: Moving, holding, 3 flows 0\.\d ms \(\d.* in all\)</,
    );
    expect(out).toMatch(/default\/redis-0 to n2: moved; 3 flows, none lost\n$/);
  });

  it('does not wait elsewhere, unless it is told to', async () => {
    expect(await run(['migrate', 'redis-0'])).toBe(0);
    expect(out).toMatch(
      /waiting to begin; see how it goes: kubectl serval migrations redis-0-x1 -n default -w/,
    );
    expect(await run(['migrate', 'redis-0', '--name', 'x', '--no-wait'], true)).toBe(0);
  });

  it('prints nothing that moves the cursor, whatever an agent has written', async () => {
    const running = run(['migrate', 'redis-0', '--wait']);
    await until(() => out.includes('waiting'));
    state({ phase: 'Moving\u001b[2J', sourceStep: '\u009b1A' });
    state(ended('Failed', 'False', 'bad \u001b]0;title\u0007 news'));
    expect(await running).toBe(1);
    // eslint-disable-next-line no-control-regex -- that is the point
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(out).toMatch(/not moved \(Failed\): bad \?\]0;title\? news/);
  });

  it('says how to give it up when it is interrupted, and touches nothing', async () => {
    const running = run(['migrate', 'redis-0', '--wait']);
    await until(() => interrupt !== undefined && out.includes('waiting'));
    interrupt?.();
    expect(await running).toBe(130);
    expect(err).toMatch(/goes on without being watched[^]*kubectl serval abort redis-0-x1 -n default\n$/);
    expect(cluster.asked.some(({ method }) => method === 'DELETE')).toBe(false);
  });

  it('ends when somebody deletes it meanwhile', async () => {
    const running = run(['migrate', 'redis-0', '--wait']);
    await until(() => out.includes('waiting'));
    state({ phase: 'Preparing' });
    cluster.remove(`${migrations}/redis-0-x1`);
    expect(await running).toBe(1);
    expect(out).toMatch(/was deleted in Preparing: it is given up/);
  });

  it('does not take another one of the same name for it', async () => {
    const running = run(['migrate', 'redis-0', '--wait']);
    await until(() => out.includes('waiting'));
    state(ended('Succeeded', 'True'), { uid: 'other' });
    state({ phase: 'Moving' });
    await until(() => out.includes('Moving'));
    state(ended('Failed', 'False'));
    expect(await running).toBe(1);
  });

  it('says once that the server is lost, and fails where it may not watch', async () => {
    const running = run(['migrate', 'redis-0', '--wait']);
    await until(() => out.includes('waiting'));
    cluster.fail(new Error('socket hang up'));
    cluster.fail(new Error('socket hang up'));
    expect(err).toBe('redis-0-x1: the API server is lost and is tried again (socket hang up)\n');
    cluster.fail(refusal('watch', 403));
    expect(await running).toBe(1);
  });

  it('lets those ask who may not look at pods', async () => {
    cluster.answers.set('GET /api/v1/namespaces/default/pods/secret', () => {
      throw refusal('pods', 403);
    });
    expect(await run(['migrate', 'secret'])).toBe(0);
  });

  it('asks for virtual machines by their kind', async () => {
    expect(await run(['migrate', 'vmi/machine', '-o', 'json'])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      spec: { workload: { kind: 'VirtualMachineInstance', name: 'machine' } },
    });
  });
});

describe('flows', () => {
  const flow: FlowView = {
    ...{ flowId: '0000000000000abc', pod: 'default/redis-0', protocol: 'tcp', state: 'active' },
    identity: { local: { address: '10.1.0.5', port: 1 }, remote: { address: '10.2.0.1', port: 2 } },
    wire: { local: { address: '10.9.0.5', port: 1 }, remote: { address: '10.2.0.1', port: 2 } },
    ...{ migration: '00000000000000aa', packetsOut: 1, bytesOut: 2, packetsIn: 3, bytesIn: 4 },
  };
  const agent = (node: string, phase = 'Running'): void =>
    cluster.put(`/api/v1/namespaces/serval-system/pods/agent-${node}`, {
      metadata: { name: `agent-${node}`, namespace: 'serval-system', labels: agentLabels },
      spec: { nodeName: node },
      status: { phase },
    });
  beforeEach(() => {
    // The fake knows no selectors.
    cluster.answers.set('GET /api/v1/pods', ({ query }) => ({
      items: [...cluster.objects.values()].filter((each) => {
        const { metadata, spec } = each as { metadata: { labels?: object }; spec: { nodeName: string } };
        const [, node = spec.nodeName] = String(query?.['fieldSelector'] ?? '').split('=');
        return metadata.labels !== undefined && spec.nodeName === node;
      }),
    }));
  });

  it('asks the agents, each in its pod, and says which node told what', async () => {
    agent('n2');
    agent('n1');
    cluster.runs = ({ pod }) => ({
      code: 0,
      out: JSON.stringify(pod === 'agent-n1' ? [flow] : []),
      error: '',
    });
    expect(await run(['flows'])).toBe(0);
    expect(out.split('\n')[1]?.split(/ {2,}/).slice(0, 5)).toEqual([
      ...['n1', '0000000000000abc', 'default/redis-0', 'tcp', '10.1.0.5:1 - 10.2.0.1:2'],
    ]);
    expect(cluster.execs[0]).toEqual({
      ...{ namespace: 'serval-system', pod: 'agent-n1', container: 'agent' },
      command: ['/usr/local/bin/kubectl-serval', 'flows', '--socket', '/run/serval/agent.sock', '-o', 'json'],
    });
  });

  it('asks the agent of the node that a pod is on', async () => {
    agent('n1');
    agent('n2');
    cluster.runs = () => ({ code: 0, out: JSON.stringify([flow]), error: '' });
    expect(await run(['flows', '--pod', 'redis-0', '-o', 'json'])).toBe(0);
    expect(JSON.parse(out)).toEqual([{ node: 'n1', ...flow }]);
    expect(cluster.execs.map(({ pod, command }) => [pod, command.slice(1, 4)])).toEqual([
      ['agent-n1', ['flows', '--pod', 'default/redis-0']],
    ]);
  });

  it('shows what there is where one of them does not answer, and fails', async () => {
    agent('n1');
    agent('n2');
    cluster.runs = ({ pod }) =>
      pod === 'agent-n1'
        ? { code: 0, out: JSON.stringify([flow]), error: '' }
        : { code: 3, out: '', error: 'nobody listens' };
    expect(await run(['flows'])).toBe(1);
    expect([out, err]).toEqual([expect.stringMatching(/^n1 /m), 'serval: node n2: nobody listens\n']);
  });

  it.each([
    ['no agent runs there', () => undefined],
    ["its agent's pod does not run", () => agent('n1', 'Pending')],
  ])('says that %s', async (words, before) => {
    before();
    expect(await run(['flows', '--node', 'n1'])).toBe(1);
    expect(err).toMatch(new RegExp(`node n1: ${words}`));
  });
});

describe('abort', () => {
  it('asks for exactly this one, and says that nothing was touched', async () => {
    state({});
    expect(await run(['abort', 'redis-0-x1'])).toBe(0);
    expect(out).toBe('redis-0-x1: given up before it began; redis-0 was not touched\n');
    expect(cluster.asked.find(({ method }) => method === 'DELETE')?.body).toMatchObject({
      preconditions: { uid: 'u' },
    });
  });
});
