/** The namespace half of the native addon on the real kernel. Needs root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { native, type BpfLink, type BpfProgram, type NativeBinding, type SocketRecord } from './native.js';
import {
  A,
  Actor,
  B,
  datagram,
  endActors,
  makeNamespaces,
  netns,
  removeNamespaces,
  run,
  tcpClient,
  tcpServer,
  udpServer,
} from './native-netns.fixture.js';

const ESTABLISHED = 1 << 1;
const LISTEN = 1 << 10;
let addon: NativeBinding;
let folder: string;
let deviceA: number;

async function connected(
  host: string,
  port: number,
): Promise<{ server: Actor; client: Actor; clientPort: number }> {
  const server = new Actor(B, tcpServer(host.includes(':') ? '::' : '0.0.0.0', port));
  await server.said(/listening/);
  const client = new Actor(A, tcpClient(host, port));
  const [, clientPort] = await client.said(/connected (\d+)/);
  await server.said(/accepted/);
  return { server, client, clientPort: Number(clientPort) };
}

/** Programs that let everything pass, or drop it. */
async function loadPrograms(): Promise<{ pass: BpfProgram; drop: BpfProgram }> {
  const path = join(folder, 'verdicts.o');
  execFileSync('clang-14', ['-O2', '-target', 'bpf', '-x', 'c', '-c', '-', '-o', path], {
    input: `
      __attribute__((section("tc"), used)) int let_pass(void *skb) { return -1; }
      __attribute__((section("tc"), used)) int drop_all(void *skb) { return 2; }
      char terms[] __attribute__((section("license"), used)) = "GPL";`,
  });
  const object = addon.openObject(path);
  await object.load();
  const programs = { pass: object.program('let_pass'), drop: object.program('drop_all') };
  object.close();
  return programs;
}

beforeAll(async () => {
  addon = native();
  folder = mkdtempSync(join(tmpdir(), 'serval-netns-'));
  makeNamespaces();
  deviceA = await addon.interfaceIndex(netns(A), 'eth0');
});

afterEach(endActors);

