import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import type { ServalNode } from '@serval/api';
import { FakeCluster, refusal } from '../cluster.fixture.js';
import type { Crd, Node, NodeInfo, Pod, SigningRequest, Workload } from '../types.js';
import { componentFindings, coverageFindings, versionFindings } from './after.js';
import { certificateFindings } from './certificates.js';
import { installedFindings, obstacleFindings } from './crds.js';
import { look, reportLines, reportOf, someOf, type Finding } from './finding.js';
import { networkFindings } from './network.js';
import { nodeFindings } from './nodes.js';
import { made, permissionFindings } from './permissions.js';

const results = (findings: readonly Finding[]): string[] =>
  findings.map(({ name, result }) => `${result} ${name}`);

function node(name: string, info: Partial<NodeInfo> = {}, more: Partial<Node> = {}): Node {
  const nodeInfo = {
    ...{
      kernelVersion: '6.12.1',
      osImage: 'Debian GNU/Linux 13 (trixie)',
      containerRuntimeVersion: 'containerd://2.0.0',
    },
    ...{ kubeletVersion: 'v1.33.1', operatingSystem: 'linux', architecture: 'amd64', ...info },
  };
  return { metadata: { name, labels: { 'kubernetes.io/os': 'linux' } }, status: { nodeInfo }, ...more };
}

describe('nodes', () => {
  it.each([
    ['5.14.0-427.el9.x86_64', 'fail', /older than 5\.15: no data plane/],
    ['5.15.0-1', 'ok', /clsact/],
    ['6.5.9', 'ok', /clsact/],
    ['6.6.0', 'ok', /with TCX/],
    ['10.0', 'ok', /with TCX/],
    ['unknown', 'warn', /no version/],
  ])('with kernel %s: %s', (kernelVersion, result, why) => {
    const found = nodeFindings([node('a', { kernelVersion })]).find(({ name }) => name === 'kernel of a');
    expect(found).toMatchObject({ result, why: expect.stringMatching(why) });
  });

  it.each([
    [{ osImage: 'Ubuntu 20.04.6 LTS' }, 'warn'],
    [{ osImage: 'Ubuntu 24.04 LTS' }, 'ok'],
    [{ osImage: 'Amazon Linux 2' }, 'warn'],
    [{ osImage: 'Amazon Linux 2023.6.20250303' }, 'ok'],
    [{ osImage: 'Red Hat Enterprise Linux 8.9 (Ootpa)' }, 'warn'],
    [{ osImage: 'Rocky Linux 9.5 (Blue Onyx)' }, 'ok'],
    [{ osImage: 'Homegrown 1' }, 'warn'],
    [{ osImage: 'Homegrown 1', kubeletVersion: 'v1.35.0' }, 'ok'],
  ])('have cgroups as %j has them: %s', (info, result) => {
    expect(nodeFindings([node('a', info)]).find(({ name }) => name === 'cgroups of a')).toMatchObject({
      result,
    });
  });

  it('that are alike share a line, and the others have theirs', () => {
    const many = ['a', 'b', 'c', 'd', 'e'].map((name) => node(name));
    const found = nodeFindings([
      ...many,
      node('old', { kernelVersion: '4.19.0' }),
      node('win', { operatingSystem: 'windows' }),
    ]);
    expect(results(found).filter((line) => line.includes('kernel'))).toEqual([
      ...['ok kernel of a, b, c and 2 others', 'fail kernel of old', 'ok kernel of win'],
    ]);
    expect(results(found)).toContain('warn platform of win');
    expect(results(nodeFindings([node('c', { containerRuntimeVersion: 'cri-o://1.31' })]))).toContain(
      'warn container runtime of c',
    );
    expect(results(nodeFindings([{ metadata: { name: 'new' } }]))).toContain('warn kernel of new');
  });
});

