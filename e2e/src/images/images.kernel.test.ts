/** The images, built from their Dockerfiles, and each started as the chart says that a kubelet starts it. */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion, type StatusView } from '@serval/api';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { accountToken } from '../cluster/account-client.js';
import { ControlPlane } from '../cluster/control-plane.js';
import { chart, Helm } from '../cluster/helm.js';
import { freePorts, loopback } from '../cluster/ports.js';
import { ask } from '../fleet/local-api.js';
import { requireRoot } from '../lab/processes.js';
import { builtImages, type Image } from './built.js';
import { Container } from './container.js';
import type { Start } from './oci-config.js';
import { RenderedChart, type ContainerSpec } from './pod-spec.js';

jest.setTimeout(60_000);
const namespace = 'serval-system';
const mebibyte = 1 << 20;

let images: Record<Image['name'], Image>;
let rendered: RenderedChart;
let home: string;
const running: Container[] = [];

beforeAll(async () => {
  requireRoot();
  images = await builtImages(console.log);
  home = mkdtempSync(join(tmpdir(), 'serval-images-'));
  // Others than root have to find what is theirs in there.
  chmodSync(home, 0o755);
  rendered = RenderedChart.render(Helm.find(), home, 'agent.enabled=true');
}, 900_000);
afterEach(async () => {
  for (const container of running.splice(0)) await container.stop();
});
afterAll(() => {
  // Mounts of containers were in namespaces of their own, which are gone with them.
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
});

function start(image: Image, spec: ContainerSpec, how: Start): Container {
  const container = Container.start(image, spec, how, home);
  running.push(container);
  return container;
}

/** What it holds before the container ends, or a deadline. */
async function eventually<Value>(
  container: Container,
  look: () => Promise<Value | undefined>,
): Promise<Value> {
  let last: unknown;
  for (const until = performance.now() + 30_000; performance.now() < until; await delay(20)) {
    const found = await look().catch((error: unknown) => void (last = error));
    if (found !== undefined) return found;
    if (container.hasEnded) break;
  }
  throw new Error(`it did not come to that (${String(last)}): ${container.words}`);
}

