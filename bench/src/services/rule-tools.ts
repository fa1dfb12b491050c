/** The programs that rules are put in with: kube-proxy runs them, too. */
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { inside, run } from '../shell.js';
import type { Workspace } from '../workspace.js';

/** How rules get into a node. */
export interface RuleTools {
  /** as the program says itself, e.g. `iptables v1.8.9 (legacy)` */
  version: string;
  /** where the programs are looked for */
  path: string;
  /** takes all rules out of a namespace */
  clear(netns: string): Promise<void>;
}

const systemPath = process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin';
const legacy = '/usr/sbin/xtables-legacy-multi';

export async function nftTools(): Promise<RuleTools> {
  return {
    version: await versionOf('nft', systemPath),
    path: systemPath,
    clear: async (netns) => void (await run(inside(netns, ['nft', 'flush', 'ruleset']))),
  };
}

/**
 * iptables with the kernel's own tables where both have them. Debian's default puts its rules into nftables: its
 * `iptables-restore --noflush`, which kube-proxy uses, goes through all chains for each chain (1.8.9), so that 10,000 services
 * are not programmed after five minutes; and each connection takes longer.
 */
export async function iptablesTools(workspace: Workspace, netns: string): Promise<RuleTools> {
  const folder = join(workspace.folder, 'iptables-legacy');
  const works =
    existsSync(legacy) && (await succeeds(inside(netns, [legacy, 'iptables', '-t', 'nat', '-S'])));
  if (!works) {
    return { ...(await nftTools()), version: await versionOf('iptables', systemPath) };
  }
  mkdirSync(folder, { recursive: true });
  for (const name of ['iptables', 'ip6tables'])
    for (const ending of ['', '-save', '-restore'])
      if (!existsSync(join(folder, name + ending))) symlinkSync(legacy, join(folder, name + ending));
  const path = `${folder}:${systemPath}`;
  return {
    version: await versionOf('iptables', path),
    path,
    clear: async (node) => {
      for (const table of ['nat', 'filter', 'mangle'])
        for (const option of ['-F', '-X'])
          await run(inside(node, withPath(path, ['iptables', '-w', '-t', table, option])));
    },
  };
}

/** The command, with its programs looked for there. */
export function withPath(path: string, command: readonly string[]): string[] {
  return ['env', `PATH=${path}`, ...command];
}

async function versionOf(program: string, path: string): Promise<string> {
  return (await run(withPath(path, [program, '--version']))).trim().split('\n')[0] ?? program;
}

async function succeeds(command: readonly string[]): Promise<boolean> {
  return run(command).then(
    () => true,
    () => false,
  );
}
