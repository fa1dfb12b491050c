/**
 * The data plane survives its makers: agents are killed (-9) at random moments, while traffic flows through the rules
 * that they have installed, and every datagram and every byte arrives.
 *
 *   client, site 1  ------ routers ------  server, site 2
 *   believes in OLD                        bound to OLD, is at NEW
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EbpfDatapath, native, prepareStack, type FlowTuple, type PodSpec } from '@serval/node-agent';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import type { AgentChildOptions, SerialRule } from './agent-child.js';

/** of nobody, and not on the client's own segment: there the stack would ask for its hardware address first */
const old = '10.2.1.200';
const churnMigration = 99n;
const port = { tcp: 7001, udp: 7002, clientTcp: 40001, clientUdp: 40002 };
const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Echoes lines by TCP and datagrams by UDP, bound to OLD. */
const server = `
  const net = require('node:net'), dgram = require('node:dgram');
  net.createServer((socket) => socket.setNoDelay().pipe(socket)).listen(${port.tcp}, '${old}', () => {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (data, from) => socket.send(data, from.port, from.address));
    socket.bind(${port.udp}, '${old}', () => console.log('listening'));
  });`;

/** Sends a number every 2 ms both ways, tells at the end what came back: in order and whole, or not. */
const client = `
  const net = require('node:net'), dgram = require('node:dgram');
  const got = { tcp: '', udp: [] };
  let sent = 0, wrong = 0;
  const tcp = net.connect({ host: '${old}', port: ${port.tcp}, localPort: ${port.clientTcp} }).setNoDelay();
  tcp.on('data', (data) => (got.tcp += data));
  tcp.on('error', (error) => { console.log('error ' + error.code); process.exit(1); });
  const udp = dgram.createSocket('udp4');
  udp.on('message', (data) => got.udp.push(Number(data)));
  udp.bind(${port.clientUdp}, () => tcp.once('connect', () => {
    console.log('connected');
    const timer = setInterval(() => {
      tcp.write(sent + '\\n');
      udp.send(String(sent), ${port.udp}, '${old}');
      sent++;
    }, 2);
    process.stdin.once('data', () => {
      clearInterval(timer);
      setTimeout(() => {
        const expected = Array.from({ length: sent }, (_, i) => i);
        const back = new Set(got.udp);
        console.log(JSON.stringify({
          sent,
          tcpWhole: got.tcp === expected.map((n) => n + '\\n').join(''),
          udpLost: expected.filter((n) => !back.has(n)).length,
          udpDoubled: got.udp.length - back.size,
        }));
        process.exit(0);
      }, 500);
    });
  }));`;

interface Outcome {
  sent: number;
  tcpWhole: boolean;
  udpLost: number;
  udpDoubled: number;
}

async function line(child: ChildProcess, wanted: RegExp): Promise<string> {
  const heard: string[] = [];
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  try {
    for await (const text of lines) {
      if (wanted.test(text)) return text;
      heard.push(text);
    }
  } finally {
    lines.close();
  }
  throw new Error(`the process ended before it said ${wanted}, but: ${heard.join(' / ')}`);
}

