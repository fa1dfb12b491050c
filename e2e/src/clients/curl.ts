import type { NetworkNode } from '../lab/index.js';
import { environment, installed } from './programs.js';
import { hostPort, told, type Told } from './told.js';

/** What curl's `--write-out %{json}` has, as far as it is used. */
interface Written {
  remote_ip: string;
  remote_port: number;
  /** s */
  time_connect: number;
}

export interface CurlOptions {
  /** requests, each by a connection of its own */
  count?: number;
}

/**
 * Asks an HTTP replica for its name.
 * @throws ServalError ERR_KERNEL with curl's words when one can't be reached or answers with an error
 */
export async function curl(
  node: NetworkNode,
  host: string,
  port: number,
  { count = 1 }: CurlOptions = {},
): Promise<Told> {
  const args = [
    ...['-q', '--silent', '--show-error', '--fail', '--fail-early', '--noproxy', '*', '--max-time', '10'],
    ...['--header', 'Connection: close', '--write-out', '%{json}\n'],
    `http://${hostPort(host, port)}/[1-${count}]`,
  ];
  const output = await node.run(installed('curl'), args, { env: environment });
  const lines = output.trim().split('\n');
  return told(
    lines
      .filter((line) => !line.startsWith('{'))
      .map((line, index) => {
        const [name = '', seen = ''] = line.split(' ');
        const written = JSON.parse(lines[2 * index + 1] ?? '') as Written;
        const peer = hostPort(written.remote_ip, written.remote_port);
        return { name, seen, peer, connectMs: written.time_connect * 1000 };
      }),
  );
}
