/**
 * What runs inside the guest with the older kernel, besides the packet tests: the data plane attached by clsact to two
 * real pods, a flow translated between their real sockets, an adoption, and the errors of a kernel that lacks TCX.
 * Prints one line a step; exit code 1 where one failed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { release } from 'node:os';
import { EbpfDatapath, native, type FlowRule, type PodSpec } from '@serval/node-agent';

const old = '10.50.0.9';
const ends = { client: '10.50.1.2', server: '10.50.1.3' };
const port = 7000;
const clientPort = 40000;
const [, , objectPath = '', connectObject = ''] = process.argv;
const bpffs = '/sys/fs/bpf';

const ip = (...words: string[]): void => void execFileSync('ip', words);
const inPod = (name: string, ...words: string[]): void =>
  void execFileSync('ip', ['netns', 'exec', name, ...words]);

function makePods(): void {
  for (const name of ['client', 'server']) {
    ip('netns', 'add', name);
    inPod(name, 'ip', 'link', 'set', 'lo', 'up');
  }
  ip('-n', 'client', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'server');
  for (const name of ['client', 'server'] as const) {
    inPod(name, 'ip', 'address', 'add', `${ends[name]}/24`, 'dev', 'eth0');
    inPod(name, 'ip', 'link', 'set', 'eth0', 'up');
  }
  // OLD is nobody's; the client reaches it by a route, the server has it on lo.
  inPod('client', 'ip', 'route', 'add', `${old}/32`, 'via', ends.server);
  inPod('server', 'ip', 'address', 'add', `${old}/32`, 'dev', 'lo');
}

function rule(side: 'client' | 'server'): FlowRule {
  const tuple = (server: string) => {
    const both = { client: { address: ends.client, port: clientPort }, server: { address: server, port } };
    return side === 'client'
      ? { local: both.client, remote: both.server }
      : { local: both.server, remote: both.client };
  };
  return {
    flowId: 1n,
    migration: 1n,
    protocol: 'udp',
    identity: tuple(old),
    wire: tuple(ends.server),
    state: 'active',
  };
}

const pod = (name: string): PodSpec => ({
  name: `test/${name}`,
  netns: `/run/netns/${name}`,
  interfaces: ['eth0'],
});

/** One Node inside the server's namespace echoes to whom it hears; one in the client's asks and tells the answer. */
async function ask(): Promise<string> {
  const serve = `const s = require('node:dgram').createSocket('udp4');
    s.on('message', (m, from) => s.send(from.address + ' ' + from.port + ' ' + m, from.port, from.address));
    s.bind(${port}, '${old}', () => console.log('listening'));`;
  const server = spawn('ip', ['netns', 'exec', 'server', process.execPath, '-e', serve], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await firstLine(server.stdout);
  const request = `const s = require('node:dgram').createSocket('udp4');
    s.on('message', (m, from) => { console.log(m + ' from ' + from.address); process.exit(0); });
    s.bind(${clientPort}, () => s.send('hello', ${port}, '${old}'));
    setTimeout(() => { console.log('no answer'); process.exit(1); }, 5000);`;
  const client = spawn('ip', ['netns', 'exec', 'client', process.execPath, '-e', request], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const answer = await firstLine(client.stdout);
  server.kill('SIGKILL');
  return answer;
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: stream })) return line;
  return '';
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: { code: string; remedy?: string }) =>
      `${error.code}${error.remedy === undefined ? ' without a remedy' : ''}`,
  );
}

