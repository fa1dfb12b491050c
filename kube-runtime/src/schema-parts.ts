/** What JSON schemas of resources are put together from. */

export const text = { type: 'string', minLength: 1, maxLength: 4096 };

export const formatted = (format: string): object => ({ type: 'string', maxLength: 4096, format });

export const list = (items: object, more: object = {}): object => ({
  type: 'array',
  items,
  maxItems: 4096,
  ...more,
});

export const whole = (minimum: number): object => ({ type: 'integer', minimum });

export const texts = { type: 'object', additionalProperties: { type: 'string' } };

/** Without unknown fields. */
export function object(properties: Record<string, object>, required: string[]): object {
  return { type: 'object', additionalProperties: false, required, properties };
}

export const metadata = {
  type: 'object',
  required: ['name'],
  properties: {
    name: formatted('name'),
    namespace: formatted('name'),
    uid: text,
    labels: texts,
    annotations: texts,
    creationTimestamp: text,
  },
};