describe('the network plugin', () => {
  const sets = (...names: string[]): Workload[] => names.map((name) => ({ metadata: { name } }));
  it.each([
    ['cilium', 'Cilium', 'warn'],
    ['calico-node', 'Calico', 'ok'],
    ['kube-flannel-ds', 'Flannel', 'ok'],
    ['ovnkube-node', 'OVN-Kubernetes', 'ok'],
    ['kube-router', 'kube-router', 'ok'],
    ['antrea-agent', 'Antrea', 'ok'],
    ['aws-node', 'AWS VPC CNI', 'ok'],
    ['weave-net', 'Weave Net', 'warn'],
  ])('is known by its DaemonSet %s: %s', (daemonSet, name, result) => {
    const [found, proxy] = networkFindings({ daemonSets: sets(daemonSet, 'kube-proxy'), nodes: [] });
    expect(found).toMatchObject({ name: `network plugin ${name}`, result });
    expect(proxy).toMatchObject({ result: 'ok' });
  });

  it('may be two', () => {
    expect(results(networkFindings({ daemonSets: sets('canal'), nodes: [] }))).toEqual([
      ...['ok network plugin Calico', 'ok network plugin Flannel', 'warn services without Serval'],
    ]);
  });

  it('is known by annotations of nodes where it has no DaemonSet', () => {
    const nodes = [{ metadata: { name: 'a', annotations: { 'projectcalico.org/IPv4Address': '' } } }];
    expect(results(networkFindings({ daemonSets: [], nodes }))[0]).toBe('ok network plugin Calico');
    expect(results(networkFindings({ daemonSets: [], nodes: [] }))[0]).toBe('warn network plugin');
  });

  it.each([
    [{ 'kube-proxy-replacement': 'true' }, 'warn', /is on/],
    [{ 'kube-proxy-replacement': 'false' }, 'ok', /leaves pods alone/],
    [{ 'kube-proxy-replacement': 'true', 'bpf-lb-sock-hostns-only': 'true' }, 'ok', /leaves pods alone/],
    [{ 'kube-proxy-replacement': 'false', 'bpf-lb-sock': 'true' }, 'warn', /is on/],
    [undefined, 'warn', /may be on/],
  ])('Cilium is judged by its settings %j', (ciliumConfig, result, why) => {
    const facts = {
      daemonSets: sets('cilium'),
      nodes: [],
      ...(ciliumConfig === undefined ? {} : { ciliumConfig }),
    };
    expect(networkFindings(facts)[0]).toMatchObject({ result, why: expect.stringMatching(why) });
  });

  it('Calico translates at connect() with its eBPF data plane', () => {
    const facts = { daemonSets: sets('calico-node'), nodes: [], calicoEbpf: true };
    expect(networkFindings(facts)[0]).toMatchObject({
      result: 'warn',
      why: expect.stringMatching(/connect\(\) too/),
    });
  });
});

describe('CRDs', () => {
  const own = {
    Thing: {
      plural: 'things',
      spec: { properties: { a: {}, list: { items: { properties: { b: { enum: ['X', 'Y'] } } } } } },
      status: { properties: { c: {} } },
    },
  };
  const crd = (spec: object, status: object, metadata: object = {}): Map<string, Crd> =>
    new Map([
      [
        'things.serval.io',
        {
          metadata: { name: 'things.serval.io', ...metadata },
          spec: {
            versions: [
              {
                name: 'v1alpha1',
                served: true,
                storage: true,
                schema: { openAPIV3Schema: { properties: { spec, status } } },
              },
            ],
          },
          status: { conditions: [{ type: 'Established', status: 'True' }] },
        },
      ],
    ]);
  const list = { items: { properties: { b: { enum: ['X'] } } } };
  const helm = {
    labels: { 'app.kubernetes.io/managed-by': 'Helm' },
    annotations: { 'meta.helm.sh/release-name': 'r' },
  };

  it('are compared field by field and value by value', () => {
    expect(installedFindings(own, crd(own.Thing.spec, own.Thing.status))).toMatchObject([{ result: 'ok' }]);
    expect(installedFindings(own, crd({ properties: { list } }, own.Thing.status))).toMatchObject([
      { result: 'fail', why: 'it is of an older version: it lacks spec.a, spec.list[].b=Y' },
    ]);
    expect(installedFindings(own, crd(own.Thing.spec, { properties: { c: {}, d: {} } }))).toMatchObject([
      { result: 'warn', why: 'it is of a newer version: it also has status.d' },
    ]);
    expect(installedFindings(own, new Map())).toMatchObject([{ result: 'fail', why: 'it is not installed' }]);
  });

  it('stand in the way where Helm would not take them over', () => {
    expect(obstacleFindings(own, new Map())).toMatchObject([{ result: 'ok' }]);
    expect(obstacleFindings(own, crd(own.Thing.spec, own.Thing.status))).toMatchObject([{ result: 'fail' }]);
    expect(obstacleFindings(own, crd(own.Thing.spec, own.Thing.status, helm))).toMatchObject([
      { result: 'ok' },
    ]);
    expect(obstacleFindings(own, crd({ properties: { list } }, own.Thing.status, helm))).toMatchObject([
      { result: 'warn' },
    ]);
  });
});

