import { describe, expect, it } from '@jest/globals';
import { meant } from './names.js';

describe('a name', () => {
  it.each([
    ['cart', { services: ['shop/cart'] }],
    ['Cart', { services: ['shop/cart'] }],
    ['cart:80', { services: ['shop/cart'], port: 80 }],
    ['other/cart', { services: ['other/cart'] }],
    ['other/cart.v2:80', { services: ['other/cart.v2'], port: 80 }],
    ['cart.other', { services: ['shop/cart.other', 'other/cart'] }],
    ['cart.other.svc', { services: ['shop/cart.other.svc', 'other/cart'] }],
    ['cart.other.svc.cluster.local', { services: ['shop/cart.other.svc.cluster.local', 'other/cart'] }],
    ['cart.other.svc.cluster.local.:8080', { services: ['other/cart'], port: 8080 }],
    ['svc.svc', { services: ['shop/svc.svc', 'svc/svc'] }],
    ['10.96.0.1', { address: '10.96.0.1', services: [] }],
    ['10.96.0.1:80', { address: '10.96.0.1', services: [], port: 80 }],
    ['FD00:0:0::1', { address: 'fd00::1', services: [] }],
    ['[fd00::1]:53', { address: 'fd00::1', services: [], port: 53 }],
    ['[fd00::1]', { address: 'fd00::1', services: [] }],
    ['::ffff:10.96.0.1', { address: '10.96.0.1', services: [] }],
  ])('%j means %j', (text, found) => {
    expect(meant(text, 'shop')).toEqual(found);
  });

  it.each([
    '',
    '/',
    'a/b/c',
    'a/',
    '-a',
    'a..b',
    'a b',
    'cart:0',
    'cart:65536',
    'cart:http',
    '[cart]',
    '[fd00::1',
    `${'a'.repeat(64)}`,
  ])('%j means nothing', (text) => {
    expect(meant(text, 'shop')).toBeUndefined();
  });
});
