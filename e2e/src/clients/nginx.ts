/** nginx as a server that says its pod's name, and as a client of others: a reverse proxy. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isListening, type Pod } from '../lab/index.js';
import { podFolder, type PodFolder } from './folder.js';
import { installed } from './programs.js';
import { Server } from './server.js';
import { hostPort } from './told.js';

/** Starts an HTTP server that answers with its name and with where it sees the client. */
export async function startNginx(
  pod: Pod,
  port: number,
  { name = pod.name }: { name?: string } = {},
): Promise<Server> {
  // $remote_addr of IPv6 has no brackets
  return await start(pod, port, [
    `default_type text/plain;`,
    `return 200 "${name} $remote_addr:$remote_port\\n";`,
  ]);
}

export interface ProxyOptions {
  /** where it proxies to: an address, or a name */
  host: string;
  port: number;
  /**
   * address of a DNS server that nginx itself asks, by UDP, once a second; without it the name is looked up by libc when
   * nginx starts
   */
  resolver?: string;
}

/** Starts a reverse proxy, whose every request opens a connection to the upstream. */
export async function startNginxProxy(pod: Pod, port: number, upstream: ProxyOptions): Promise<Server> {
  const target = hostPort(upstream.host, upstream.port);
  const connect = ['proxy_connect_timeout 5s;', 'proxy_next_upstream off;'];
  if (upstream.resolver === undefined)
    return await start(pod, port, [...connect, `proxy_pass http://${target};`]);
  const resolver = upstream.resolver.includes(':') ? `[${upstream.resolver}]` : upstream.resolver;
  return await start(pod, port, [
    ...connect,
    `resolver ${resolver} valid=1s;`,
    'resolver_timeout 5s;',
    `set $upstream http://${target};`, // a variable makes it look the name up for each request
    'proxy_pass $upstream;',
  ]);
}

async function start(pod: Pod, port: number, location: readonly string[]): Promise<Server> {
  const folder = await podFolder(pod, 'nginx');
  writeFileSync(join(folder.outside, 'nginx.conf'), configuration(folder, port, location));
  const file = join(folder.inside, 'nginx.conf');
  return await Server.start(pod, {
    command: installed('nginx'),
    args: ['-e', 'stderr', '-p', folder.inside, '-c', file],
    port,
    ready: () => isListening(pod, port),
    folder,
    stopSignal: 'SIGTERM',
  });
}

function configuration({ inside }: PodFolder, port: number, location: readonly string[]): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (what) => `  ${what}_temp_path ${join(inside, what)};`,
  );
  return [
    'daemon off;',
    'worker_processes 1;',
    'user nobody nogroup;',
    'error_log stderr;',
    `pid ${join(inside, 'pid')};`,
    'events { worker_connections 1024; }',
    'http {',
    '  access_log off;',
    ...temporary,
    '  server {',
    `    listen 0.0.0.0:${port};`,
    `    listen [::]:${port};`,
    '    location / {',
    ...location.map((line) => `      ${line}`),
    '    }',
    '  }',
    '}',
    '',
  ].join('\n');
}
