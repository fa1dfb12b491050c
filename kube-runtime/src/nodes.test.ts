import { describe, expect, it } from '@jest/globals';
import { NodeDirectory } from './nodes.js';
import { node } from './testing.fixture.js';

function directory(...nodes: ReturnType<typeof node>[]): NodeDirectory {
  const made = new NodeDirectory();
  for (const each of nodes) made.set(each);
  return made;
}

describe('NodeDirectory', () => {
  const two = directory(
    node('a', ['10.1.0.0/24', '2001:db8:1::/64'], ['192.0.2.1', '2001:db8::1']),
    node('b', ['10.2.0.0/24', '2001:db8:2::/64'], ['192.0.2.2']),
  );

  it.each([
    ['10.1.0.0', 'a'],
    ['10.1.0.255', 'a'],
    ['10.1.1.0', undefined],
    ['10.2.0.7', 'b'],
    ['192.0.2.2', 'b'],
    ['::ffff:10.2.0.7', 'b'],
    ['2001:db8:1::9', 'a'],
    ['2001:0db8:0001:0000::9', 'a'],
    ['2001:db8:3::9', undefined],
    ['2001:db8::1', 'a'],
    ['', undefined],
    ['10.1', undefined],
    ['10.1.0.5/32', undefined],
    ['nonsense', undefined],
  ])('%s is on %s', (address, expected) => {
    expect(two.nodeOf(address)).toBe(expected);
    // From memory the second time.
    expect(two.nodeOf(address)).toBe(expected);
    expect(two.hosts('a', address)).toBe(expected === 'a');
  });

  it('takes the longest range', () => {
    const made = directory(node('wide', ['10.0.0.0/8', '::/0']), node('narrow', ['10.1.0.128/25']));
    expect(made.nodeOf('10.1.0.129')).toBe('narrow');
    expect(made.nodeOf('10.1.0.127')).toBe('wide');
    expect(made.nodeOf('2001:db8::1')).toBe('wide');
  });

  it('follows changes, also of what it has answered', () => {
    const made = directory(node('a', ['10.1.0.0/24']));
    expect(made.nodeOf('10.9.0.1')).toBeUndefined();
    made.set(node('a', ['10.9.0.0/24']));
    expect(made.nodeOf('10.9.0.1')).toBe('a');
    expect(made.nodeOf('10.1.0.1')).toBeUndefined();
    made.remove('a');
    expect(made.nodeOf('10.9.0.1')).toBeUndefined();
    expect([made.size, made.addressOf('a')]).toEqual([0, undefined]);
  });

  it('gives a range that two claim to the first by name, whatever came first', () => {
    const made = directory(node('b', ['10.1.0.0/24']), node('a', ['10.1.0.0/24', '10.1.0.0/24']));
    expect(made.nodeOf('10.1.0.1')).toBe('a');
    made.remove('a');
    expect(made.nodeOf('10.1.0.1')).toBe('b');
  });

  it('finds 100,000 addresses among 5,000 nodes in a moment', () => {
    const made = new NodeDirectory();
    for (let i = 0; i < 5_000; i += 1)
      made.set(node(`n${i}`, [`10.${i >> 8}.${i & 255}.0/24`], [`172.16.${i >> 8}.${i & 255}`]));
    const begun = performance.now();
    let found = 0;
    for (let i = 0; i < 100_000; i += 1) {
      const host = i % 5_000;
      if (made.nodeOf(`10.${host >> 8}.${host & 255}.${1 + (i % 200)}`) === `n${host}`) found += 1;
    }
    expect(found).toBe(100_000);
    expect(performance.now() - begun).toBeLessThan(5_000);
  });
});
