/**
 * Two real network namespaces for the kernel tests, Node processes inside them, and packets made by hand.
 *
 *   namespace a                                     namespace b
 *   10.77.0.1, fd77::1  eth0 ------------- eth0  10.77.0.2, fd77::2, fe80::b
 *                                          lo    198.51.100.1 (a reaches it only by a rule for its source)
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export const A = `sal-a-${process.pid}`;
export const B = `sal-b-${process.pid}`;
export const netns = (name: string): string => `/run/netns/${name}`;

const children: ChildProcess[] = [];

export function run(name: string, ...command: string[]): string {
  return execFileSync('nsenter', [`--net=${netns(name)}`, ...command], { encoding: 'utf8' });
}

function sysctl(name: string, key: string, value: number): void {
  run(name, 'sh', '-c', `echo ${value} > /proc/sys/net/${key}`);
}

/** A Node process inside a namespace; `said` waits until its output matches. */
export class Actor {
  private output = '';
  private readonly child: ChildProcess;

  constructor(name: string, script: string) {
    this.child = spawn('nsenter', [`--net=${netns(name)}`, process.execPath, '-e', script], {
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    children.push(this.child);
  }

  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (
      const end = Date.now() + 4000;
      Date.now() < end;
      await new Promise((resume) => setTimeout(resume, 5))
    ) {
      const found = pattern.exec(this.output);
      if (found !== null) return found;
    }
    throw new Error(`waited for ${pattern}, heard: ${this.output}`);
  }
}

/** Ends every Actor, and waits until their ports are free again. */
export async function endActors(): Promise<void> {
  const ended = children.splice(0).map(async (child) => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  });
  await Promise.all(ended);
}

export const tcpServer = (host: string, port: number): string => `
  require('node:net').createServer((socket) => {
    console.log('accepted ' + socket.remotePort);
    socket.on('data', (data) => socket.write(data));
    socket.on('error', (error) => console.log('error ' + error.code));
  }).listen(${port}, '${host}', () => console.log('listening'));`;

export const tcpClient = (host: string, port: number): string => `
  const socket = require('node:net').connect(${port}, '${host}', () => console.log('connected ' + socket.localPort));
  socket.on('error', (error) => console.log('error ' + error.code));`;

export const udpServer = (type: string, host: string, port: number): string => `
  const socket = require('node:dgram').createSocket('${type}');
  socket.on('message', (data, from) => console.log('got ' + data + ' from ' + from.address + ' ' + from.port));
  socket.bind(${port}, '${host}', () => console.log('listening'));`;

function onesComplement(bytes: Buffer): number {
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)]);
  let sum = 0;
  for (let at = 0; at < even.length; at += 2) sum += even.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const words = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((word) => parseInt(word, 16));
  const missing = 8 - words(head).length - words(tail).length;
  const all = [...words(head), ...new Array<number>(missing).fill(0), ...words(tail)];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

/** A whole IP packet with a UDP datagram, its checksum complete. */
export function datagram(from: [string, number], to: [string, number], text: string): Buffer {
  const [source, destination] = [ipBytes(from[0]), ipBytes(to[0])];
  const udp = Buffer.concat([Buffer.alloc(8), Buffer.from(text)]);
  udp.writeUInt16BE(from[1], 0);
  udp.writeUInt16BE(to[1], 2);
  udp.writeUInt16BE(udp.length, 4);
  udp.writeUInt16BE(
    onesComplement(Buffer.concat([source, destination, Buffer.from([0, 17, 0, udp.length]), udp])),
    6,
  );
  const header = Buffer.alloc(source.length === 4 ? 20 : 40);
  if (source.length === 4) {
    header.writeUInt16BE(0x4500, 0);
    header.writeUInt16BE(header.length + udp.length, 2);
    header.set([64, 17], 8);
  } else {
    header.writeUInt8(0x60, 0);
    header.writeUInt16BE(udp.length, 4);
    header.set([17, 64], 6);
  }
  return Buffer.concat([header.subarray(0, header.length - 2 * source.length), source, destination, udp]);
}

export function makeNamespaces(): void {
  for (const name of [A, B]) {
    execFileSync('ip', ['netns', 'add', name]);
    sysctl(name, 'ipv6/conf/default/accept_dad', 0);
    sysctl(name, 'ipv6/conf/all/accept_dad', 0);
    sysctl(name, 'ipv4/conf/default/rp_filter', 0);
    sysctl(name, 'ipv4/conf/all/rp_filter', 0);
    run(name, 'ip', 'link', 'set', 'lo', 'up');
  }
  run(A, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', B);
  for (const [name, host] of [
    [A, '1'],
    [B, '2'],
  ] as const) {
    run(name, 'ip', 'address', 'add', `10.77.0.${host}/24`, 'dev', 'eth0');
    run(name, 'ip', 'address', 'add', `fd77::${host}/64`, 'dev', 'eth0', 'nodad');
    run(name, 'ip', 'link', 'set', 'eth0', 'up');
  }
  run(B, 'ip', 'address', 'add', 'fe80::b/64', 'dev', 'eth0', 'nodad');
  run(B, 'ip', 'address', 'add', '198.51.100.1/32', 'dev', 'lo');
  run(B, 'ip', 'route', 'add', '192.0.2.0/24', 'via', '10.77.0.1');
  run(A, 'ip', 'rule', 'add', 'from', '192.0.2.9', 'lookup', '99');
  run(A, 'ip', 'route', 'add', '198.51.100.1', 'via', '10.77.0.2', 'table', '99');
}

export function removeNamespaces(): void {
  for (const name of [A, B]) spawnSync('ip', ['netns', 'delete', name]);
}