/** A server in the server's namespace, a client in the client's that names a virtual IP: who it believes to talk to. */
async function connectTo(address: string): Promise<string> {
  const serve = `require('node:net').createServer((s) => s.end('hello')).listen(${port}, '${ends.server}', () => console.log('listening'));`;
  const server = spawn('ip', ['netns', 'exec', 'server', process.execPath, '-e', serve], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await firstLine(server.stdout);
  const request = `const s = require('node:net').connect(80, '${address}');
    s.on('data', (m) => { console.log(m + ' from ' + s.remoteAddress + ' ' + s.remotePort); process.exit(0); });
    s.on('error', (e) => { console.log(e.code); process.exit(1); });`;
  const client = spawn('nsenter', ['--net=/run/netns/client', process.execPath, '-e', request], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const answer = await firstLine(client.stdout);
  server.kill('SIGKILL');
  return answer;
}

async function services(datapath: EbpfDatapath): Promise<void> {
  const table = await datapath.openServices({ objectPath: connectObject });
  const { cookie } = await native().netnsIdentity('/run/netns/client');
  table.setClients([{ cookie, number: 1 }]);
  const service = {
    address: '10.96.0.1',
    port: 80,
    protocol: 'tcp',
    rule: 'FORWARD',
    balance: 'RANDOM',
    replicas: [{ address: ends.server, port }],
    choices: Uint32Array.of(0),
    synTimeoutMs: 100,
    own: new Map<bigint, number>(),
  } as const;
  await table.table.change([service]);
  check(
    'connect() to a virtual IP gets a replica',
    await connectTo(service.address),
    'hello from 10.96.0.1 80',
  );
  await table.table.change([{ ...service, rule: 'DROP', replicas: [], choices: new Uint32Array() }]);
  check('and is refused where there is none', await connectTo(service.address), 'ECONNREFUSED');
  table.close();
}

let failed = 0;
function check(step: string, got: unknown, expected: unknown): void {
  const isEqual = JSON.stringify(got) === JSON.stringify(expected);
  if (!isEqual) failed++;
  console.log(`${isEqual ? 'ok' : `FAILED (got ${JSON.stringify(got)})`}: ${step}`);
}

async function attachedKinds(): Promise<string[]> {
  const kinds = await Promise.all(
    (['ingress', 'egress'] as const).map(async (direction) => {
      const ifindex = await native().interfaceIndex('/run/netns/client', 'eth0');
      return (await native().attachedPrograms('/run/netns/client', ifindex, direction)).map(
        ({ name, kind }) => `${kind} ${name}`,
      );
    }),
  );
  return kinds.flat();
}

async function main(): Promise<void> {
  check(
    'this is the older kernel, without TCX',
    { old: release().startsWith('6.1.'), tcx: native().probe().tcx },
    { old: true, tcx: false },
  );
  makePods();
  const datapath = await EbpfDatapath.open({ bpffs, objectPath, slots: 1024 });
  for (const side of ['client', 'server'] as const) {
    await datapath.addPod(pod(side));
    check(`nothing is attached to ${side} before its first rule`, await attachedKinds(), []);
  }
  for (const side of ['client', 'server'] as const) await datapath.apply(pod(side).name, [rule(side)]);
  check('clsact filters are attached both ways', await attachedKinds(), [
    'clsact sal_ingress',
    'clsact sal_egress',
  ]);
  check(
    'a datagram to OLD is answered from OLD',
    await ask(),
    `${ends.client} ${clientPort} hello from ${old}`,
  );
  await services(datapath);
  const flows = await datapath.flows();
  check(
    'both ends have counted it',
    flows.map(({ packetsIn, packetsOut }) => [Number(packetsIn), Number(packetsOut)]),
    [
      [1, 1],
      [1, 1],
    ],
  );
  await datapath.close();
  const next = await EbpfDatapath.open({ bpffs, objectPath });
  check('the next agent adopts the flows', (await next.flows()).length, 2);
  check('and they still translate', await ask(), `${ends.client} ${clientPort} hello from ${old}`);
  for (const side of ['client', 'server'] as const) await next.remove(pod(side).name, {});
  check('nothing is attached after the last rule', await attachedKinds(), []);
  await next.uninstall();
  const forced = await EbpfDatapath.open({ bpffs, objectPath, slots: 1024, attach: 'tcx' });
  await forced.addPod(pod('client'));
  check(
    'TCX, where the kernel has none, is refused by name',
    await codeOf(forced.apply('test/client', [rule('client')])),
    'ERR_UNSUPPORTED',
  );
  check('and nothing is half attached', await attachedKinds(), []);
  await forced.uninstall();
}

await main();
console.log(failed === 0 ? 'all steps passed' : `${failed} steps failed`);
process.exitCode = failed === 0 ? 0 : 1;
