/**
 * What runs inside the guest with the older kernel: services at connect(), by TCP and UDP, and while the table is changed.
 * Prints one line a step; exit code 1 where one failed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { EbpfDatapath, native } from '@serval/node-agent';

const [objectPath, connectPath] = process.argv.slice(2) as [string, string];
const virtualIP = '10.200.0.1';
const replicas = ['10.50.1.3', '10.50.1.4'];

const ip = (...words: string[]): void => void execFileSync('ip', words);

function makePods(): void {
  for (const name of ['client', 'server']) ip('netns', 'add', name);
  ip('-n', 'client', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'server');
  for (const [name, addresses] of [
    ['client', ['10.50.1.2']],
    ['server', replicas],
  ] as const) {
    for (const address of addresses) ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
  }
  ip('-n', 'client', 'route', 'add', 'unreachable', '10.200.0.0/16');
}

const serve = `
for (const address of ${JSON.stringify(replicas)}) {
  require('node:net').createServer((s) => s.end(address)).listen(8080, address);
  const udp = require('node:dgram').createSocket('udp4');
  udp.on('message', (_, from) => udp.send(address, from.port, from.address));
  udp.bind(8080, address);
}
setTimeout(() => console.log('listening'), 500);`;

/** Prints, for each of so many attempts, who answers and who the client believes that it is. */
const request = (how: 'tcp' | 'udp', times: number): string => `
const done = (who, peer) => { console.log(who + ' as ' + peer); --left > 0 ? next() : process.exit(0); };
let left = ${times};
const next = () => {
  if (${how === 'tcp'}) {
    const s = require('node:net').connect(80, '${virtualIP}');
    let peer; s.on('connect', () => (peer = s.remoteAddress));
    s.on('data', (data) => { s.destroy(); done(data, peer); });
    s.on('error', (error) => done(error.code, 'nobody'));
  } else {
    const s = require('node:dgram').createSocket('udp4');
    s.on('message', (data, from) => { s.close(); done(data, from.address); });
    s.send('?', 80, '${virtualIP}', (error) => error && done(error.code, 'nobody'));
  }
};
next();
setTimeout(() => { console.log('no answer'); process.exit(1); }, 60000);`;

async function answers(how: 'tcp' | 'udp', times: number): Promise<string[]> {
  const child = spawn('ip', ['netns', 'exec', 'client', process.execPath, '-e', request(how, times)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  return lines;
}

let failed = 0;
function check(step: string, got: unknown, expected: unknown): void {
  const isEqual = JSON.stringify(got) === JSON.stringify(expected);
  if (!isEqual) failed++;
  console.log(`${isEqual ? 'ok' : `FAILED (got ${JSON.stringify(got)})`}: ${step}`);
}

async function main(): Promise<void> {
  makePods();
  const server = spawn('ip', ['netns', 'exec', 'server', process.execPath, '-e', serve], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => server.stdout.once('data', resolve));
  const datapath = await EbpfDatapath.open({ bpffs: '/sys/fs/bpf', objectPath, slots: 1024 });
  const services = await datapath.openServices({ objectPath: connectPath, choices: 4096, replicas: 1024 });
  const { cookie } = await native().netnsIdentity('/run/netns/client');
  services.setClients([{ cookie, number: 7 }]);
  const rule = (protocol: 'tcp' | 'udp', order: readonly string[]) => ({
    ...{ address: virtualIP, port: 80, protocol, synTimeoutMs: 100, own: new Map<bigint, number>() },
    rule: order.length === 0 ? ('DROP' as const) : ('FORWARD' as const),
    balance: 'IN_TURN' as const,
    replicas: order.map((address) => ({ address, port: 8080 })),
    choices: Uint32Array.from(order.keys()),
  });
  const expected = replicas.map((address) => `${address} as ${virtualIP}`);
  await services.table.change([rule('tcp', replicas), rule('udp', replicas)]);
  check('TCP reaches both, under the virtual IP', [...new Set(await answers('tcp', 10))].sort(), expected);
  check('UDP too', [...new Set(await answers('udp', 20))].sort(), expected);
  const reading = answers('tcp', 300);
  let changes = 0;
  const ended = reading.then(() => true);
  while (!(await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1, false))]))) {
    const order = changes++ % 2 === 0 ? replicas : replicas.slice(1);
    await services.table.change([rule('tcp', order)]);
  }
  check('while it is changed too', [...new Set(await reading)].sort(), expected);
  check('it was changed', changes > 20, true);
  await services.table.change([rule('tcp', []), rule('udp', [])]);
  const refusal = (await answers('tcp', 1))[0] ?? '';
  check('without a replica it is refused at once', /^(ECONNREFUSED|EPERM) as nobody$/.test(refusal), true);
  services.close();
  await datapath.uninstall();
  check('and nothing is left of it', await answers('tcp', 1), ['EHOSTUNREACH as nobody']);
  server.kill('SIGKILL');
}

await main();
console.log(failed === 0 ? 'all steps passed' : `${failed} steps failed`);
process.exitCode = failed === 0 ? 0 : 1;
