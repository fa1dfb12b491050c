/** For tests of what a well-behaved client never does: HTTP/2 by hand, and a network that can be cut. */
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Endpoint } from '../datapath/types.js';

/** Takes whatever certificate the server has. */
export function rawSession(address: Endpoint, tls: ConnectionOptions): ClientHttp2Session {
  const session = connectHttp2(`https://${address.address}:${address.port}`, {
    ...tls,
    rejectUnauthorized: false,
  });
  session.on('error', () => undefined);
  return session;
}

export interface RawAnswer {
  status: number | undefined;
  body: Record<string, unknown>;
}

/** The answer; status undefined where the stream ended without one. `end: false` leaves the body unfinished. */
export function post(
  session: ClientHttp2Session,
  path: string,
  body: Buffer | string,
  { headers = {}, end = true }: { headers?: Record<string, string | number>; end?: boolean } = {},
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const stream = session.request({ ':method': 'POST', ':path': path, ...headers });
    let status: number | undefined;
    let text = '';
    stream.on('response', (answer) => (status = answer[':status']));
    stream.on('error', () => undefined);
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => (text += chunk));
    stream.on('close', () =>
      resolve({ status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }),
    );
    if (end) stream.end(body);
    else stream.write(body);
  });
}

/** Between client and server: passes bytes on until it is cut, then says nothing more, and nobody is told. */
export class Wire {
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((near) => {
    const far = connectTcp(this.target.port, this.target.address);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => other.destroy());
      socket.pipe(other);
    }
  });

  private constructor(private readonly target: Endpoint) {}

  static async to(target: Endpoint): Promise<Wire> {
    const wire = new Wire(target);
    await new Promise<void>((resolve) => wire.server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get address(): Endpoint {
    return { address: '127.0.0.1', port: (this.server.address() as AddressInfo).port };
  }

  /** Connections that stand; later ones work. */
  cut(): void {
    for (const socket of this.sockets) socket.unpipe().pause();
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}
