import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { allPids, identify, isAlive, killProcess, requireRoot, run, tool } from '../lab/processes.js';
import { Daemons } from './daemons.js';
import { startEtcdAt } from './etcd.js';
import { askKube, ControlPlane, requestKube, requestsSince, type KubeUser } from './index.js';
import { freePorts, loopback } from './ports.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const code = (value: string): unknown => expect.objectContaining({ code: value });
const namespaces = '/api/v1/namespaces';
const inTest = `${namespaces}/test`;
const built = new URL('../../dist/cluster/index.js', import.meta.url).href;

/** What `ask` gives as soon as it does not reject; its last rejection after 20 s. */
async function eventually<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}

/** Processes and mounts, in whichever mount namespace, that have to do with a folder; and itself. */
function traces(folder: string): string[] {
  const textOf = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return ''; // it ended
    }
  };
  return [
    ...allPids().filter((pid) => pid !== process.pid && textOf(`/proc/${pid}/cmdline`).includes(folder)),
    ...allPids().filter((pid) => textOf(`/proc/${pid}/mountinfo`).includes(folder)),
  ]
    .map((pid) => `process ${pid}`)
    .concat(existsSync(folder) ? [folder] : []);
}

describe('a control plane', () => {
  let plane: ControlPlane;
  let admin: KubeUser;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    admin = plane.admin();
    await askKube(admin, 'POST', namespaces, { metadata: { name: 'test' } });
  });
  afterAll(() => plane?.stop());

  const writeMap = (name: string, data: Record<string, string>): Promise<unknown> =>
    askKube(admin, 'POST', `${inTest}/configmaps`, { metadata: { name }, data });
  const readMap = async (name: string): Promise<unknown> =>
    (await askKube<{ data: unknown }>(admin, 'GET', `${inTest}/configmaps/${name}`)).data;

  it('keeps objects, and its store in memory', async () => {
    await writeMap('kept', { colour: 'blue' });
    expect(await readMap('kept')).toEqual({ colour: 'blue' });
    await expect(readMap('absent')).rejects.toThrow(code('ERR_NOT_FOUND'));
    const etcd = plane.pids().get('etcd') ?? 0;
    expect(readFileSync(`/proc/${etcd}/mountinfo`, 'utf8')).toMatch(`${plane.folder}/etcd rw`);
  });

  it('knows users and their groups by their certificates, and lets them do what roles say', async () => {
    const nodes = '/api/v1/nodes';
    const stranger = await plane.issueUser('a stranger/with=odd+name', ['some:group']);
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const told = await askKube<{ status: { userInfo: unknown } }>(
      stranger,
      'POST',
      '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      review,
    );
    expect(told.status.userInfo).toMatchObject({
      username: 'a stranger/with=odd+name',
      groups: ['some:group', 'system:authenticated'],
    });
    await expect(askKube(stranger, 'GET', nodes)).rejects.toThrow(code('ERR_NO_PERMISSION'));
    const node = await plane.issueUser('system:node:n1', ['system:nodes']);
    const own = { metadata: { name: 'n1' } };
    await askKube(node, 'POST', nodes, own);
    const other = { metadata: { name: 'n2' } };
    await expect(askKube(node, 'POST', nodes, other)).rejects.toThrow(/not allowed to modify node/);
    await expect(requestKube({ ...admin, key: node.key }, 'GET', nodes)).rejects.toThrow(
      /key values mismatch/,
    );
  });

  it('makes the EndpointSlices of a service', async () => {
    const labels = { app: 'web' };
    await askKube(admin, 'POST', '/api/v1/nodes', { metadata: { name: 'worker' } });
    await askKube(admin, 'POST', `${inTest}/services`, {
      metadata: { name: 'web' },
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }], ipFamilyPolicy: 'RequireDualStack' },
    });
    // Not before the namespace has its account.
    await eventually(() =>
      askKube(admin, 'POST', `${inTest}/pods`, {
        metadata: { name: 'web-1', labels },
        spec: { nodeName: 'worker', containers: [{ name: 'web', image: 'web' }] },
      }),
    );
    await askKube(admin, 'PATCH', `${inTest}/pods/web-1/status`, {
      status: {
        phase: 'Running',
        podIP: '10.1.2.3',
        podIPs: [{ ip: '10.1.2.3' }, { ip: 'fd00:1::3' }],
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    });
    const slices = `/apis/discovery.k8s.io/v1/namespaces/test/endpointslices?labelSelector=kubernetes.io/service-name=web`;
    interface Slice {
      endpoints: { addresses: string[]; nodeName: string; conditions: { ready: boolean } }[];
    }
    const ready = await eventually(async () => {
      const { items } = await askKube<{ items: Slice[] }>(admin, 'GET', slices);
      const endpoints = items.flatMap((slice) => slice.endpoints ?? []).filter((one) => one.conditions.ready);
      if (endpoints.length < 2) throw new Error(`only ${JSON.stringify(items)}`);
      return endpoints;
    });
    expect(ready.map(({ addresses, nodeName }) => [...addresses, nodeName]).sort()).toEqual([
      ['10.1.2.3', 'worker'],
      ['fd00:1::3', 'worker'],
    ]);
  });

  it('signs a certificate request that was approved', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'serval-request-'));
    const files = { key: join(folder, 'key'), request: join(folder, 'request') };
    try {
      const newKey = [
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/O=g/CN=asker',
      ];
      await run(tool('openssl'), ['req', ...newKey, '-keyout', files.key, '-out', files.request]);
      const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
      const asked = await askKube<{ status: object }>(admin, 'POST', requests, {
        metadata: { name: 'one' },
        spec: {
          request: readFileSync(files.request).toString('base64'),
          signerName: 'kubernetes.io/kube-apiserver-client',
          usages: ['client auth'],
        },
      });
      const approved = { type: 'Approved', status: 'True', reason: 'Test', message: 'by the test' };
      await askKube(admin, 'PUT', `${requests}/one/approval`, {
        ...asked,
        status: { conditions: [approved] },
      });
      const certificate = await eventually(async () => {
        const { status } = await askKube<{ status: { certificate?: string } }>(
          admin,
          'GET',
          `${requests}/one`,
        );
        if (status.certificate === undefined) throw new Error(`no certificate: ${JSON.stringify(status)}`);
        return Buffer.from(status.certificate, 'base64').toString();
      });
      const asker = { ...admin, cert: certificate, key: readFileSync(files.key, 'utf8') };
      await expect(askKube(asker, 'GET', '/api/v1/nodes')).rejects.toThrow(/User \\?"asker\\?" cannot list/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('counts what it was asked', async () => {
    const before = await plane.requests();
    await writeMap('counted', {});
    for (let i = 0; i < 3; i++) await readMap('counted');
    const more = requestsSince(before, await plane.requests());
    expect(more).toMatchObject({ 'POST configmaps': 1, 'GET configmaps': 3 });
    expect(more).not.toHaveProperty('DELETE configmaps');
  });

  it.each(['stopApiServer', 'killApiServer'] as const)(
    'has an API server that can go (%s) and come back with all it had',
    async (end) => {
      await writeMap(end.toLowerCase(), { kept: end });
      await plane[end]();
      expect([...plane.pids().keys()].sort()).toEqual(['etcd', 'kube-controller-manager']);
      await expect(readMap(end.toLowerCase())).rejects.toThrow(code('ERR_UNREACHABLE'));
      await plane.startApiServer();
      expect(await readMap(end.toLowerCase())).toEqual({ kept: end });
      await expect(plane.startApiServer()).rejects.toThrow(code('ERR_CONFLICT'));
      // The controller manager finds it again.
      await askKube(admin, 'POST', namespaces, { metadata: { name: `after-${end.toLowerCase()}` } });
      await eventually(() =>
        askKube(admin, 'GET', `${namespaces}/after-${end.toLowerCase()}/serviceaccounts/default`),
      );
    },
  );
});

