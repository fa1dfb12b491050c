/** The chart by Helm itself, on a real API server; pods are objects only, since there is no kubelet. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { operatorProgram } from '@serval/operator';
import { parse, parseAllDocuments } from 'yaml';
import { requireRoot } from '../lab/processes.js';
import { accountClient, accountKubeconfig } from './account-client.js';
import { ControlPlane } from './control-plane.js';
import { chart, Helm, type HelmAnswer } from './helm.js';
import { kindsOf, labelled, pathOf, type Thing } from './kinds.js';
import { freePorts, loopback } from './ports.js';
import { within } from './within.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const namespace = 'serval-system';
const nodes = '/apis/serval.io/v1alpha1/servalnodes';
const ofRelease = 'app.kubernetes.io/instance=serval';

describe('the chart', () => {
  let plane: ControlPlane;
  let admin: KubeClient;
  let helm: Helm;
  let kubeconfig: string;

  beforeAll(async () => {
    helm = Helm.find();
    // As OpenShift has it: whoever makes a Service that belongs to a ServalService needs a right to that.
    const plugins = '--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement';
    plane = await ControlPlane.start({ progress: console.log, apiServerOptions: [plugins] });
    kubeconfig = plane.kubeconfigFile(plane.admin());
    admin = KubeClient.load('serval-test', kubeconfig);
  });
  afterAll(async () => {
    await admin?.close();
    await plane?.stop();
  });

  const ask = (...args: string[]): HelmAnswer => helm.ask(args, plane.folder, kubeconfig);
  const must = (...args: string[]): string => {
    const { code, out, error } = ask(...args);
    if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${error}${out}`);
    return out;
  };

  const as = (name: string, node?: string): Promise<KubeClient> =>
    accountClient(plane, admin, { namespace, name, ...(node === undefined ? {} : { node }) });

  it('passes lint, also with everything switched on', () => {
    must('lint', '--strict', chart);
    const all =
      'agent.enabled=true,agent.metrics.address=::,monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true';
    must('lint', '--strict', chart, '--set', all);
  });

  it.each([
    ['operator.replicas=none', /operator.*replicas/s],
    ['operator.replicas=-1', /operator.*replicas/s],
    ['operatr.replicas=1', /operatr/],
    ['agent.logLevel=loud', /logLevel/],
    ['agent.metrics.port=99999', /port/],
    ['image.pullPolicy=Sometimes', /pullPolicy/],
    ['certificates.mode=secret', /certificates.*secretName/s],
    ['certificates.life=30', /certificates.*life/s],
    ['certificates.signerName=mine', /signerName/],
  ])('refuses %s, and names it', (value, words) => {
    const { code, error } = ask('template', 'serval', chart, '--set', value);
    expect(code).not.toBe(0);
    expect(error).toMatch(words);
  });

  it('does not scrape agents where nobody could ask them', () => {
    const values =
      'agent.enabled=true,monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true';
    expect(ask('template', 'serval', chart, '--set', values).error).toMatch(
      /agent\.metrics\.address to "::"/,
    );
  });

  it('is installed, upgraded, rolled back and uninstalled; only the CRDs stay', async () => {
    const names = (text: string): string[] =>
      parseAllDocuments(text).flatMap((document) => {
        const thing = document.toJS() as Thing | null;
        return thing === null ? [] : [`${thing.kind} ${thing.metadata.name}`];
      });
    const replicas = async (): Promise<number> => {
      const path = `/apis/apps/v1/namespaces/${namespace}/deployments/serval-operator`;
      return (await admin.request<{ spec: { replicas: number } }>({ path })).spec.replicas;
    };
    const notes = must('install', 'serval', chart, '--namespace', namespace, '--create-namespace');
    await followed(notes);
    expect(await replicas()).toBe(2);
    must(
      'upgrade',
      'serval',
      chart,
      '--namespace',
      namespace,
      '--set',
      'operator.replicas=3,agent.enabled=false',
    );
    expect(await replicas()).toBe(3);
    const installed = names(must('get', 'manifest', 'serval', '--namespace', namespace));
    expect(installed).not.toContain('DaemonSet serval-agent');
    must('rollback', 'serval', '1', '--namespace', namespace);
    expect(await replicas()).toBe(2);
    expect(await labelled(admin, ofRelease)).toContain('DaemonSet serval-agent');
    // What Kubernetes makes of it, pods and all, it takes away itself.
    expect(await labelled(admin, ofRelease)).toContainEqual(expect.stringMatching(/^Pod serval-operator-/));
    must('uninstall', 'serval', '--namespace', namespace);
    const kept = ['servalmigrations', 'servalnodes', 'servalservices'].map(
      (name) => `CustomResourceDefinition ${name}.serval.io`,
    );
    let left: string[] = [];
    await within(20_000, 'all is gone but the CRDs', async () => {
      left = await labelled(admin, ofRelease);
      return left.length <= kept.length || undefined;
    }).catch(() => undefined);
    expect(left.sort()).toEqual(kept);
  });

  it.each([
    'monitoring.dashboard.enabled=true',
    'certificates.mode=secret,certificates.secretName=nodes',
    'certificates.signerName=clusterissuers.cert-manager.io/serval',
  ])('has nothing that the API server does not know, with %s', async (values) => {
    const set = ['--namespace', namespace, '--set', `agent.enabled=true,${values}`];
    const text = must('template', 'serval', chart, ...set);
    const kinds = await kindsOf(admin);
    const things = parseAllDocuments(text).map((document) => document.toJS() as Thing);
    expect(things.length).toBeGreaterThan(20);
    for (const thing of things)
      await admin
        .request({
          method: 'PATCH',
          path: pathOf(kinds, thing, namespace),
          query: { fieldManager: 'test', force: true, fieldValidation: 'Strict', dryRun: 'All' },
          contentType: 'application/apply-patch+yaml',
          body: thing,
        })
        .catch((error: unknown) => {
          throw new Error(`${thing.kind} ${thing.metadata.name}: ${(error as Error).message}`);
        });
  });

  it('takes over the CRDs that another release left, and what is in them; and upgrades them', async () => {
    const path = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';
    const body = {
      apiVersion: 'serval.io/v1alpha1',
      kind: 'ServalService',
      metadata: { name: 'kept' },
      spec: { ports: [{ port: 80 }] },
    };
    await admin.request({ method: 'POST', path, body });
    must('install', 'serval', chart, '--namespace', namespace, '--set', 'agent.enabled=true');
    const next = join(plane.folder, 'next');
    cpSync(chart, next, { recursive: true });
    const crd = join(next, 'templates/crds/servalservices.yaml');
    writeFileSync(crd, readFileSync(crd, 'utf8').replace('shortNames: [', 'shortNames: [newer, '));
    must('upgrade', 'serval', next, '--namespace', namespace, '--set', 'agent.enabled=true');
    const { spec } = await admin.request<{ spec: { names: { shortNames: string[] } } }>({
      path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servalservices.serval.io',
    });
    expect(spec.names.shortNames).toContain('newer');
    await admin.request({ method: 'DELETE', path: `${path}/kept` });
  });

  /** What the notes say to apply, word for word. */
  async function followed(notes: string): Promise<void> {
    const [, text = ''] = /<<END\n([\s\S]*?)\n\s*END\n/.exec(notes) ?? [];
    const object = parse(text) as Thing;
    const path = `/apis/${object.apiVersion}/namespaces/${object.metadata.namespace}/servalservices`;
    const query = { fieldValidation: 'Strict' };
    await within(10_000, 'the CRD is served', () =>
      admin.request<Thing>({ method: 'POST', path, query, body: object }),
    );
    await admin.request({ method: 'DELETE', path: `${path}/${object.metadata.name}` });
  }

  it('lets the operator do its work with its own account, and nothing beside', async () => {
    const own = await as('serval-operator');
    const kubeconfigOfOwn = await accountKubeconfig(plane, admin, { namespace, name: 'serval-operator' });
    const [port = 0] = await freePorts(1);
    const child = spawn(process.execPath, [
      operatorProgram,
      ...['--kubeconfig', kubeconfigOfOwn, '--lease-namespace', namespace],
      ...['--metrics-address', loopback, '--metrics-port', String(port)],
    ]);
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
    try {
      const path = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';
      const spec = { selector: { app: 'web' }, ports: [{ port: 80 }] };
      await admin.request({
        method: 'POST',
        path,
        body: { apiVersion: 'serval.io/v1alpha1', kind: 'ServalService', metadata: { name: 'mine' }, spec },
      });
      // The plugin learns of new kinds every 30 s; until then it refuses their Services, and the operator tries ever more
      // seldom: with bad luck after 40 s more.
      await within(
        90_000,
        'its Service is there and the status says so',
        async () => {
          const { status } = await admin.request<{ status?: { virtualIPs?: string[] } }>({
            path: `${path}/mine`,
          });
          return status?.virtualIPs?.[0];
        },
        () => words,
      );
      const events = '/apis/events.k8s.io/v1/namespaces/default/events';
      await within(10_000, 'an Event tells it', async () => {
        const { items } = await admin.request<{ items: Array<{ reason: string }> }>({ path: events });
        return items.find(({ reason }) => reason === 'Created');
      });
      expect(words).not.toMatch(/forbidden: User/);
    } finally {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
    }
    for (const path of ['/api/v1/secrets', '/api/v1/namespaces/default/configmaps'])
      await expect(own.request({ path })).rejects.toMatchObject({ code: 'ERR_NO_PERMISSION' });
    await expect(
      own.request({ method: 'DELETE', path: '/api/v1/namespaces/default/services/mine' }),
    ).rejects.toMatchObject({
      code: 'ERR_NO_PERMISSION',
    });
    await own.close();
  });

  it('gives no rights about certificates where somebody else makes them', () => {
    const rights = (values: string): string[] => {
      const text = must('template', 'serval', chart, '--set', values);
      const words = ['certificatesigningrequests', 'signers', 'secrets', 'serval-ca', '--agent-account'];
      return words.filter((word) => new RegExp(`(^|[\\s[])${word}\\b`, 'm').test(text.replace(/ #.*/g, '')));
    };
    expect(rights('agent.enabled=false')).toEqual([]);
    expect(rights('agent.enabled=true,certificates.mode=secret,certificates.secretName=nodes')).toEqual([]);
    const asked = ['certificatesigningrequests', 'serval-ca'];
    expect(rights('agent.enabled=true,certificates.signerName=example.com/x')).toEqual(asked);
    expect(rights('agent.enabled=true')).toHaveLength(5);
  });

  it('binds an agent to its own node', async () => {
    const agent = await as('serval-agent', 'n1');
    const spec = { address: '192.0.2.1:7946', hostAddresses: ['192.0.2.1'], podCIDRs: ['10.1.0.0/24'] };
    const write = (client: KubeClient, name: string, more: object = {}): Promise<unknown> =>
      client.request({
        method: 'PATCH',
        path: `${nodes}/${name}`,
        query: { fieldManager: 'test', force: true },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'serval.io/v1alpha1',
          kind: 'ServalNode',
          metadata: { name },
          spec: { ...spec, ...more },
        },
      });
    const status = (client: KubeClient, name: string): Promise<unknown> =>
      client.request({
        method: 'PATCH',
        path: `${nodes}/${name}/status`,
        contentType: 'application/merge-patch+json',
        body: { status: { agentVersion: '1' } },
      });
    for (const [name, podCIDR, address] of [
      ['n1', '10.1.0.0/24', '192.0.2.1'],
      ['n2', '10.2.0.0/24', '192.0.2.2'],
    ] as const) {
      const node = { metadata: { name }, spec: { podCIDR, podCIDRs: [podCIDR] } };
      await admin.request({ method: 'POST', path: '/api/v1/nodes', body: node });
      await admin.request({
        method: 'PATCH',
        path: `/api/v1/nodes/${name}/status`,
        contentType: 'application/merge-patch+json',
        body: { status: { addresses: [{ type: 'InternalIP', address }] } },
      });
    }
    await write(admin, 'n2');
    // A policy that has just been made takes a moment.
    await within(20_000, 'the policy holds', () =>
      write(agent, 'n2').then(
        () => undefined,
        () => true,
      ),
    );
    await within(20_000, 'it may write its own, once its Node is known', () =>
      write(agent, 'n1').then(() => true),
    );
    await status(agent, 'n1');
    // Whoever says that others' addresses are its own could have their connections moved to itself.
    for (const podCIDRs of [['10.2.0.0/24'], ['10.1.0.0/24', '10.2.0.0/24'], ['0.0.0.0/0'], ['10.1.0.0/16']])
      await expect(write(agent, 'n1', { podCIDRs })).rejects.toThrow(
        /must be among those of its Node.*10\.1\.0\.0\/24/,
      );
    await expect(write(agent, 'n1', { hostAddresses: ['192.0.2.1', '192.0.2.2'] })).rejects.toThrow(
      /hostAddresses of ServalNode n1 must be among/,
    );
    await expect(write(agent, 'n1', { address: '192.0.2.2:7946' })).rejects.toThrow(
      /spec\.address must be at one/,
    );
    const words = /the agent of node n1 may not write ServalNode n2/;
    // With what is right for it: of two policies that refuse, either may say so.
    const others = { address: '192.0.2.2:7946', hostAddresses: ['192.0.2.2'], podCIDRs: ['10.2.0.0/24'] };
    await expect(write(agent, 'n2', others)).rejects.toThrow(words);
    await expect(status(agent, 'n2')).rejects.toThrow(words);
    // By POST too, under a name that the API server is to choose.
    const other = { apiVersion: 'serval.io/v1alpha1', kind: 'ServalNode', metadata: { generateName: 'n1' } };
    await expect(agent.request({ method: 'POST', path: nodes, body: { ...other, spec } })).rejects.toThrow(
      /the agent of node n1 may not write ServalNode n1/,
    );
    const unbound = await as('serval-agent');
    await expect(write(unbound, 'n1')).rejects.toThrow(/bound to no pod/);
    const forbidden = { code: 'ERR_NO_PERMISSION' };
    await expect(agent.request({ path: '/api/v1/secrets' })).rejects.toMatchObject(forbidden);
    await expect(agent.request({ method: 'DELETE', path: `${nodes}/n1` })).rejects.toMatchObject(forbidden);
    const made = (path: string, body: object): Promise<unknown> =>
      agent.request({ method: 'POST', path: `/api/v1/namespaces/default/${path}`, body });
    const metadata = { name: 'planted' };
    await expect(made('secrets', { metadata })).rejects.toMatchObject(forbidden);
    const ports = [{ port: 80 }];
    await expect(made('services', { metadata, spec: { ports } })).rejects.toMatchObject(forbidden);
    const services = '/apis/serval.io/v1alpha1/namespaces/default/servalservices/mine';
    const patch = {
      method: 'PATCH',
      contentType: 'application/merge-patch+json',
      body: { spec: { maxDelayMs: 1 } },
    } as const;
    await expect(agent.request({ ...patch, path: services })).rejects.toMatchObject(forbidden);
    await Promise.all([agent.close(), unbound.close()]);
  });

  it('lets only the agents of a migration write its status, and none say whose it is', async () => {
    const path = '/apis/serval.io/v1alpha1/namespaces/default/servalmigrations';
    const contentType = 'application/merge-patch+json';
    const patch = (client: KubeClient, body: object): Promise<unknown> =>
      client.request({ method: 'PATCH', path: `${path}/m/status`, contentType, body: { status: body } });
    const body = {
      apiVersion: 'serval.io/v1alpha1',
      kind: 'ServalMigration',
      metadata: { name: 'm' },
      spec: { workload: { name: 'x' } },
    };
    await admin.request({ method: 'POST', path, body });
    const [source, target, stranger] = (await Promise.all(
      ['n1', 'n2', 'n3'].map((node) => as('serval-agent', node)),
    )) as [KubeClient, KubeClient, KubeClient];
    await expect(patch(source, { flows: 1 })).rejects.toThrow(/may not write the status/);
    await patch(admin, { sourceNode: 'n1', targetNode: 'n2' });
    await patch(source, { flows: 1 });
    await expect(patch(stranger, { flows: 2 })).rejects.toThrow(/the agent of node n3 may not write/);
    await patch(source, { sourceStep: 'moving', flows: 2, lost: { foreign: 1 }, reason: 'why' });
    await patch(target, { targetStep: 'prepared' });
    await patch(source, { sourceStep: 'restored' });
    const condition = {
      type: 'Succeeded',
      status: 'True',
      reason: 'Moved',
      message: '',
      lastTransitionTime: '2026-11-29T00:00:00Z',
    };
    for (const operators of [
      { targetNode: 'n3' },
      { phase: 'Succeeded' },
      { migration: '0123456789abcdef' },
      { targetPod: 'mine' },
      { finishedAt: '2026-11-29T00:00:00Z' },
      { conditions: [condition] },
    ])
      for (const agent of [source, target])
        await expect(patch(agent, operators)).rejects.toThrow(/are the operator's/);
    await expect(patch(source, { targetStep: 'owner' })).rejects.toThrow(
      /only the agent of the target's node/,
    );
    for (const sources of [{ sourceStep: 'released' }, { reason: 'mine' }, { flows: 7 }])
      await expect(patch(target, sources)).rejects.toThrow(/only the agent of the source's node/);
    await Promise.all([source, target, stranger].map((client) => client.close()));
  });
});
