/** A PostgreSQL server whose setting `cluster_name` is its name. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isListening, type Pod } from '../lab/index.js';
import { tool } from '../lab/processes.js';
import { podFolder } from './folder.js';
import { asNobody, postgresPrograms, postgresTemplate } from './postgres-template.js';
import { psql } from './psql.js';
import { Server } from './server.js';

/** Starts a server with an empty database, which lets everybody in. */
export async function startPostgres(
  pod: Pod,
  port: number,
  { name = pod.name }: { name?: string } = {},
): Promise<Server> {
  const template = await postgresTemplate();
  const folder = await podFolder(pod, 'postgresql');
  const data = join(folder.inside, 'data');
  await pod.run(tool('cp'), ['-r', template, data]);
  const entries = ['0.0.0.0/0', '::/0'].map((range) => `host all all ${range} trust\n`);
  writeFileSync(join(folder.outside, 'data/pg_hba.conf'), entries.join(''));
  await pod.run(tool('chown'), ['-R', 'nobody:nogroup', data]);
  await pod.run(tool('chmod'), ['0700', data]);
  const settings: Record<string, string> = {
    listen_addresses: '*',
    port: String(port),
    unix_socket_directories: '',
    cluster_name: name,
    fsync: 'off',
    autovacuum: 'off',
    max_connections: '200',
    max_wal_senders: '0',
    wal_level: 'minimal',
    shared_buffers: '8MB',
    dynamic_shared_memory_type: 'mmap', // in its folder: what is killed leaves nothing in /dev/shm
  };
  const flags = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  return await Server.start(pod, {
    // An IPC namespace of its own: the System V segment by which it knows that it is alone goes with it.
    command: tool('unshare'),
    args: ['--ipc', tool('setpriv'), ...asNobody, join(postgresPrograms(), 'postgres'), '-D', data, ...flags],
    port,
    // It listens for a while before it lets anybody in.
    ready: async () => isListening(pod, port) && (await psql(pod, pod.address4, port)).answers.length === 1,
    folder,
    stopSignal: 'SIGQUIT', // at once: what it has is thrown away
  });
}
