import type { NetworkNode } from '../lab/index.js';
import { environment, installed } from './programs.js';
import { told, type Told } from './told.js';

const question =
  "select current_setting('cluster_name'), host(inet_client_addr()), inet_client_port(), host(inet_server_addr());\n";

/**
 * Asks a PostgreSQL for its name, by so many connections one after the other.
 * @throws ServalError ERR_KERNEL with psql's words when one fails
 */
export async function psql(
  node: NetworkNode,
  host: string,
  port: number,
  { count = 1 }: { count?: number } = {},
): Promise<Told> {
  const place = ['-h', host, '-p', String(port), '-U', 'postgres', '-d', 'postgres'];
  const args = [
    '--no-psqlrc',
    '--no-align',
    '--tuples-only',
    '--quiet',
    '--set',
    'ON_ERROR_STOP=1',
    ...place,
  ];
  const input = Array.from({ length: count }, () => question).join('\\connect -\n');
  const output = await node.run(installed('psql'), args, { env: environment, input });
  return told(
    output
      .trim()
      .split('\n')
      .map((line) => {
        const [name = '', client = '', clientPort = ''] = line.split('|');
        return { name, seen: `${client.includes(':') ? `[${client}]` : client}:${clientPort}` };
      }),
  );
}