function folder(name: string): string {
  const path = join(home, name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** What files take, MiB. */
const sizeOf = (path: string): number =>
  Number(spawnSync('du', ['--summarize', '--bytes', path], { encoding: 'utf8' }).stdout.split('\t')[0]) /
  mebibyte;

const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

describe.each([
  // Debian 75, Node 104; what is left is ours. Twice as much were somebody's compiler.
  { name: 'operator', user: '65532:65532', mostMiB: 200 },
  { name: 'agent', user: '0:0', mostMiB: 240 },
] as const)('the image of the $name', ({ name, user, mostMiB }) => {
  it('is as small as what it needs', () => {
    const size = sizeOf(images[name].rootfs);
    console.log(`image of the ${name}: ${Math.round(size)} MiB`);
    expect(size).toBeLessThan(mostMiB);
    for (const tool of ['npm', 'gcc', 'clang-14', 'perl5.36'])
      expect(existsSync(join(images[name].rootfs, 'usr/bin', tool))).toBe(false);
  });

  it('starts its program and no shell, as the user that the chart names', () => {
    const { config } = images[name];
    expect(config.Entrypoint[0]).toBe('/usr/local/bin/node');
    expect(config.User).toBe(user);
    const { uid, gid } = rendered.container(name === 'operator' ? 'Deployment' : 'DaemonSet').user;
    expect(`${uid}:${gid}`).toBe(user);
  });

  it('says what it is, and under which licences', () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    const labels = images[name].config.Labels;
    expect(labels['org.opencontainers.image.version']).toBe(version);
    expect(labels['org.opencontainers.image.licenses']).toMatch(/^Apache-2.0/);
    const own = join(images[name].rootfs, 'opt/serval', name);
    const others = readFileSync(join(own, 'THIRD-PARTY.txt'), 'utf8');
    expect(others).toMatch(/^pino [\d.]+ \(MIT\)$/m);
    expect(others).toContain('Permission is hereby granted');
    expect(existsSync(join(own, 'LICENSE'))).toBe(true);
  });
});

describe('the operator in its image', () => {
  let plane: ControlPlane;
  let admin: KubeClient;

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    admin = KubeClient.load('serval-test', kubeconfig);
    const words = ['install', 'serval', chart, '--namespace', namespace, '--create-namespace'];
    const { code, error } = Helm.find().ask(words, plane.folder, kubeconfig);
    if (code !== 0) throw new Error(error);
  });
  afterAll(async () => {
    await admin?.close();
    await plane?.stop();
  });

  /** What a kubelet mounts into each pod. */
  async function account(): Promise<string> {
    const path = folder('account');
    const token = await accountToken(admin, { namespace, name: 'serval-operator' });
    for (const [file, text] of Object.entries({ token, namespace, 'ca.crt': plane.admin().ca }))
      writeFileSync(join(path, file), text);
    return path;
  }

  it('says how it is used, and its version', async () => {
    const spec = rendered.container('Deployment');
    const once = (...args: string[]): Promise<string> =>
      Container.once(images.operator, spec, { args, network: 'own' }, home);
    expect(await once('--help')).toMatch(/^Usage: serval-operator/);
    expect(await once('--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('leads, with nothing but its pod’s account, as nobody, on a file system that it can not write', async () => {
    const spec = rendered.container('Deployment');
    expect(spec).toMatchObject({ readOnly: true, mayEscalate: false, capabilities: [] });
    const [port = 0] = await freePorts(1);
    const { hostname, port: apiPort } = new URL(plane.admin().server);
    const begun = performance.now();
    const container = start(images.operator, spec, {
      // The kubelet puts the variables in. It shares this machine's network here: the last of an option counts.
      args: [
        ...spec.args.map((arg) =>
          arg.replace('$(NAMESPACE)', namespace).replace('$(POD_NAME)', 'operator-0'),
        ),
        ...[`--metrics-address=${loopback}`, `--metrics-port=${port}`],
      ],
      env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: apiPort },
      folders: { '/var/run/secrets/kubernetes.io/serviceaccount': await account() },
      network: 'host',
    });
    const page = (path: string): Promise<Response> => fetch(`http://${loopback}:${port}${path}`);
    await eventually(container, async () => (await page('/readyz')).status === 200 || undefined);
    const ready = performance.now() - begun;
    await eventually(
      container,
      async () => /^serval_operator_leader 1$/m.test(await (await page('/metrics')).text()) || undefined,
    );
    const status = readFileSync(`/proc/${container.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\s+65532\s+65532/m);
    expect(status).toMatch(/^CapEff:\s*0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
    const resident = Math.round(residentMiB(container.pid));
    console.log(`operator: ready after ${Math.round(ready)} ms, ${resident} MiB resident`);
    expect(await container.stop()).toBe(0);
  });
});

describe.each([true, false])('the agent in its image, to move pods: %s', (criu) => {
  let spec: ContainerSpec;
  let volumes: NonNullable<Start['volumes']>;

  beforeAll(() => {
    const values = `agent.enabled=true,agent.criu.enabled=${criu}`;
    spec = RenderedChart.render(Helm.find(), home, values).container('DaemonSet');
    const own = (name: string): { folder: string } => ({ folder: folder(`${criu}/${name}`) });
    volumes = {
      ...{ config: own('config'), state: own('state'), netns: own('netns'), tmp: own('tmp') },
      ...{ bpf: { type: 'bpf' }, run: { type: 'tmpfs' }, 'run-serval': own('run') },
      ...{ cgroup: { folder: '/sys/fs/cgroup' }, proc: { folder: '/proc' } },
    };
  });
  const once = (entrypoint: string[], ...args: string[]): Promise<string> =>
    Container.once(images.agent, spec, { entrypoint, args, volumes, network: 'own' }, home);
  const servald = ['/usr/local/bin/servald'];

  it('says how it is used, and its version', async () => {
    expect(await once(servald, '--help')).toMatch(/^Usage: servald/);
    expect(await once(servald, '--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('has the programs that it starts', async () => {
    const links = await once(['nsenter'], '--net=/proc/self/ns/net', 'ip', '-json', 'link', 'show');
    expect(links).toMatch(/"ifname":"lo"/);
  });

  it('is ready, with its addon and its programs, where the chart puts what it needs', async () => {
    await declare();
    const begun = performance.now();
    const [first = ''] = spec.args;
    const container = start(images.agent, spec, { args: [first], volumes, network: 'own' });
    const socket = join(folder(`${criu}/run`), 'agent.sock');
    await eventually(
      container,
      async () => (await ask<StatusView>(socket, 'GET', '/v1/status')).ready || undefined,
    );
    const ready = performance.now() - begun;
    const { pid } = container;
    const pinned = readdirSync(`/proc/${pid}/root/sys/fs/bpf/serval`, { recursive: true }).map(String);
    expect(pinned).toEqual(
      expect.arrayContaining(['connect/connect4', 'maps/sal_slots', 'maps/sal_programs']),
    );
    const addon = '/opt/serval/agent/native/build/Release/serval.node';
    expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).toContain(addon);
    // A moved pod's stack is prepared below, and the runtime gives it read-only.
    container.exec('test', '-w', '/proc/sys/net/ipv4/conf/all/arp_announce');
    if (criu) {
      expect(container.exec('criu', '--version')).toMatch(/^Version: 4\.[2-9]/);
      expect(container.exec('criu', 'check')).toMatch(/Looks good/);
    }
    console.log(`agent: ready after ${Math.round(ready)} ms, ${Math.round(residentMiB(pid))} MiB resident`);
    expect(await container.stop()).toBe(0);
  });

  /** Its configuration and its node, by files; the chart has the API server for that. */
  async function declare(): Promise<void> {
    const pki = '/var/lib/serval/pki';
    await once(servald, 'certs', 'init', pki);
    await once(servald, 'certs', 'issue', pki, 'n1');
    const config = {
      ...rendered.config('agent.yaml'),
      node: 'n1',
      directory: '/var/lib/serval/resources',
      certificates: { ca: `${pki}/ca.crt`, cert: `${pki}/n1.crt`, key: `${pki}/n1.key` },
      slots: 1024,
    };
    writeFileSync(join(folder(`${criu}/config`), 'agent.yaml'), JSON.stringify(config));
    const node = { address: '127.0.0.1:7946', hostAddresses: ['127.0.0.1'], podCIDRs: ['10.1.0.0/24'] };
    const declared = { apiVersion, kind: 'ServalNode', metadata: { name: 'n1' }, spec: node };
    writeFileSync(join(folder(`${criu}/state/resources`), 'n1.yaml'), JSON.stringify(declared));
  }
});

describe('a container that has ended', () => {
  it('has left nothing behind', () => {
    expect(running).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(home);
    const cgroups = readdirSync('/sys/fs/cgroup', { recursive: true }).map(String);
    expect(cgroups.filter((path) => path.includes(`serval-${process.pid}-`))).toEqual([]);
    // Nobody wrote to the files that the next container starts from.
    for (const { rootfs } of Object.values(images)) expect(existsSync(join(rootfs, 'host'))).toBe(false);
  });
});
