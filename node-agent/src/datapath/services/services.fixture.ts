/** Two namespaces with a veth between them, servers that say who they are, and clients that say whom they met. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { native } from '../../native.js';
import type { ServiceRule } from './types.js';

export const replicas4 = ['10.99.0.1', '10.99.0.2', '10.99.0.3'];
export const replicas6 = ['fd99::1', 'fd99::2', 'fd99::3'];

/** A service of all three, in turn. */
export function rule(changes: Partial<ServiceRule> = {}): ServiceRule {
  const v6 = changes.address?.includes(':') ?? false;
  const replicas = (v6 ? replicas6 : replicas4).map((address) => ({ address, port: 8080 }));
  return {
    address: '10.200.0.1',
    port: 80,
    protocol: 'tcp',
    rule: 'FORWARD',
    balance: 'IN_TURN',
    replicas,
    choices: Uint32Array.from({ length: replicas.length }, (_, i) => i),
    synTimeoutMs: 100,
    own: new Map(),
    ...changes,
  };
}

/** Answers each connection and each datagram with its name; `ready` when it listens. argv: name, port, addresses */
const server = `
import select, socket, sys
name, port, addresses = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3:]
sockets = []
for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        s = socket.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        if kind == socket.SOCK_STREAM: s.listen(1024)
        sockets.append(s)
print("ready", flush=True)
while True:
    for s in select.select(sockets, [], [])[0]:
        if s.type == socket.SOCK_STREAM:
            c = s.accept()[0]; c.sendall(name); c.close()
        else:
            _, who = s.recvfrom(100); s.sendto(name, who)
`;

/**
 * One line of JSON for each line that it reads: [how, address, port] -> {who, peer, from} or {error, ms}. `how`: tcp, udp
 * (connected), datagram (not connected), mapped (an IPv6 socket that names an IPv4 address), open (tcp, which stays open, its
 * answer unread), close (all of those).
 */
const client = `
import errno, json, socket, sys, time
opened = []
def one(how, address, port):
    if how == "close":
        for s in opened: s.close()
        return {}
    v6 = ":" in address or how == "mapped"
    if how == "mapped": address = "::ffff:" + address
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM if how in ("tcp", "mapped", "open") else socket.SOCK_DGRAM)
    s.settimeout(5)
    if how == "datagram":
        s.sendto(b"?", (address, port))
        who, source = s.recvfrom(100)
        return {"who": who.decode(), "from": [source[0], source[1]]}
    s.connect((address, port))
    peer = s.getpeername()
    if how == "open":
        opened.append(s)
        return {"peer": [peer[0], peer[1]]}
    if how == "udp": s.send(b"?")
    who = s.recv(100)
    return {"who": who.decode(), "peer": [peer[0], peer[1]]}
print("ready", flush=True)
for line in sys.stdin:
    start = time.monotonic()
    try: result = one(*json.loads(line))
    except OSError as error: result = {"error": errno.errorcode.get(error.errno, str(error))}
    result["ms"] = (time.monotonic() - start) * 1000
    print(json.dumps(result), flush=True)
`;

export interface Met {
  who?: string;
  peer?: [string, number];
  from?: [string, number];
  error?: string;
  ms: number;
}

/** A process in a namespace that says `ready` first, then a line of JSON for each line that it is told. */
export class Talk {
  private readonly answers: Array<(line: string) => void> = [];
  readonly ready: Promise<string>;

  constructor(private readonly child: ChildProcess) {
    this.ready = new Promise((resolve) => this.answers.push(resolve));
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => this.answers.shift()?.(line));
  }

  ask(
    how: 'tcp' | 'udp' | 'datagram' | 'mapped' | 'open' | 'close',
    address: string,
    port: number,
  ): Promise<Met> {
    const answer = new Promise<string>((resolve) => this.answers.push(resolve));
    this.child.stdin?.write(`${JSON.stringify([how, address, port])}\n`);
    return answer.then((line) => JSON.parse(line) as Met);
  }
}

