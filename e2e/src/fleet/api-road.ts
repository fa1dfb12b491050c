/**
 * Leads from the hosts of a lab to an API server outside of it: a lab is reached by nobody, so each host has a relay at its own
 * loopback, on the API server's port, and connections go on over a unix socket.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { ChildProcess } from 'node:child_process';
import type { Host, Lab } from '../lab/index.js';

const relay = new URL('../../dist/fleet/relay.js', import.meta.url).pathname;

export class ApiRoad {
  private readonly relays = new Map<string, ChildProcess>();
  private readonly open = new Set<Socket>();
  private count = 0;

  private constructor(
    private readonly port: number,
    private readonly socket: string,
    private readonly server: Server,
  ) {}

  /** @param server `https://127.0.0.1:PORT` */
  static async build(lab: Lab, server: string, socket: string): Promise<ApiRoad> {
    const port = Number(new URL(server).port);
    const roads = createServer((one) => {
      const onward = connect(port, '127.0.0.1');
      one.pipe(onward).pipe(one);
      for (const [end, other] of [
        [one, onward],
        [onward, one],
      ] as const)
        end.on('error', () => other.destroy()).on('close', () => other.destroy());
    });
    roads.listen(socket);
    await once(roads, 'listening');
    const road = new ApiRoad(port, socket, roads);
    roads.on('connection', (connection) => {
      road.count++;
      road.open.add(connection);
      connection.on('close', () => road.open.delete(connection));
    });
    await Promise.all(lab.hosts.map((host) => road.lead(host)));
    return road;
  }

  /** How many connections have been made over it. */
  get connections(): number {
    return this.count;
  }

  /** From this host, from now on. */
  async lead(host: Host): Promise<void> {
    const child = host.spawn(process.execPath, [relay, String(this.port), this.socket], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.relays.set(host.name, child);
    if (child.stdout !== null) await once(child.stdout, 'data');
  }

  /** Nobody on this host reaches the API server any more; connections end. */
  async cut(host: string): Promise<void> {
    const child = this.relays.get(host);
    this.relays.delete(host);
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await Promise.all([...this.relays.keys()].map((host) => this.cut(host)));
    for (const connection of this.open) connection.destroy();
    this.server.close();
    rmSync(this.socket, { force: true });
  }
}