describe('killing agents', () => {
  let lab: Lab;
  let pods: { client: Pod; server: Pod };
  let options: AgentChildOptions;
  const folder = mkdtempSync(join(tmpdir(), 'serval-survival-'));

  beforeAll(async () => {
    lab = await createLab({ sites: 2 });
    const bpffs = {
      client: await lab.mount('bpf', 'bpf-client'),
      server: await lab.mount('bpf', 'bpf-server'),
    };
    pods = {
      client: await lab.createPod({ name: 'client', host: 's1-h1' }),
      server: await lab.createPod({ name: 'server', host: 's2-h1' }),
    };
    await prepareStack(pods.server.netns, [old]);
    options = {
      hosts: [
        { bpffs: bpffs.client, pod: specOf(pods.client), rules: rulesOf('client') },
        { bpffs: bpffs.server, pod: specOf(pods.server), rules: rulesOf('server') },
      ],
    };
  }, 60_000);

  afterAll(() => {
    lab.remove();
    rmSync(folder, { recursive: true });
  });

  function specOf(pod: Pod): PodSpec {
    return { name: `test/${pod.name}`, netns: pod.netns, interfaces: [pod.interface] };
  }

  function rulesOf(side: 'client' | 'server'): SerialRule[] {
    const tuple = (address: string, serverPort: number, clientPort: number): FlowTuple => {
      const ends = {
        client: { address: pods.client.address4, port: clientPort },
        server: { address, port: serverPort },
      };
      return side === 'client'
        ? { local: ends.client, remote: ends.server }
        : { local: ends.server, remote: ends.client };
    };
    return (['tcp', 'udp'] as const).map((protocol, i) => {
      const ports =
        protocol === 'tcp' ? ([port.tcp, port.clientTcp] as const) : ([port.udp, port.clientUdp] as const);
      const rule = { flowId: String(i + 1), migration: '1', protocol, state: 'active' as const };
      return { ...rule, identity: tuple(old, ...ports), wire: tuple(pods.server.address4, ...ports) };
    });
  }

  function startAgent(changes: Partial<AgentChildOptions> = {}): ChildProcess {
    const script = `${root}/e2e/dist/suites/agent-child.js`;
    return spawn(process.execPath, [script, JSON.stringify({ ...options, ...changes })], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
  }

  async function killAfter(agent: ChildProcess, ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    agent.kill('SIGKILL');
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
  }

  async function flowIds(): Promise<bigint[][]> {
    const planes = await Promise.all(options.hosts.map(({ bpffs }) => EbpfDatapath.open({ bpffs })));
    const found = await Promise.all(
      planes.map(async (plane) =>
        (await plane.flows()).filter((flow) => flow.migration !== churnMigration).map((flow) => flow.flowId),
      ),
    );
    await Promise.all(planes.map((plane) => plane.close()));
    return found;
  }

  it('during the first start leaves something that the next one completes', async () => {
    for (const ms of [60, 120, 180, 240, 300, 400, 500, 650]) await killAfter(startAgent(), ms);
    const agent = startAgent();
    await line(agent, /ready/);
    await killAfter(agent, 0);
    expect(await flowIds()).toEqual([
      [1n, 2n],
      [1n, 2n],
    ]);
  }, 120_000);

  it('at any point loses no packet, and a restart adopts what is there, also with new programs', async () => {
    const spawnIn = (pod: Pod, script: string): ChildProcess =>
      pod.spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const echo = spawnIn(pods.server, server);
    await line(echo, /listening/);
    const traffic = spawnIn(pods.client, client);
    await line(traffic, /connected/);

    for (let round = 0; round < 6; round++) {
      const agent = startAgent();
      await line(agent, /ready/);
      await killAfter(agent, Math.random() * 60);
    }
    for (let round = 0; round < 6; round++) await killAfter(startAgent(), 150 + Math.random() * 900);

    const before = [...(await tags()), ...sharedTags()];
    const upgraded = startAgent({ objectPath: compileDifferently() });
    await line(upgraded, /ready/);
    await killAfter(upgraded, 20);
    const after = [...(await tags()), ...sharedTags()];
    expect(after).toHaveLength(before.length);
    for (const tag of after) expect(before).not.toContain(tag);

    const told = line(traffic, /^\{/);
    traffic.stdin?.write('stop\n');
    const outcome = JSON.parse(await told) as Outcome;
    echo.kill('SIGKILL');
    expect(outcome).toEqual({ sent: outcome.sent, tcpWhole: true, udpLost: 0, udpDoubled: 0 });
    expect(outcome.sent).toBeGreaterThan(1000);
    expect(await flowIds()).toEqual([
      [1n, 2n],
      [1n, 2n],
    ]);
  }, 120_000);

  it('leaves nothing that the next agent could not take away', async () => {
    for (const { bpffs, pod } of options.hosts) {
      const plane = await EbpfDatapath.open({ bpffs });
      await plane.remove(pod.name, {});
      expect(await plane.pods()).toMatchObject([{ name: pod.name, attached: false, flows: 0 }]);
      await plane.uninstall();
    }
    expect(await tags()).toEqual([]);
  }, 60_000);

  /** Tags of our programs on both pods' devices, both ways. */
  async function tags(): Promise<string[]> {
    const found: string[] = [];
    for (const pod of [pods.client, pods.server])
      for (const direction of ['ingress', 'egress'] as const) {
        const ifindex = await native().interfaceIndex(pod.netns, pod.interface);
        const programs = await native().attachedPrograms(pod.netns, ifindex, direction);
        found.push(...programs.filter(({ name }) => name.startsWith('sal_')).map(({ tag }) => tag));
      }
    return found;
  }

  /** Tags of the programs that the entries jump to, on both hosts. */
  function sharedTags(): string[] {
    return options.hosts.flatMap(({ bpffs }) => {
      const array = native().openPinnedMap(`${bpffs}/serval/maps/sal_programs`);
      const ids = [0, 1].map((index) => array.lookup(Buffer.from([index, 0, 0, 0]))?.readUInt32LE(0) ?? 0);
      array.close();
      return ids.map((id) => {
        const shown = spawnSync('bpftool', ['-j', 'prog', 'show', 'id', String(id)], { encoding: 'utf8' });
        return (JSON.parse(shown.stdout) as { tag: string }).tag;
      });
    });
  }

  /** The same programs by other instructions: what an upgrade brings. */
  function compileDifferently(): string {
    const bpf = `${root}/node-agent/bpf`;
    const machine = spawnSync('gcc', ['-dumpmachine'], { encoding: 'utf8' }).stdout.trim();
    const include = [`-I/usr/include/${machine}`, `-I${bpf}`];
    const flags = ['-Os', '-g', '-fno-strict-aliasing', '-target', 'bpf', '-mcpu=v3', ...include];
    const compile = (name: string, source: string): void => {
      const result = spawnSync('clang-14', [...flags, '-xc', '-c', '-', '-o', `${folder}/${name}.bpf.o`], {
        encoding: 'utf8',
        input: source,
      });
      if (result.status !== 0) throw new Error(result.stderr);
    };
    compile('sal_pod', readFileSync(`${bpf}/sal_pod.bpf.c`, 'utf8'));
    const entry = readFileSync(`${bpf}/sal_entry.bpf.c`, 'utf8');
    compile('sal_entry', entry.replace('skb->cb[0] = pod;', 'skb->cb[0] = pod; skb->cb[1] = 0;'));
    return `${folder}/sal_pod.bpf.o`;
  }
});