afterAll(() => {
  removeNamespaces();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe('entering a namespace', () => {
  it('tells its inode and its cookie, and leaves this process where it is', async () => {
    const [a, b] = await Promise.all([addon.netnsIdentity(netns(A)), addon.netnsIdentity(netns(B))]);
    expect(a.inode).toBe(statSync(netns(A), { bigint: true }).ino);
    expect(a.cookie).not.toBe(b.cookie);
    const own = statSync('/proc/self/ns/net', { bigint: true }).ino;
    expect((await addon.netnsIdentity('/proc/self/ns/net')).inode).toBe(own);
  });

  it.each([
    ['a path that is gone', '/run/netns/sal-gone', 'ENOENT'],
    ['a file', '/etc/hostname', 'EINVAL'],
    ['a namespace of another kind', '/proc/self/ns/mnt', 'EINVAL'],
  ])('refuses %s', async (_, path, code) => {
    await expect(addon.netnsIdentity(path)).rejects.toMatchObject({ code, operation: `setns(${path})` });
  });

  it('finds interfaces by name', async () => {
    expect(await addon.interfaceIndex(netns(A), 'lo')).toBe(1);
    await expect(addon.interfaceIndex(netns(A), 'eth9')).rejects.toMatchObject({ code: 'ENODEV' });
  });

  it('rejects wrong arguments instead of crashing', async () => {
    const wrong = addon as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
    const names = [
      'netnsIdentity',
      'interfaceIndex',
      'attachTcx',
      'attachClsact',
      'detachClsact',
      'attachedPrograms',
    ];
    names.push(
      'listSockets',
      'countSockets',
      'destroySockets',
      'lookupConntrack',
      'deleteConntrack',
      'inject',
    );
    for (const name of names) {
      for (const values of [[], [7], [netns(A), [7]], [netns(A), {}, 'egress', {}, -1, 1e9]]) {
        if (name === 'netnsIdentity' && values.length > 1) continue;
        await expect(wrong[name]?.(...values)).rejects.toHaveProperty('message');
      }
    }
    const tuple = { protocol: 'tcp', source: '10.0.0.1', sourcePort: 1, destinationPort: 2 } as const;
    const lookup = (destination: string) => addon.lookupConntrack(netns(A), { ...tuple, destination });
    await expect(lookup('10.0.0.256')).rejects.toMatchObject({ name: 'TypeError' });
    await expect(lookup('::1')).rejects.toMatchObject({ name: 'TypeError' });
  });

  it.each([
    ['the process exits', 'start(); process.exit(0);'],
    ['the process ends', 'start();'],
    [
      'a worker is terminated',
      `const { Worker, isMainThread, parentPort } = require('node:worker_threads');
       if (isMainThread) {
         const worker = new Worker(process.argv[1]);
         worker.on('message', () => worker.terminate());
       } else { start(); parentPort.postMessage(''); }`,
    ],
  ])('survives that %s with threads in flight', (_, script) => {
    const path = new URL('../native/build/Release/serval.node', import.meta.url).pathname;
    const program = join(folder, 'exit.cjs');
    const start = `const addon = require('${path}');
      const start = () => { for (let i = 0; i < 40; i++) addon.listSockets('${netns(A)}', 'tcp', -1 >>> 0); };`;
    execFileSync('tee', [program], { input: `${start}\n${script}`, stdio: ['pipe', 'ignore', 'inherit'] });
    for (let round = 0; round < 5; round++) {
      const ended = spawnSync(process.execPath, [program], { env: { ...process.env, NODE_OPTIONS: '' } });
      expect([ended.status, ended.signal, ended.stderr.toString()]).toEqual([0, null, '']);
    }
  });
});

describe('sockets', () => {
  const between = (sockets: SocketRecord[], port: number): SocketRecord[] =>
    sockets.filter((socket) => socket.localPort === port || socket.remotePort === port);

  it('lists a TCP connection at both ends, by state', async () => {
    const { clientPort } = await connected('10.77.0.2', 7001);
    const [socket, ...more] = between(await addon.listSockets(netns(A), 'tcp', ESTABLISHED), 7001);
    expect(more).toEqual([]);
    expect(socket).toMatchObject({
      protocol: 'tcp',
      family: 4,
      localAddress: '10.77.0.1',
      localPort: clientPort,
      remoteAddress: '10.77.0.2',
      remotePort: 7001,
      state: 1,
      uid: 0,
    });
    expect(socket?.inode).toBeGreaterThan(0);
    const listeners = between(await addon.listSockets(netns(B), 'tcp', LISTEN), 7001);
    expect(listeners).toMatchObject([{ localAddress: '0.0.0.0', remotePort: 0, state: 10 }]);
    expect(between(await addon.listSockets(netns(B), 'tcp', LISTEN | ESTABLISHED), 7001)).toHaveLength(2);
  });

  it('lists IPv6, and IPv4-mapped sockets once and as they are', async () => {
    const { server } = await connected('fd77::2', 7002);
    const mapped = new Actor(A, tcpClient('10.77.0.2', 7002));
    const [, port] = await mapped.said(/connected (\d+)/);
    await server.said(new RegExp(`accepted ${port}`));
    const sockets = between(await addon.listSockets(netns(B), 'tcp', ESTABLISHED), 7002);
    expect(sockets.map((socket) => [socket.family, socket.remoteAddress]).sort()).toEqual([
      [6, '::ffff:10.77.0.1'],
      [6, 'fd77::1'],
    ]);
  });

  it('lists UDP sockets, connected ones as established', async () => {
    const actor = new Actor(
      A,
      `const socket = require('node:dgram').createSocket('udp4');
       socket.connect(7003, '10.77.0.2', () => console.log('connected ' + socket.address().port));`,
    );
    await actor.said(/connected/);
    expect(between(await addon.listSockets(netns(A), 'udp', ESTABLISHED), 7003)).toMatchObject([
      { protocol: 'udp', localAddress: '10.77.0.1', remoteAddress: '10.77.0.2', state: 1 },
    ]);
  });

  it.each(['10.77.0.2', 'fd77::2'])('destroys exactly one connection to %s', async (host) => {
    const { server, client, clientPort } = await connected(host, 7004);
    const other = new Actor(A, tcpClient(host, 7004));
    const [, otherPort] = await other.said(/connected (\d+)/);
    await server.said(new RegExp(`accepted ${otherPort}`));

    const accepted = (await addon.listSockets(netns(B), 'tcp', ESTABLISHED)).filter(
      (socket) => socket.remotePort === clientPort,
    );
    expect(await addon.destroySockets(netns(B), accepted)).toBe(1);
    await client.said(/error ECONNRESET/);
    // The tuple alone would now find the listener.
    expect(await addon.destroySockets(netns(B), accepted)).toBe(0);
    const left = between(await addon.listSockets(netns(B), 'tcp', LISTEN | ESTABLISHED), 7004);
    expect(left.map((socket) => socket.remotePort).sort()).toEqual([0, Number(otherPort)]);
  });

  it('spares a new socket that took the place of the one to destroy', async () => {
    const { clientPort } = await connected('10.77.0.2', 7005);
    const sockets = await addon.listSockets(netns(A), 'tcp', ESTABLISHED);
    const old = sockets.filter((socket) => socket.localPort === clientPort);
    expect(
      await addon.destroySockets(
        netns(A),
        old.map((socket) => ({ ...socket, inode: 1 })),
      ),
    ).toBe(0);
    expect(await addon.destroySockets(netns(A), old)).toBe(1);
  });

  it('destroys a connected UDP socket', async () => {
    const actor = new Actor(
      A,
      `const socket = require('node:dgram').createSocket('udp4');
       socket.on('error', (error) => console.log('error ' + error.code));
       socket.connect(7006, '10.77.0.2', () => console.log('connected'));`,
    );
    await actor.said(/connected/);
    const sockets = between(await addon.listSockets(netns(A), 'udp', ESTABLISHED), 7006);
    expect(await addon.destroySockets(netns(A), sockets)).toBe(1);
    await actor.said(/error ECONNABORTED/);
  });
});

describe('connection tracking', () => {
  beforeAll(() => {
    run(A, 'nft', 'add table inet track');
    run(A, 'nft', 'add chain inet track out { type filter hook output priority 0; }');
    run(A, 'nft', 'add rule inet track out ct state established accept');
  });

  afterAll(() => {
    run(A, 'nft', 'delete table inet track');
  });

  it.each([
    ['10.77.0.1', '10.77.0.2'],
    ['fd77::1', 'fd77::2'],
  ])('finds a connection from %s to %s by either direction and deletes it', async (source, destination) => {
    const { clientPort } = await connected(destination, 7010);
    const original = {
      protocol: 'tcp',
      source,
      sourcePort: clientPort,
      destination,
      destinationPort: 7010,
    } as const;
    const reply = {
      protocol: 'tcp',
      source: destination,
      sourcePort: 7010,
      destination: source,
      destinationPort: clientPort,
    } as const;
    const entry = await addon.lookupConntrack(netns(A), original);
    expect(entry).toMatchObject({ original, reply, mark: 0 });
    expect(entry?.id).toBeGreaterThan(0);
    expect(entry?.timeoutSeconds).toBeGreaterThan(0);
    expect((entry?.status ?? 0) & 2).toBe(2); // IPS_SEEN_REPLY
    expect((await addon.lookupConntrack(netns(A), reply))?.id).toBe(entry?.id);

    const neighbour = { ...original, sourcePort: clientPort ^ 1 };
    expect(await addon.lookupConntrack(netns(A), neighbour)).toBeUndefined();
    expect(await addon.deleteConntrack(netns(A), neighbour)).toBe(false);
    expect(await addon.deleteConntrack(netns(A), reply)).toBe(true);
    expect(await addon.lookupConntrack(netns(A), original)).toBeUndefined();
    expect(await addon.deleteConntrack(netns(A), original)).toBe(false);
  });

  it('takes IPv4-mapped addresses for IPv4', async () => {
    const { clientPort } = await connected('10.77.0.2', 7011);
    const tuple = { protocol: 'tcp', sourcePort: clientPort, destinationPort: 7011 } as const;
    const mapped = { ...tuple, source: '::ffff:10.77.0.1', destination: '::ffff:10.77.0.2' };
    expect(await addon.lookupConntrack(netns(A), mapped)).toMatchObject({
      original: { source: '10.77.0.1' },
    });
  });
});

describe('injection', () => {
  it.each([
    ['an address of its own', 'udp4', '10.77.0.1', '10.77.0.2'],
    ['a foreign address', 'udp4', '10.77.0.200', '10.77.0.2'],
    ['a source that a rule routes', 'udp4', '192.0.2.9', '198.51.100.1'],
    ['an IPv6 address of its own', 'udp6', 'fd77::1', 'fd77::2'],
    ['a foreign IPv6 address', 'udp6', 'fd77::200', 'fd77::2'],
    ['an IPv6 address to a link-local one', 'udp6', 'fd77::1', 'fe80::b'],
    ['a link-local address', 'udp6', 'fe80::a', 'fe80::b'],
  ])('delivers a datagram from %s', async (_, type, source, destination) => {
    const server = new Actor(B, udpServer(type, type === 'udp4' ? '0.0.0.0' : '::', 7020));
    await server.said(/listening/);
    const packet = datagram([source, 4000], [destination, 7020], 'hello');
    expect(await addon.inject(netns(A), [packet])).toEqual({ sent: 1, refused: [] });
    await server.said(new RegExp(`got hello from ${source}(%eth0)? 4000`));
  });

  it('tells refusals one by one and sends the rest', async () => {
    const server = new Actor(B, udpServer('udp4', '0.0.0.0', 7021));
    await server.said(/listening/);
    const to = (destination: string, text: string): Buffer =>
      datagram(['10.77.0.1', 4000], [destination, 7021], text);
    const packets = [
      to('10.77.0.2', 'first'),
      to('203.0.113.1', 'no route'),
      Buffer.from('no packet'),
      to('10.77.0.2', 'x'.repeat(200).repeat(10)),
      datagram(['fd77::1', 4000], ['fd99::1', 7021], 'no route'),
      to('10.77.0.2', 'last'),
    ];
    const result = await addon.inject(netns(A), packets);
    expect(result).toEqual({
      sent: 2,
      refused: [
        { index: 1, code: 'ENETUNREACH' },
        { index: 2, code: 'EINVAL' },
        { index: 3, code: 'EMSGSIZE' },
        { index: 4, code: 'ENETUNREACH' },
      ],
    });
    await server.said(/got first[^]*got last/);
  });

  it('keeps the order of more packets than one batch holds', async () => {
    const server = new Actor(B, udpServer('udp4', '0.0.0.0', 7022));
    await server.said(/listening/);
    const packets = Array.from({ length: 150 }, (_, i) =>
      datagram(['10.77.0.1', 4000], ['10.77.0.2', 7022], `#${String(i).padStart(3, '0')}`),
    );
    expect((await addon.inject(netns(A), packets)).sent).toBe(150);
    const [all] = await server.said(/got #000[^]*got #149/);
    const numbers = [...all.matchAll(/#(\d+)/g)].map((match) => Number(match[1]));
    expect(numbers).toEqual(packets.map((_, i) => i));
  });
});

describe('programs on devices', () => {
  let programs: { pass: BpfProgram; drop: BpfProgram };
  const attached = async (direction: 'ingress' | 'egress'): Promise<string[]> =>
    (await addon.attachedPrograms(netns(A), deviceA, direction)).map((one) => `${one.kind} ${one.name}`);
  const send = () =>
    addon.inject(netns(A), [datagram(['10.77.0.1', 4000], ['10.77.0.2', 7030], 'through the egress hook')]);

  beforeAll(async () => {
    programs = await loadPrograms();
  });

  it('attaches by TCX before what is there, and lists in order', async () => {
    const links: BpfLink[] = [];
    try {
      links.push(await addon.attachTcx(netns(A), deviceA, 'egress', programs.pass));
      expect(links[0]?.info().ifindex).toBe(deviceA);
      expect(await send()).toMatchObject({ sent: 1 });
      links.push(await addon.attachTcx(netns(A), deviceA, 'egress', programs.drop));
      expect(await attached('egress')).toEqual(['tcx drop_all', 'tcx let_pass']);
      expect(await attached('ingress')).toEqual([]);
      expect(await addon.attachedPrograms(netns(A), deviceA, 'egress')).toEqual([
        { ...programs.drop.info(), kind: 'tcx' },
        { ...programs.pass.info(), kind: 'tcx' },
      ]);
      // A packet that a hook dropped is told too.
      expect(await send()).toEqual({ sent: 0, refused: [{ index: 0, code: 'ENOBUFS' }] });
    } finally {
      for (const link of links) {
        link.detach();
        link.close();
      }
    }
    expect(await attached('egress')).toEqual([]);
    expect(await send()).toMatchObject({ sent: 1 });
  });

  it('attaches by clsact, replaces, detaches, and takes the qdisc away with the last filter', async () => {
    const qdiscs = (): string => run(A, 'tc', 'qdisc', 'show', 'dev', 'eth0');
    await addon.attachClsact(netns(A), deviceA, 'egress', programs.drop, 1, 10);
    expect(await send()).toMatchObject({ sent: 0 });
    await addon.attachClsact(netns(A), deviceA, 'egress', programs.pass, 1, 10);
    await addon.attachClsact(netns(A), deviceA, 'ingress', programs.pass, 1, 10);
    expect(await attached('egress')).toEqual(['clsact let_pass']);
    expect(await attached('ingress')).toEqual(['clsact let_pass']);
    expect(await send()).toMatchObject({ sent: 1 });

    const link = await addon.attachTcx(netns(A), deviceA, 'egress', programs.drop);
    expect(await attached('egress')).toEqual(['tcx drop_all', 'clsact let_pass']);
    link.detach();
    link.close();

    expect(await addon.detachClsact(netns(A), deviceA, 'egress', 1, 11)).toBe(false);
    expect(await addon.detachClsact(netns(A), deviceA, 'egress', 1, 10)).toBe(true);
    expect(qdiscs()).toContain('clsact');
    expect(await addon.detachClsact(netns(A), deviceA, 'ingress', 1, 10)).toBe(true);
    expect(qdiscs()).not.toContain('clsact');
    expect(await addon.detachClsact(netns(A), deviceA, 'ingress', 1, 10)).toBe(false);
  });

  it('leaves the qdisc to a filter of somebody else', async () => {
    await addon.attachClsact(netns(A), deviceA, 'egress', programs.pass, 1, 10);
    run(A, 'sh', '-c', 'tc filter add dev eth0 ingress prio 5 protocol ip u32 match u32 0 0');
    expect(await addon.detachClsact(netns(A), deviceA, 'egress', 1, 10)).toBe(true);
    expect(run(A, 'tc', 'filter', 'show', 'dev', 'eth0', 'ingress')).toContain('u32');
    run(A, 'tc', 'qdisc', 'delete', 'dev', 'eth0', 'clsact');
  });

  it('says which device is missing', async () => {
    const missing = { code: 'ENODEV', operation: 'bpf_link_create(ifindex 999, egress)' };
    await expect(addon.attachTcx(netns(A), 999, 'egress', programs.pass)).rejects.toMatchObject(missing);
    await expect(addon.attachedPrograms(netns(A), 999, 'egress')).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(addon.attachClsact(netns(A), 999, 'egress', programs.pass, 1, 1)).rejects.toHaveProperty(
      'code',
    );
  });
});
