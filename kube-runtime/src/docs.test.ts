import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { readDocuments } from './documents.js';

const guide = readFileSync(new URL('../../docs/agent.md', import.meta.url), 'utf8');
const examples = [...guide.matchAll(/^```yaml\n(apiVersion:.*?)^```/gms)].map(([, text]) => text ?? '');

describe('docs/agent.md', () => {
  it('shows resources that are taken as they stand there', () => {
    const documents = examples.flatMap((text) => readDocuments('docs/agent.md', text));
    expect(documents.flatMap(({ problems }) => problems)).toEqual([]);
    expect(documents.map(({ key }) => key)).toEqual([
      'ServalNode host-1',
      'ServalPod shop/redis',
      'ServalMigration shop/redis-to-2',
      'ServalService shop/cart',
      'EndpointSlice shop/cart-1',
    ]);
  });
});