describe('permissions', () => {
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const cluster = (allows: (attributes: Record<string, string>) => boolean): FakeCluster => {
    const fake = new FakeCluster();
    fake.answers.set(`POST ${path}`, ({ body }) => {
      const { spec } = body as { spec: { resourceAttributes: Record<string, string> } };
      return { status: { allowed: allows(spec.resourceAttributes) } };
    });
    return fake;
  };

  it('are of all kinds that the chart makes, and of no others', () => {
    const folder = new URL('../../../../charts/serval/templates/', import.meta.url);
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\.(yaml|tpl)$/.test(name),
    );
    const kinds = new Set(
      files
        // What is switched off by default is asked for by whoever switches it on; a test's pod goes away by itself.
        .filter((name) => !/^(monitoring|tests)\//.test(name))
        .flatMap((name) =>
          [...readFileSync(new URL(name, folder), 'utf8').matchAll(/^kind: (\w+)$/gm)].map(
            ([, kind = '']) => kind,
          ),
        ),
    );
    const plural = (kind: string): string => kind.toLowerCase().replace(/y$/, 'ie').concat('s');
    // Helm's own records.
    expect(made.map(({ resource }) => resource).sort()).toEqual(
      [...[...kinds].map(plural), 'secrets'].sort(),
    );
  });

  it('are one question for who may do everything', async () => {
    const fake = cluster(({ verb }) => verb === '*');
    expect(await permissionFindings(fake, 'x', false)).toMatchObject([{ result: 'ok' }]);
    expect(fake.asked).toHaveLength(1);
  });

  it('are told by resource, with the verbs that are missing', async () => {
    const fake = cluster(({ verb, resource, namespace }) => {
      if (verb === '*') return false;
      return resource === 'deployments' ? namespace === 'x' && verb === 'get' : verb !== 'escalate';
    });
    expect(await permissionFindings(fake, 'x', true)).toMatchObject([
      {
        result: 'fail',
        name: 'permissions to install: deployments.apps',
        why: 'whoever asks may not create, patch, delete them',
      },
      { result: 'warn', name: 'permissions to install: roles' },
    ]);
  });

  it('include the namespace where it has to be made', async () => {
    const fake = cluster(({ verb, resource }) => verb !== '*' && resource !== 'namespaces');
    expect(results(await permissionFindings(fake, 'x', false))).toEqual([
      'ok permissions to install',
      'fail permissions to install: namespace x',
    ]);
  });
});

