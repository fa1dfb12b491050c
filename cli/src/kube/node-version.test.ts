import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { neededNode, requireNode } from './node-version.js';

describe('the Node that is needed', () => {
  it.each(['22.19.0', '22.19.1', '22.20.0', '24.0.0', '100.0.0'])('%s will do', (version) => {
    expect(() => requireNode(version)).not.toThrow();
  });

  it.each(['20.20.2', '22.18.9', '18.0.0', '9.99.9'])('%s is refused in words', (version) => {
    expect(() => requireNode(version)).toThrow(/needs Node 22\.19\.0 or later/);
  });

  it('is what the HTTP client says', () => {
    const file = new URL('../../../node_modules/undici/package.json', import.meta.url);
    const { engines } = JSON.parse(readFileSync(file, 'utf8')) as { engines: { node: string } };
    expect(engines.node).toBe(`>=${neededNode}`);
  });
});