/** The far side has 10.99.0.0/16 and fd99::1 to fd99::7. */
export class ServiceFixture {
  readonly bpffs = mkdtempSync(join(tmpdir(), 'serval-bpffs-'));
  readonly near: string;
  readonly far: string;
  private readonly children: ChildProcess[] = [];
  private readonly guests: string[] = [];

  constructor(label: string) {
    native().mountBpffs(this.bpffs);
    this.near = `serval-${label}-${process.pid}-near`;
    this.far = `serval-${label}-${process.pid}-far`;
    for (const name of [this.near, this.far]) execFileSync('ip', ['netns', 'add', name]);
    const ip = (name: string, ...words: string[]): void => void execFileSync('ip', ['-n', name, ...words]);
    ip(this.near, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.far);
    for (const [name, v4, v6] of [
      [this.near, '10.98.0.1/24', 'fd98::1/64'],
      [this.far, '10.98.0.2/24', 'fd98::2/64'],
    ] as const) {
      ip(name, 'link', 'set', 'lo', 'up');
      ip(name, 'address', 'add', v4, 'dev', 'eth0');
      ip(name, 'address', 'add', v6, 'dev', 'eth0', 'nodad');
      ip(name, 'link', 'set', 'eth0', 'up');
    }
    ip(this.near, 'route', 'add', 'default', 'via', '10.98.0.2');
    ip(this.near, '-6', 'route', 'add', 'default', 'via', 'fd98::2');
    ip(this.far, 'route', 'add', 'local', '10.99.0.0/16', 'dev', 'lo');
    // Unlike those of IPv4, an address that is merely routed to lo can't be bound to.
    for (let i = 1; i < 8; i++) ip(this.far, 'address', 'add', `fd99::${i}/128`, 'dev', 'lo', 'nodad');
  }

  /** A guest of the near side: a namespace behind it, which routes for it. Returns its name. */
  guest(): string {
    const name = `${this.near}-guest`;
    execFileSync('ip', ['netns', 'add', name]);
    this.guests.push(name);
    const ip = (netns: string, ...words: string[]): void => void execFileSync('ip', ['-n', netns, ...words]);
    ip(this.near, 'link', 'add', 'tap0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    for (const [netns, device, v4, v6] of [
      [this.near, 'tap0', '10.100.0.1/24', 'fd10::1/64'],
      [name, 'eth0', '10.100.0.2/24', 'fd10::2/64'],
    ] as const) {
      ip(netns, 'address', 'add', v4, 'dev', device);
      ip(netns, 'address', 'add', v6, 'dev', device, 'nodad');
      ip(netns, 'link', 'set', device, 'up');
    }
    ip(name, 'route', 'add', 'default', 'via', '10.100.0.1');
    ip(name, '-6', 'route', 'add', 'default', 'via', 'fd10::1');
    const forward = 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding';
    execFileSync('nsenter', [`--net=${this.netns(this.near)}`, 'sh', '-c', forward]);
    ip(this.far, 'route', 'add', '10.100.0.0/24', 'via', '10.98.0.1');
    ip(this.far, '-6', 'route', 'add', 'fd10::/64', 'via', 'fd98::1');
    return name;
  }

  netns(name: string): string {
    return `/run/netns/${name}`;
  }

  async cookie(name: string): Promise<bigint> {
    return (await native().netnsIdentity(this.netns(name))).cookie;
  }

  async serve(name: string, port: number, ...addresses: string[]): Promise<void> {
    await this.start(this.far, server, name, String(port), ...addresses);
  }

  async talk(name = this.near): Promise<Talk> {
    return this.start(name, client);
  }

  private async start(netns: string, script: string, ...args: string[]): Promise<Talk> {
    const command = [`--net=${this.netns(netns)}`, 'python3', '-uc', script, ...args];
    const child = spawn('nsenter', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.children.push(child);
    const talk = new Talk(child);
    await talk.ready;
    return talk;
  }

  async dispose(): Promise<void> {
    for (const child of this.children) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    for (const name of [...this.guests, this.near, this.far]) spawnSync('ip', ['netns', 'delete', name]);
    native().unmountBpffs(this.bpffs);
    rmSync(this.bpffs, { recursive: true });
  }
}
