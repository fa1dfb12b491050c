import { describe, expect, it } from '@jest/globals';
import { endpointTargets, markedReplicas, virtualIp, type Plan } from '../plan.js';
import { iptablesChange, iptablesRules } from './iptables.js';
import { nftChange, nftRules } from './nft.js';

const plan: Plan = { services: 3 };
const after: Plan = { ...plan, replaced: markedReplicas[0]?.address ?? '' };
const replicas = endpointTargets(plan);
const lines = (text: string, pattern: RegExp): string[] =>
  text.split('\n').filter((line) => pattern.test(line));

describe('rules of the shape of the nftables mode', () => {
  it('find each service in one map, and translate to each of its replicas', () => {
    const rules = nftRules(plan);
    const elements = lines(rules, /add element .* service-ips/);
    expect(elements.map((line) => /\{ (\S+) \./.exec(line)?.[1])).toEqual([0, 1, 2].map(virtualIp));
    const [first, ...others] = lines(rules, /^add rule/);
    expect(others).toHaveLength(2);
    expect(first).toContain('numgen random mod 10 map { 0 : 10.128.0.0 . 8080, 1 : 10.128.0.1 . 8080,');
    for (const target of replicas) expect(rules).toContain(` ${target.replace(':', ' . ')}`);
  });

  it('change one chain', () => {
    const [flush, rule, ...rest] = lines(nftChange(after), /./);
    expect(flush).toMatch(/^flush chain ip kube-proxy service-A0000000-/);
    expect(rule).toContain(`0 : ${after.replaced} . 8080, 1 : 10.128.0.1 . 8080,`);
    expect(rest).toEqual([]);
  });
});

describe('rules of the shape of the iptables mode', () => {
  it('try one service after the other, and each replica with the same probability', () => {
    const rules = iptablesRules(plan);
    const list = lines(rules, /^-A KUBE-SERVICES .* -d /);
    expect(list.map((line) => /-d (\S+)/.exec(line)?.[1])).toEqual([0, 1, 2].map(virtualIp));
    const choices = lines(rules, /^-A KUBE-SVC-0+1 .* -j KUBE-SEP|^-A KUBE-SVC-0+1 -j KUBE-SEP/);
    let left = 1;
    const shares = choices.map((line) => {
      const share = left * Number(/--probability (\S+)/.exec(line)?.[1] ?? 1);
      left -= share;
      return share;
    });
    expect(shares).toHaveLength(10);
    for (const share of shares) expect(share).toBeCloseTo(0.1, 6);
    for (const target of replicas) expect(rules).toContain(`--to-destination ${target}\n`);
  });

  it('change the chains of one service, and take away what nobody uses any more', () => {
    const change = iptablesChange(plan, after);
    expect(change).toContain(`--to-destination ${after.replaced}:8080\n`);
    expect(change).not.toContain(`--to-destination ${replicas[0]}\n`);
    const gone = lines(change, /^-X /);
    expect(gone).toEqual(['-X KUBE-SEP-AAAAAAAA0A800000']);
    // A chain has to be empty and unused to be deleted: declaring it anew empties it.
    for (const chain of gone) expect(change).toContain(`:${chain.slice(3)} - [0:0]\n`);
    expect(lines(change, /^-A KUBE-SVC/)).toHaveLength(11);
  });
});