describe('control planes', () => {
  const planes: ControlPlane[] = [];
  const others: ChildProcess[] = [];
  const servers: Server[] = [];
  afterEach(async () => {
    for (const plane of planes.splice(0)) await plane.stop();
    for (const other of others.splice(0)) other.kill('SIGKILL');
    for (const server of servers.splice(0)) server.close();
  });

  const start = async (options: Parameters<typeof ControlPlane.start>[0]): Promise<ControlPlane> => {
    const plane = await ControlPlane.start(options);
    planes.push(plane);
    return plane;
  };
  const occupy = async (port: number): Promise<void> => {
    const server = createServer().listen(port, loopback);
    servers.push(server);
    await once(server, 'listening');
  };

  it('can be several, which do not know each other; each ends without a trace', async () => {
    const [one, two] = await Promise.all([
      start({ controllerManager: false }),
      start({ controllerManager: false }),
    ]);
    await askKube(one.admin(), 'POST', namespaces, { metadata: { name: 'only-here' } });
    await expect(askKube(two.admin(), 'GET', `${namespaces}/only-here`)).rejects.toThrow(
      code('ERR_NOT_FOUND'),
    );
    const mixed = { ...one.admin(), server: two.admin().server };
    await expect(requestKube(mixed, 'GET', '/readyz')).rejects.toThrow(code('ERR_UNREACHABLE'));
    expect(traces(one.folder)).toEqual(
      expect.arrayContaining([expect.stringMatching(/process/), one.folder]),
    );
    await one.stop();
    expect(traces(one.folder)).toEqual([]);
    await one.stop();
    await askKube(two.admin(), 'GET', namespaces);
  });

  it('leave nothing of the controller manager either', async () => {
    const plane = await start({});
    const pids = [...plane.pids().values()];
    expect(pids).toHaveLength(3);
    await plane.stop();
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(traces(plane.folder)).toEqual([]);
  });

  it('say why one does not start, in its own words, and leave nothing', async () => {
    // Others may start some at the same time.
    const ours = (): string[] =>
      readdirSync(tmpdir()).filter((name) => name.startsWith(`serval-cluster-${process.pid}-`));
    expect(ours()).toEqual([]);
    const starting = ControlPlane.start({ controllerManager: false, apiServerOptions: ['--no-such-option'] });
    await expect(starting).rejects.toThrow(
      /kube-apiserver: it ended with 1: .*unknown flag: --no-such-option/s,
    );
    expect(ours()).toEqual([]);
  });

  it('tell a port that somebody else has from all other failures', async () => {
    const plane = await start({ controllerManager: false });
    await plane.stopApiServer();
    await occupy(Number(new URL(plane.admin().server).port));
    await expect(plane.startApiServer()).rejects.toThrow(code('ERR_CONFLICT'));
    const folder = mkdtempSync(join(tmpdir(), 'serval-etcd-'));
    const [client = 0, peer = 0] = await freePorts(2);
    await occupy(client);
    try {
      await expect(startEtcdAt(new Daemons(folder), { client, peer })).rejects.toThrow(code('ERR_CONFLICT'));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('end with the process that started them, even if it is killed; the next removes the files', async () => {
    const program = `
      const { ControlPlane } = await import(${JSON.stringify(built)});
      const plane = await ControlPlane.start({ controllerManager: false });
      console.log(JSON.stringify({ folder: plane.folder, pids: [...plane.pids().values()] }));
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    others.push(child);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { folder, pids } = JSON.parse(line.toString()) as { folder: string; pids: number[] };
    const processes = pids.map((pid) => identify(pid) ?? { pid, start: 0 });
    expect(processes.filter(isAlive)).toHaveLength(2);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await eventually(() =>
      processes.some(isAlive) ? Promise.reject(new Error('they run on')) : Promise.resolve(),
    ).finally(() => processes.forEach(killProcess));
    expect(existsSync(folder)).toBe(true);
    await start({ controllerManager: false });
    expect(traces(folder)).toEqual([]);
  });
});
