/**
 * A client that does nothing but connect, some hundred thousand times a second, and looks at whom it got. No packet is sent:
 * it connects UDP sockets, and which replica one got is told by the source address that the kernel chose for it, as the
 * routes to each service's replicas have source addresses of their own.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/**
 * argv: pairs of a virtual IP and the source address that its replicas are reached from. Reads whom it got until its input
 * ends, then says it. A socket that got no replica is connected to the virtual IP itself, from another address.
 */
const reader = `
import collections, json, os, socket, struct, sys
targets = list(zip(sys.argv[1::2], sys.argv[2::2]))
none = struct.pack("H14x", socket.AF_UNSPEC)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fd = s.fileno()
os.set_blocking(0, False)
print("ready", flush=True)
reads, wrong = 0, collections.Counter()
while True:
    for _ in range(200):
        for virtual, expected in targets:
            reads += 1
            try:
                s.connect((virtual, 80))
                source = s.getsockname()[0]
                if source != expected: wrong[virtual + " from " + source + ", not " + expected] += 1
            except OSError as error:
                wrong[virtual + ": " + str(error)] += 1
            libc.connect(fd, none, 16)
    try:
        if os.read(0, 1) == b"": break
    except BlockingIOError: pass
print(json.dumps({"reads": reads, "wrong": dict(wrong.most_common(20))}), flush=True)
`;

export interface ReaderTarget {
  virtualIP: string;
  /** where its replicas are, e.g. 10.99.1.0/24 */
  replicas: string;
  /** an address of the reader's namespace that nothing else leaves from */
  source: string;
}

export interface Readings {
  reads: number;
  /** how often what came that should not have, in words */
  wrong: Record<string, number>;
}

export class Reader {
  private text = '';

  private constructor(
    private readonly child: ChildProcess,
    private readonly output: Readable,
  ) {
    output.setEncoding('utf8').on('data', (text: string) => (this.text += text));
  }

  /**
   * @param gateway whom all replicas are reached through
   * @param netns name for `ip netns`
   * @param others replicas of those that it does not ask for
   */
  static async start(
    netns: string,
    gateway: string,
    targets: readonly ReaderTarget[],
    others: Omit<ReaderTarget, 'virtualIP'>,
  ): Promise<Reader> {
    const lines = [...targets, others].flatMap(({ replicas, source }) => [
      `address replace ${source}/32 dev eth0`,
      `route replace ${replicas} via ${gateway} src ${source}`,
    ]);
    execFileSync('ip', ['-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    const args = targets.flatMap(({ virtualIP, source }) => [virtualIP, source]);
    const command = [`--net=/run/netns/${netns}`, 'python3', '-uc', reader, ...args];
    const child = spawn('nsenter', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    const started = new Reader(child, child.stdout);
    while (!started.text.includes('ready')) await once(child.stdout, 'data');
    return started;
  }

  /** Ends it. */
  async finish(): Promise<Readings> {
    this.child.stdin?.end();
    await once(this.output, 'end');
    return JSON.parse(this.text.slice(this.text.indexOf('{'))) as Readings;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}
