/** Certificates of nodes as `servald certs` makes them, for agents that are given files. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { servald } from './agent-process.js';

const run = promisify(execFile);

/** @param folder is made; the authority, and each node's certificate, come into it */
export async function makeAuthority(folder: string): Promise<void> {
  mkdirSync(folder);
  await run(process.execPath, [servald, 'certs', 'init', folder]);
}

/** @returns what an agent's configuration says of it */
export async function issueCertificate(
  folder: string,
  node: string,
): Promise<Record<'ca' | 'cert' | 'key', string>> {
  await run(process.execPath, [servald, 'certs', 'issue', folder, node]);
  return {
    ca: join(folder, 'ca.crt'),
    cert: join(folder, `${node}.crt`),
    key: join(folder, `${node}.key`),
  };
}
