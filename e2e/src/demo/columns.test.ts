import { expect, it } from '@jest/globals';
import { renderColumns } from './columns.js';

it('puts words on the left and numbers on the right, and makes up for cells that are missing', () => {
  expect(renderColumns(['who', 'how many'], [['a', '1'], ['bcde', '23'], ['']], 1)).toEqual([
    'who   how many',
    '----  --------',
    'a            1',
    'bcde        23',
    '',
  ]);
});