describe('what is installed', () => {
  const workload = (status: object, replicas = 2): Workload => ({
    metadata: { name: 'w', namespace: 's' },
    spec: { replicas },
    status,
  });
  const pod = (name: string, image: string): Pod => ({
    metadata: { name },
    spec: { containers: [{ name: 'c', image }] },
    status: {
      containerStatuses: [{ name: 'c', restartCount: 0, state: { waiting: { reason: 'ImagePullBackOff' } } }],
    },
  });

  it('is ready, or says which pod is not and why', () => {
    expect(componentFindings('operator', [], [])).toMatchObject([{ result: 'fail' }]);
    expect(componentFindings('agent', [], [])).toMatchObject([{ result: 'warn' }]);
    expect(componentFindings('operator', [workload({ readyReplicas: 2 })], [])).toMatchObject([
      { result: 'ok' },
    ]);
    expect(componentFindings('operator', [workload({ readyReplicas: 1 })], [])).toMatchObject([
      { result: 'warn' },
    ]);
    const agents = workload({ desiredNumberScheduled: 3, numberReady: 2 });
    expect(componentFindings('agent', [agents], [pod('agent-x', '')])).toMatchObject([
      { result: 'fail', why: '2 of 3 pods are ready (agent-x: ImagePullBackOff)' },
    ]);
  });

  it.each([
    [['r.example:5000/serval/operator:1.0.0', 'serval/agent:1.0.0'], 'ok', /one version: 1\.0\.0/],
    [['serval/operator:1.0.0', 'serval/agent:1.1.0'], 'warn', /several: 1\.0\.0, 1\.1\.0/],
    [['serval/operator:2.0.0@sha256:aa'], 'warn', /are of 2\.0\.0, and this program is of 1\.0\.0/],
    [['r.example:5000/serval/operator@sha256:aa'], 'ok', /of one version$/],
  ])('of images %j is judged by their tags', (images, result, why) => {
    const pods = images.map((image) => pod('p', image));
    expect(versionFindings(pods, '1.0.0')).toMatchObject([{ result, why: expect.stringMatching(why) }]);
  });

  it('covers each node that it can', () => {
    const agents: Workload[] = [
      {
        metadata: { name: 'a' },
        spec: { template: { spec: { nodeSelector: { 'kubernetes.io/os': 'linux' } } } },
      },
    ];
    const servalNode = (name: string, status?: 'True' | 'False'): ServalNode =>
      ({
        metadata: { name },
        ...(status === undefined
          ? {}
          : { status: { conditions: [{ type: 'Ready', status, message: 'no bpffs' }] } }),
      }) as ServalNode;
    const nodes = [
      node('good'),
      node('bare'),
      node('ill'),
      node('silent'),
      node('off', {}, { spec: { unschedulable: true } }),
      node('win', {}, { metadata: { name: 'win' } }),
    ];
    const found = coverageFindings(
      nodes,
      [
        servalNode('good', 'True'),
        servalNode('ill', 'False'),
        servalNode('silent'),
        servalNode('gone', 'True'),
      ],
      agents,
    );
    expect(found.map(({ why }) => why)).toEqual([
      'no ServalNode: bare',
      'ServalNode not Ready: ill (no bpffs), silent (it has not said anything yet)',
      'ServalNodes of nodes that are gone: gone',
    ]);
    expect(coverageFindings([node('good')], [servalNode('good', 'True')], agents)).toMatchObject([
      { result: 'ok' },
    ]);
  });

  it('has its certificates', () => {
    const now = Date.parse('2026-01-01T01:00:00Z');
    const request = (
      name: string,
      types: string[],
      more: Partial<SigningRequest> = {},
      age = '00:30:00',
    ): SigningRequest => ({
      metadata: { name, creationTimestamp: `2026-01-01T${age}Z` },
      spec: { signerName: 'serval.io/agent' },
      status: { conditions: types.map((type) => ({ type, status: 'True' })) },
      ...more,
    });
    const signed = {
      status: { conditions: [{ type: 'Approved', status: 'True' as const }], certificate: 'x' },
    };
    const strange = { spec: { signerName: 'kubernetes.io/kubelet-serving', username: 'system:node:a' } };
    expect(
      certificateFindings(
        [request('done', [], signed), request('young', [], {}, '00:59:30'), request('else', [], strange)],
        [],
        now,
      ),
    ).toMatchObject([{ result: 'ok', why: 'none of 2 requests waits or was refused' }]);
    const byAccount = {
      spec: { signerName: 'x', username: 'system:serviceaccount:serval-system:serval-agent' },
    };
    expect(
      certificateFindings(
        [request('no', ['Denied']), request('stuck', [], byAccount), request('half', ['Approved'])],
        ['serval-agent'],
        now,
      ).map(({ why }) => why),
    ).toEqual(['refused: no', 'approved, but nobody signs them: half', 'nobody has approved: stuck']);
  });
});

describe('a finding', () => {
  it('stands where a part could not be looked at, and the others go on', async () => {
    expect(await look('nodes', () => Promise.reject(refusal('nodes', 403)))).toMatchObject([
      { result: 'warn', why: 'it could not be looked at: it is forbidden' },
    ]);
    await expect(look('nodes', () => Promise.reject(new TypeError('ours')))).rejects.toThrow('ours');
  });

  it('is a line, with what to do below', () => {
    const report = reportOf([
      { name: 'a', result: 'ok', why: 'good' },
      { name: 'b', result: 'fail', why: 'bad', remedy: 'mend it' },
    ]);
    expect(report.ok).toBe(false);
    expect(reportLines(report)).toEqual([
      'ok    a: good',
      'FAIL  b: bad',
      '      -> mend it',
      '1 ok, 0 warnings, 1 failed',
    ]);
    expect(someOf(['d', 'a', 'c', 'b'], 2)).toBe('a, b and 2 others');
  });
});
