/** Certificates of nodes by the API server: the operator and the agents with the chart's rights, and nothing beside. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { makeRequest, newKeys, keyPem } from '@serval/kube-runtime/x509';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { AuthorityKeeper } from '@serval/operator';
import { requireRoot } from '../lab/processes.js';
import {
  CertificateWorld,
  namespace,
  requests,
  type OperatorProcess,
  type SigningRequest,
  type TestNode,
} from './certificate-world.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const own = 'serval.io/agent';
const usages = ['digital signature', 'server auth', 'client auth'];
const secret = `/api/v1/namespaces/${namespace}/secrets/serval-authority`;
const configMap = `/api/v1/namespaces/${namespace}/configmaps/serval-ca`;

interface Data {
  metadata: { annotations?: Record<string, string> };
  data: Record<string, string>;
}

describe('certificates of nodes', () => {
  let world: CertificateWorld;
  let operator: OperatorProcess;
  let a: TestNode;
  let b: TestNode;

  beforeAll(async () => {
    world = await CertificateWorld.make();
    operator = await world.operator();
    [a, b] = await Promise.all([world.node('node-a'), world.node('node-b')]);
  });
  afterAll(async () => {
    await world?.end();
  });

  const submit = async (client: KubeClient, name: string, node: string, more: object = {}): Promise<void> => {
    const { privateKey } = await newKeys();
    const request = Buffer.from(await makeRequest(await keyPem(privateKey), node)).toString('base64');
    const spec = { request, signerName: own, usages, ...more };
    const kind = 'CertificateSigningRequest';
    const body = { apiVersion: 'certificates.k8s.io/v1', kind, metadata: { name }, spec };
    await client.request({ method: 'POST', path: requests, body });
  };
  const requestOf = (name: string): Promise<SigningRequest> =>
    world.admin.request<SigningRequest>({ path: `${requests}/${name}` });
  const dataOf = (path: string): Promise<Data> => world.admin.request<Data>({ path });
  const trusted = async (where = namespace): Promise<X509Certificate[]> => {
    const blocks = (await dataOf(configMap.replace(namespace, where))).data['ca.crt']?.match(
      /-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g,
    );
    return (blocks ?? []).map((block) => new X509Certificate(block));
  };
  const certificateOf = (node: TestNode): X509Certificate =>
    new X509Certificate(readFileSync(node.kept.files.cert));

  /** Greetings both ways until the work is done: how many, and what was refused. */
  async function talking(work: Promise<unknown>): Promise<{ greetings: number; failures: string[] }> {
    const talk = { greetings: 0, failures: [] as string[] };
    let isDone = false;
    const done = work.finally(() => (isDone = true));
    while (!isDone) {
      for (const [one, other] of [
        [a, b],
        [b, a],
      ] as const)
        await one.greet(other).then(
          () => talk.greetings++,
          (error: unknown) => talk.failures.push(`${one.name} to ${other.name}: ${String(error)}`),
        );
      await delay(20);
    }
    await done;
    return talk;
  }

  it('are given to the agents of the nodes, who know each other by them', async () => {
    await a.greet(b);
    await b.greet(a);
    expect(certificateOf(a).subjectAltName).toBe('URI:spiffe://serval/node/node-a');
    const { items } = await world.admin.request<{ items: SigningRequest[] }>({ path: requests });
    const approved = items.find(({ metadata }) => metadata.name.startsWith('serval-node-a-'));
    expect(approved?.status?.conditions).toEqual([
      expect.objectContaining({ type: 'Approved', message: 'it is of the agent of node node-a, for itself' }),
    ]);
    const metrics = await (await fetch(`http://127.0.0.1:${operator.port}/metrics`)).text();
    expect(metrics).toMatch(/^serval_operator_certificate_requests_total\{decision="signed"\} [1-9]/m);
    expect(metrics).toMatch(/^serval_operator_queue_depth\{controller="certificates"\} 0$/m);
    expect(metrics).toMatch(/^serval_operator_authority_expiry_seconds 3[56]\d\d/m);
    const path = '/apis/events.k8s.io/v1/namespaces/default/events';
    await world.within(5_000, 'an Event tells it', async () => {
      const { items: events } = await world.admin.request<{
        items: Array<{ reason: string; regarding: { name: string } }>;
      }>({ path });
      return events.find(
        ({ reason, regarding }) => reason === 'Signed' && regarding.name.startsWith('serval-node-a'),
      );
    });
  });

  it('are denied in words to whoever may not have them', async () => {
    const stranger = 'stranger';
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await world.admin.request({ method: 'POST', path: accounts, body: { metadata: { name: stranger } } });
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'serval-agent' };
    const subjects = [{ kind: 'ServiceAccount', name: stranger, namespace }];
    await world.admin.request({
      method: 'POST',
      path: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
      body: { metadata: { name: stranger }, roleRef, subjects },
    });
    const agent = await world.client('serval-agent', 'node-a');
    const forged = {
      username: `system:serviceaccount:${namespace}:serval-agent`,
      extra: { 'authentication.kubernetes.io/node-name': ['node-b'] },
    };
    const cases: Array<
      [name: string, client: KubeClient, node: string, more: object, reason: string, words: RegExp]
    > = [
      ['other-node', agent, 'node-b', {}, 'OtherNode', /names node node-b.*on node node-a/],
      [
        'no-agent',
        await world.client(stranger, 'node-a'),
        'node-a',
        {},
        'NotAnAgent',
        /system:serviceaccount:serval-system:stranger/,
      ],
      ['an-admin', world.admin, 'node-a', {}, 'NotAnAgent', /was made by admin/],
      ['unbound', await world.client('serval-agent'), 'node-a', {}, 'TokenNotBound', /bound to no pod/],
      [
        // What a request says of its maker the API server writes over.
        'forged',
        agent,
        'node-b',
        forged,
        'OtherNode',
        /on node node-a/,
      ],
      [
        'usages',
        agent,
        'node-a',
        { usages: [...usages, 'key encipherment'] },
        'WrongUsages',
        /"key encipherment"/,
      ],
      ['too-few', agent, 'node-a', { usages: usages.slice(1) }, 'WrongUsages', /no more and no fewer/],
    ];
    for (const [name, client, node, more, reason, words] of cases) {
      await submit(client, name, node, more);
      const denied = await world.condition(name, 'Denied');
      expect([name, denied.reason]).toEqual([name, reason]);
      expect(denied.message).toMatch(words);
      expect(denied.request.status?.certificate).toBeUndefined();
    }
    await submit(agent, 'right', 'node-a');
    await world.condition('right', 'Approved');
  });

  it('are not asked for again and again by who was refused', async () => {
    const thief = await world.client('serval-agent', 'node-x');
    const before = (await world.admin.request<{ items: unknown[] }>({ path: requests })).items.length;
    const waiting = world.keep('node-y', thief);
    waiting.catch(() => undefined);
    await delay(1_500);
    const { items } = await world.admin.request<{ items: SigningRequest[] }>({ path: requests });
    const asked = items.filter(({ metadata }) => metadata.name.startsWith('serval-node-y-'));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(20);
    expect(items.length).toBeGreaterThan(before);
    for (const { status } of asked) expect(status?.certificate).toBeUndefined();
  });

  it('are all that is touched: requests for other signers stay as they were', async () => {
    const agent = await world.client('serval-agent', 'node-a');
    await submit(agent, 'of-another', 'node-a', { signerName: 'example.com/another' });
    await submit(agent, 'of-kubernetes', 'node-a', {
      signerName: 'kubernetes.io/kube-apiserver-client',
      usages: ['client auth'],
    });
    await submit(agent, 'after', 'node-a');
    await world.condition('after', 'Approved');
    for (const name of ['of-another', 'of-kubernetes']) expect((await requestOf(name)).status).toEqual({});
    // Nor could it, whatever it were told to do.
    const account = await world.client('serval-operator');
    const request = await requestOf('of-another');
    const now = new Date().toISOString();
    const approved = { type: 'Approved', status: 'True', reason: 'x', message: 'x', lastUpdateTime: now };
    const put = (part: string, status: object): Promise<unknown> =>
      account.request({
        method: 'PUT',
        path: `${requests}/of-another/${part}`,
        body: { ...request, status },
      });
    const forbidden = { code: 'ERR_NO_PERMISSION' };
    await expect(put('approval', { conditions: [approved] })).rejects.toMatchObject(forbidden);
    const certificate = Buffer.from(readFileSync(a.kept.files.cert)).toString('base64');
    await expect(put('status', { certificate })).rejects.toMatchObject(forbidden);
    for (const path of [
      secret.replace('serval-authority', 'other'),
      `/api/v1/namespaces/${namespace}/secrets`,
    ])
      await expect(account.request({ path })).rejects.toMatchObject(forbidden);
    const made = { method: 'POST', path: `/api/v1/namespaces/${namespace}/secrets` } as const;
    await expect(account.request({ ...made, body: { metadata: { name: 'x' } } })).rejects.toMatchObject(
      forbidden,
    );
    await expect(agent.request({ path: secret })).rejects.toMatchObject(forbidden);
  });

  it('are renewed under way, and nobody is refused in between', async () => {
    const serials = new Set<string>();
    const { greetings, failures } = await talking(
      world.within(40_000, 'each has had three more', () => {
        for (const node of [a, b]) serials.add(`${node.name} ${certificateOf(node).serialNumber}`);
        return Promise.resolve(serials.size >= 8 || undefined);
      }),
    );
    expect(failures).toEqual([]);
    expect(greetings).toBeGreaterThan(100);
    expect(a.refusedCertificates + b.refusedCertificates).toBe(0);
  });

  it('are of one authority, however many begin at once', async () => {
    const metadata = { name: 'race' };
    await world.admin.request({ method: 'POST', path: '/api/v1/namespaces', body: { metadata } });
    const times = { lifeMs: 3_600_000, noticeMs: 60_000, certificateMs: 60_000 };
    const told: string[] = [];
    const tell = ({ reason }: { reason: string }): void => void told.push(reason);
    const keepers = Array.from(
      { length: 6 },
      () => new AuthorityKeeper({ client: world.admin, namespace: 'race', times, tell }),
    );
    const keep = (): Promise<unknown> => Promise.all(keepers.map((keeper) => keeper.keep()));
    await keep();
    const certs = new Set(keepers.map((keeper) => keeper.current?.cert));
    expect(certs.size).toBe(1);
    const [only] = await trusted('race');
    expect(only?.fingerprint256).toBe(new X509Certificate([...certs][0] ?? '').fingerprint256);
    // And one follows it, however many see at once that it is time.
    const contentType = 'application/merge-patch+json';
    const body = { metadata: { annotations: { 'serval.io/rotate': 'now' } } };
    const path = secret.replace(namespace, 'race');
    await world.admin.request({ method: 'PATCH', path, contentType, body });
    await keep();
    const [first, next, ...others] = await trusted('race');
    expect([first?.fingerprint256, others]).toEqual([only?.fingerprint256, []]);
    const kept = Buffer.from((await dataOf(path)).data['next.crt'] ?? '', 'base64');
    expect(new X509Certificate(kept).fingerprint256).toBe(next?.fingerprint256);
    expect(told).toEqual(['AuthorityMade', 'AuthorityMade']);
  });

  it('are of another authority when that is changed, with connections both ways all the time', async () => {
    const [before] = await trusted();
    const phases: number[] = [];
    const changed = async (): Promise<void> => {
      const body = { metadata: { annotations: { 'serval.io/rotate': 'now' } } };
      const contentType = 'application/merge-patch+json';
      await world.admin.request({ method: 'PATCH', path: secret, contentType, body });
      await world.within(60_000, 'the old one is trusted no more', async () => {
        const authorities = await trusted();
        if (phases.at(-1) !== authorities.length) phases.push(authorities.length);
        const isNew = authorities[0]?.fingerprint256 !== before?.fingerprint256;
        return (isNew && authorities.length === 1) || undefined;
      });
    };
    const { greetings, failures } = await talking(changed());
    expect(failures).toEqual([]);
    expect(greetings).toBeGreaterThan(200);
    expect(phases).toEqual([1, 2, 1]);
    const [after] = await trusted();
    for (const node of [a, b]) expect(after && certificateOf(node).checkIssued(after)).toBe(true);
    expect((await dataOf(secret)).metadata.annotations).not.toHaveProperty('serval.io/rotate');
  });

  it('are published again when somebody has taken the list away or changed it', async () => {
    const [before] = await trusted();
    await world.admin.request({ method: 'DELETE', path: configMap });
    await world.within(10_000, 'it is back', async () => (await trusted()).length > 0 || undefined);
    const body = { data: { 'ca.crt': 'nonsense' } };
    await world.admin.request({
      method: 'PATCH',
      path: configMap,
      contentType: 'application/merge-patch+json',
      body,
    });
    await world.within(10_000, 'it is right', async () => (await trusted()).length === 1 || undefined);
    expect((await trusted())[0]?.fingerprint256).toBe(before?.fingerprint256);
    await a.greet(b);
    // For all of this the chart's rights were enough.
    expect(operator.words()).not.toMatch(/forbidden: User/);
  });

  it('are given by the next operator when one is killed between approval and certificate', async () => {
    const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/serval-operator';
    const role = await world.admin.request<{ rules: Array<{ resources: string[] }> }>({ path });
    const rules = role.rules.map((rule) => ({
      ...rule,
      resources: rule.resources.filter((name) => name !== 'certificatesigningrequests/status'),
    }));
    const contentType = 'application/merge-patch+json';
    await world.admin.request({ method: 'PATCH', path, contentType, body: { rules } });
    const agent = await world.client('serval-agent', 'node-c');
    await submit(agent, 'halfway', 'node-c');
    const { request } = await world.condition('halfway', 'Approved');
    expect(request.status?.certificate).toBeUndefined();
    await world.endOperator(operator, 'SIGKILL');
    expect((await requestOf('halfway')).status?.certificate).toBeUndefined();
    await world.admin.request({ method: 'PATCH', path, contentType, body: { rules: role.rules } });
    operator = await world.operator();
    await world.within(30_000, 'it is signed', async () => (await requestOf('halfway')).status?.certificate);
  });

  it('are not signed where somebody else has approved what may not be', async () => {
    await world.endOperator(operator);
    const agent = await world.client('serval-agent', 'node-a');
    await submit(agent, 'by-hand', 'node-b');
    const request = await requestOf('by-hand');
    const now = new Date().toISOString();
    const approved = { type: 'Approved', status: 'True', reason: 'x', message: 'x', lastUpdateTime: now };
    await world.admin.request({
      method: 'PUT',
      path: `${requests}/by-hand/approval`,
      body: { ...request, status: { conditions: [approved] } },
    });
    operator = await world.operator();
    const { reason, request: failed } = await world.condition('by-hand', 'Failed');
    expect(reason).toBe('OtherNode');
    expect(failed.status?.certificate).toBeUndefined();
  });

  it('stay in use without an API server, and are renewed when it is back', async () => {
    await world.within(20_000, 'they talk', () => a.greet(b).then(() => true));
    const serial = certificateOf(a).serialNumber;
    const client = await world.client('serval-agent', 'node-a');
    await world.plane.killApiServer();
    // An agent that is started again has what is on its disk.
    await a.kept.close();
    const again = await world.keep('node-a', client);
    await a.greet(b);
    expect(certificateOf(a).serialNumber).toBe(serial);
    await delay(Math.max(0, again.expiresAt() - Date.now()) + 500);
    await expect(a.greet(b)).rejects.toThrow(/expired/);
    await world.plane.startApiServer();
    await world.within(60_000, 'they talk again', () => a.greet(b).then(() => true));
    expect(certificateOf(a).serialNumber).not.toBe(serial);
  });

  it('follow a lost authority: the one before stays trusted', async () => {
    const [before] = await trusted();
    const lost = async (): Promise<void> => {
      await world.admin.request({ method: 'DELETE', path: secret });
      await world.within(20_000, 'there is another', async () => {
        const [first, ...others] = await trusted();
        const isKept = others.some(({ fingerprint256 }) => fingerprint256 === before?.fingerprint256);
        return (first?.fingerprint256 !== before?.fingerprint256 && isKept) || undefined;
      });
    };
    const { failures } = await talking(lost());
    expect(failures).toEqual([]);
  });
});
