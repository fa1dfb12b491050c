/** The programs that rules are put in with: kube-proxy runs them, too. */
import { inside, run } from '../shell.js';

/** As the program says itself, e.g. `iptables v1.8.9 (nf_tables)`. */
export async function version(program: 'nft' | 'iptables'): Promise<string> {
  return (await run([program, '--version'])).trim().split('\n')[0] ?? program;
}

/** Takes all rules out of a namespace. With iptables on nftables they are in the same rule set. */
export async function clearRules(netns: string, toolVersion: string): Promise<void> {
  const isLegacy = toolVersion.startsWith('iptables') && !toolVersion.includes('nf_tables');
  if (!isLegacy) return void (await run(inside(netns, ['nft', 'flush', 'ruleset'])));
  for (const table of ['nat', 'filter', 'mangle'])
    for (const option of ['-F', '-X']) await run(inside(netns, ['iptables', '-w', '-t', table, option]));
}
